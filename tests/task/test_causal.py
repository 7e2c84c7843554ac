"""Next letters: what is scored, and that the model cannot cheat."""

import math

import pytest
import torch
from model_cases import DNA
from task_cases import Batches, batch_of, task_of, trainer_of

from seqmodel.errors import HparamError
from seqmodel.hparam.model import CnnHparams, DilatedConvHparams, HyenaHparams, TransformerHparams
from seqmodel.hparam.optim import AdamWHparams
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.task import CausalHparams, MaskedHparams

CAUSAL = {
    kind.name: kind(n_dims=16, n_layers=2, dropout=0.0, causal=True)
    for kind in (TransformerHparams, DilatedConvHparams, HyenaHparams)
}


@pytest.mark.parametrize("encoder", CAUSAL.values(), ids=CAUSAL)
def test_loss_is_of_the_next_letter_at_each_known_position(encoder):
    task = task_of(CausalHparams(), encoder=encoder).eval()
    batch = batch_of(3, 40)
    batch["tokens"][0, 7:12] = DNA.unknown_id
    pad = torch.zeros(3, 40, dtype=torch.bool)
    pad[2, 25:] = True
    batch["tokens"][pad] = DNA.pad_id
    scored = task.score(batch | {"pad": pad})
    log_p = task(batch["tokens"], pad).log_softmax(-1)
    losses = [
        -log_p[row, i - 1, letter]
        for row, tokens in enumerate(batch["tokens"].tolist())
        for i, letter in enumerate(tokens)
        if i > 0 and letter < 4
    ]
    assert scored.weight == len(losses) == 39 * 3 - 5 - 15
    torch.testing.assert_close(scored.loss_sum, torch.stack(losses).sum())
    weighted = task.score(batch | {"pad": pad, "weight": (batch["tokens"] != 2).float()})
    assert weighted.weight == sum(
        letter != 2 and letter < 4 for row in batch["tokens"].tolist() for letter in row[1:]
    )


@pytest.mark.parametrize("encoder", CAUSAL.values(), ids=CAUSAL)
def test_random_letters_cannot_be_predicted(encoder, tmp_path):
    # a model that saw its target would get below log 4
    task = task_of(CausalHparams(), encoder=encoder)
    batches = [batch_of(16, 64, seed=i) for i in range(60)]
    trainer = trainer_of(tmp_path)
    trainer.fit(task, Batches(batches[:40]))
    loss = trainer.test(task, Batches(batches[40:]), verbose=False)[0]["test_loss"]
    assert loss == pytest.approx(math.log(4), rel=0.02)


def test_a_periodic_sequence_is_predicted(tmp_path):
    task = task_of(CausalHparams(), encoder=CAUSAL["transformer"], optimiser=AdamWHparams(lr=1e-2))
    batch = batch_of(4, 48)
    batch["tokens"][:] = torch.tensor([0, 2, 1, 3, 3, 1]).repeat(8)
    trainer = trainer_of(tmp_path, max_epochs=60)
    trainer.fit(task, Batches([batch]))
    assert trainer.test(task, Batches([batch]), verbose=False)[0]["test_bits"] < 0.1


def test_an_encoder_that_sees_the_future_is_refused():
    with pytest.raises(HparamError, match="set --causal=True"):
        task_of(CausalHparams(), encoder=TransformerHparams(n_dims=8))


def test_an_encoder_with_bins_is_refused():
    with pytest.raises(HparamError, match="CnnEncoder gives one vector for 4 positions"):
        task_of(MaskedHparams(), encoder=CnnHparams(n_dims=8, n_layers=2))


def test_an_encoder_that_cannot_be_causal_is_refused():
    with pytest.raises(HparamError, match="CnnEncoder sees both sides"):
        task_of(CausalHparams(), encoder=CnnHparams(n_dims=8, causal=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "set --causal=True"),
        ({"causal": True, "average_strands": True}, "other strand reveals the positions"),
        ({"causal": True, "decoder": "pooled"}, "cannot use --decoder=pooled"),
    ],
)
def test_settings_that_cannot_be_causal_are_refused_on_the_command_line(given, message, tmp_path):
    fasta = tmp_path / "a.fa"
    fasta.write_text(">a\nACGT\n")
    run = {"task": "causal", "dataset": "fasta", "fasta": [str(fasta)], "seq_len": 4}
    with pytest.raises(HparamError, match=message):
        resolve(run | given)
