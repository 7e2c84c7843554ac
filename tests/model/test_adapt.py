"""Freezing and LoRA: what is trained, and that an adapter starts as nothing."""

import pytest
import torch
from model_cases import CASES, DNA, changed, encoder_of, tokens_of
from task_cases import task_of
from torch import nn

from seqmodel.errors import HparamError
from seqmodel.hparam.model import TransformerHparams
from seqmodel.hparam.optim import AdamWHparams
from seqmodel.hparam.task import MaskedHparams
from seqmodel.model import adapt_encoder, build_encoder
from seqmodel.task.optim import build_optimiser

SMALL = {"n_dims": 16, "n_layers": 3, "dropout": 0.0}
ADAPTABLE = [c for c in CASES if any(isinstance(m, nn.Linear) for m in encoder_of(c).modules())]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_frozen", [0, 1, 2])
def test_frozen_are_the_embedding_and_the_first_blocks(case, n_frozen):
    encoder = adapt_encoder(encoder_of(case), changed(case, freeze_layers=n_frozen))
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    for name, _ in encoder.named_parameters():
        plain = name.removeprefix("encoder.")
        below = plain.startswith("embed.") or any(
            plain.startswith(f"blocks.{i}.") for i in range(n_frozen)
        )
        assert (name in trained) is not (below and n_frozen > 0), name


def test_more_frozen_blocks_than_there_are_is_refused():
    hparams = TransformerHparams(freeze_layers=4, **SMALL)
    with pytest.raises(HparamError, match="--freeze_layers=4, but the encoder has 3 blocks"):
        adapt_encoder(build_encoder(hparams, DNA), hparams)


@pytest.mark.parametrize("case", ADAPTABLE)
def test_an_adapter_starts_as_nothing_and_alone_is_trained(case):
    encoder, x = encoder_of(case).eval(), tokens_of(2, 20)
    n_linear = sum(isinstance(module, nn.Linear) for module in encoder.modules())
    before = encoder(x)
    adapted = adapt_encoder(encoder, changed(case, lora_rank=2))
    torch.testing.assert_close(adapted(x), before)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * n_linear
    assert all("lora_" in name for name in trained)


def test_training_changes_the_adapter_and_the_decoder_alone():
    encoder = TransformerHparams(lora_rank=2, **SMALL)
    task = task_of(MaskedHparams(), encoder=encoder).train()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    optimiser = build_optimiser(task, AdamWHparams(lr=0.1))
    for seed in range(2):
        optimiser.zero_grad()
        tokens = tokens_of(4, 40, seed=seed)
        batch = {"tokens": tokens, "key": torch.arange(4), "index": torch.arange(4)}
        task.score(batch).loss_sum.backward()
        optimiser.step()
    for name, parameter in task.named_parameters():
        moves = "lora_" in name or name.startswith("decoder.")
        assert torch.equal(parameter, before[name]) is not moves, name


def test_an_adapter_can_be_loaded_again():
    hparams = TransformerHparams(lora_rank=2, **SMALL)
    first, second = (adapt_encoder(build_encoder(hparams, DNA), hparams) for _ in range(2))
    for name, parameter in first.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    x = tokens_of(2, 20)
    assert not torch.allclose(first(x), second(x))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x), second(x))


@pytest.mark.parametrize("case", [case for case in CASES if case not in ADAPTABLE])
def test_an_encoder_without_linear_layers_is_refused(case):
    with pytest.raises(HparamError, match="--lora_rank=2: .* has no linear layers"):
        adapt_encoder(encoder_of(case), changed(case, lora_rank=2))
