"""The masked task: which positions, what they become, what is scored."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import DNA, tokens_of
from scipy.stats import binom
from task_cases import Batches, batch_of, task_of, trainer_of

from seqmodel.dataset.seq.alphabet import PROTEIN
from seqmodel.errors import HparamError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.model import PooledHparams
from seqmodel.hparam.task import MaskedHparams
from seqmodel.task.masked import corrupt

PROPS = [(0.12, 0.015, 0.015), (0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.2)]


def hparams_of(mask, random, keep):
    return MaskedHparams(mask_prop=mask, random_prop=random, keep_prop=keep)


@pytest.mark.parametrize("props", PROPS)
def test_proportions_are_those_asked_for(props):
    mask_prop, random_prop, keep_prop = props
    tokens = tokens_of(200, 1000)
    corrupted, chosen = corrupt(tokens, torch.arange(200), DNA, hparams_of(*props))
    n = tokens.numel()
    masked = corrupted == DNA.mask_id
    changed = (corrupted != tokens) & ~masked
    for count, prop in [
        (chosen.sum(), sum(props)),
        (masked.sum(), mask_prop),
        (changed.sum(), random_prop * 3 / 4),  # a quarter of the random letters is the original
        ((chosen & (corrupted == tokens)).sum(), keep_prop + random_prop / 4),
    ]:
        # two-sided, 1e-6 for all these cases together; float sums may pass 1 by a hair
        low, high = binom.interval(1 - 1e-7, n, min(prop, 1.0))
        assert low <= int(count) <= high
    assert not (masked & ~chosen).any()
    assert not (changed & ~chosen).any()


@pytest.mark.parametrize("random", [1.0, 0.3])
def test_random_letters_are_uniform_over_the_alphabet(random):
    # also where only part of the positions is changed: letter and action are independent
    hparams = hparams_of((1 - random) / 2, random, (1 - random) / 2)
    tokens = torch.zeros(100, 1000, dtype=torch.uint8)
    corrupted, _ = corrupt(tokens, torch.arange(100), PROTEIN, hparams)
    counts = torch.bincount(corrupted.flatten().long(), minlength=PROTEIN.n_letters)
    others = counts[1 : PROTEIN.n_letters]
    low, high = binom.interval(1 - 1e-6, tokens.numel(), random / PROTEIN.n_letters)
    assert (others >= low).all()
    assert (others <= high).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), props=st.sampled_from(PROPS))
def test_only_letters_are_chosen_and_nothing_else_is_changed(seed, props):
    tokens = tokens_of(4, 50, seed=seed, n_ids=DNA.n_tokens)
    corrupted, chosen = corrupt(tokens, torch.arange(4) + seed, DNA, hparams_of(*props))
    assert (tokens[chosen] < DNA.n_letters).all()
    assert torch.equal(corrupted[~chosen], tokens[~chosen])
    assert (corrupted[chosen] <= DNA.mask_id).all()


def test_what_happens_depends_on_key_and_position_alone():
    tokens, key = tokens_of(6, 80), torch.arange(6) * 1000
    hparams = hparams_of(0.3, 0.3, 0.3)
    torch.manual_seed(1)
    corrupted, chosen = corrupt(tokens, key, DNA, hparams)
    torch.manual_seed(2)
    for rows in ([3], [5, 0, 2]):
        again, chosen_again = corrupt(tokens[rows], key[rows], DNA, hparams)
        assert torch.equal(again, corrupted[rows])
        assert torch.equal(chosen_again, chosen[rows])
    shorter, _ = corrupt(tokens[:, :33], key, DNA, hparams)
    assert torch.equal(shorter, corrupted[:, :33])
    other, _ = corrupt(tokens, key + 1, DNA, hparams)
    assert not torch.equal(other, corrupted)


def test_training_masks_follow_the_key_and_validation_masks_the_index():
    task = task_of(MaskedHparams())
    first = batch_of(4, 64)
    second = first | {"key": first["key"] + 1}
    for training, same in ((True, False), (False, True)):
        task.train(training)
        a, b = task.score(first), task.score(second)
        assert torch.equal(a.target, b.target) is same


def test_loss_is_the_mean_over_the_chosen_positions_of_the_full_head():
    task = task_of(MaskedHparams(mask_prop=0.3))
    batch = batch_of(4, 64)
    batch["tokens"][0, :20] = DNA.unknown_id
    pad = torch.zeros(4, 64, dtype=torch.bool)
    pad[2, 40:] = True
    batch["tokens"][pad] = DNA.pad_id
    batch["pad"] = pad
    task.train()
    scored = task.score(batch)
    corrupted, chosen = corrupt(batch["tokens"], batch["key"], DNA, task.task_hparams)
    log_p = task.decoder(task.encoder(corrupted, pad)).log_softmax(-1)
    losses = -log_p.gather(-1, batch["tokens"].long().clamp(max=3)[..., None])[..., 0][chosen]
    assert scored.weight == len(losses) > 20
    torch.testing.assert_close(scored.loss_sum, losses.sum())


def test_weights_weigh_the_loss():
    task = task_of(MaskedHparams(mask_prop=0.3)).train()
    batch = batch_of(4, 64)
    plain = task.score(batch)
    ones = task.score(batch | {"weight": torch.ones(4, 64)})
    torch.testing.assert_close(ones.loss_sum, plain.loss_sum)
    half = torch.ones(4, 64)
    half[2:] = 0.0
    weighted = task.score(batch | {"weight": half})
    first_two = task.score({name: value[:2] for name, value in batch.items()})
    torch.testing.assert_close(weighted.loss_sum, first_two.loss_sum)
    torch.testing.assert_close(weighted.weight, first_two.weight)


def test_a_batch_without_letters_has_loss_zero_and_finite_gradients():
    task = task_of(MaskedHparams(), seed=1)
    batch = batch_of(2, 16)
    batch["tokens"][:] = DNA.unknown_id
    trainer = trainer_of(None)
    trainer.fit(task, Batches([batch]))
    assert all(p.isfinite().all() for p in task.parameters())
    assert trainer.callback_metrics.get("train_loss", torch.zeros(())) == 0


def test_loss_in_bits_is_that_in_nats_over_log_2(tmp_path):
    task = task_of(MaskedHparams())
    batches = [batch_of(8, 64, seed=i, first_index=8 * i) for i in range(3)]
    values = trainer_of(tmp_path).test(task, Batches(batches), verbose=False)[0]
    task.eval()
    with torch.no_grad():
        scored = [task.score(batch) for batch in batches]
    nats = sum(float(s.loss_sum) for s in scored) / sum(float(s.weight) for s in scored)
    right = torch.cat([s.outputs.argmax(-1) == s.target for s in scored])
    assert values["test_loss"] == pytest.approx(nats)
    assert values["test_bits"] == pytest.approx(nats / math.log(2))
    assert values["test_perplexity"] == pytest.approx(math.exp(nats))
    assert values["test_accuracy"] == pytest.approx(right.float().mean().item())


def test_averaged_strands_give_both_strands_one_loss():
    task = task_of(MaskedHparams(average_strands=True, mask_prop=0.3)).eval()
    x = batch_of(3, 31)
    corrupted, chosen = corrupt(x["tokens"], x["index"], DNA, task.task_hparams)
    at = chosen.flatten().nonzero()[:, 0]
    logits = task._logits(corrupted, None, at)
    table = torch.from_numpy(DNA.complement_table).long()
    turned = table[corrupted.long()].flip(1)
    turned_at = chosen.flip(1).flatten().nonzero()[:, 0]
    other = task._logits(turned, None, turned_at)
    # the chosen positions of the other strand come in the opposite order within each row
    order = torch.arange(chosen.numel()).view_as(chosen).flip(1).flatten()[turned_at]
    other = other[order.argsort()][:, table[:4]]
    torch.testing.assert_close(logits, other)


def test_a_pooled_decoder_is_refused():
    with pytest.raises(HparamError, match="one output a position"):
        task_of(MaskedHparams(), decoder=PooledHparams())


@pytest.mark.parametrize("props", [(0.9, 0.2, 0.0), (0.0, 0.0, 0.0)])
def test_proportions_that_cannot_be_are_refused(props):
    values = parse_dict(
        MaskedHparams.default_hparams(),
        dict(zip(("mask_prop", "random_prop", "keep_prop"), props, strict=True)),
    )
    with pytest.raises(HparamError, match="must add up to more than 0 and at most 1"):
        MaskedHparams.checks(values)
