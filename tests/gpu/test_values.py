"""Losses, gradients and scores on the device are those of the CPU, computed there in float64."""

import pytest
import torch
from model_cases import CASES, DNA, classifier_of, encoder_of, tokens_of
from step_cases import TASKS, Divided, new_task, samples_of
from task_cases import trainer_of

from seqmodel.hparam.task import MaskedHparams
from seqmodel.task.masked import corrupt


def assert_near(record_property, found, expected, tolerance):
    """Loss and gradients, each gradient as a whole, against the largest of them."""
    loss, gradients = found
    expected_loss, expected_gradients = expected
    scale = max(g.norm() for g in expected_gradients)
    apart = [
        ((g.cpu() - e).norm() / (e.norm() + 1e-2 * scale)).item()
        for g, e in zip(gradients, expected_gradients, strict=True)
    ]
    loss_apart = abs(loss.item() - expected_loss.item()) / abs(expected_loss.item())
    record_property("loss_error", float(f"{loss_apart:.2g}"))
    record_property("gradient_error", float(f"{max(apart):.2g}"))
    assert loss_apart < tolerance
    assert max(apart) < 10 * tolerance


def loss_and_gradients(loss, parameters):
    loss.backward()
    return loss.detach(), [p.grad for p in parameters if p.grad is not None]


def of_encoder(case, device, dtype):
    encoder = encoder_of(case)
    decoder = classifier_of(encoder, 3)
    modules = torch.nn.ModuleList([encoder, decoder]).to(device, dtype).train()
    for module in modules.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tokens = tokens_of(6, 40).to(device)
    tokens[0, 3:9] = DNA.unknown_id
    pad = torch.zeros(tokens.shape, dtype=torch.bool, device=device)
    pad[1, 30:] = True
    logits = decoder(encoder(tokens, pad), encoder.out_pad(pad))
    target = torch.arange(6, device=device) % 3
    loss = torch.nn.functional.cross_entropy(logits, target)
    return loss_and_gradients(loss, modules.parameters())


@pytest.mark.parametrize("case", CASES)
def test_each_encoder_is_as_on_the_cpu(case, device, record_property):
    expected = of_encoder(case, torch.device("cpu"), torch.float64)
    found = of_encoder(case, device, torch.float32)
    assert_near(record_property, found, expected, 1e-4)


def of_task(kind, device, dtype):
    task = new_task(kind).to(device, dtype).train()
    batch = {
        name: x.to(device, dtype) if x.is_floating_point() else x.to(device)
        for name, x in samples_of(kind).items()
    }
    scored = task.score(batch)
    return loss_and_gradients(scored.loss_sum / scored.weight, task.parameters())


@pytest.mark.parametrize("kind", TASKS)
def test_each_task_is_as_on_the_cpu(kind, device, record_property):
    expected = of_task(kind, torch.device("cpu"), torch.float64)
    found = of_task(kind, device, torch.float32)
    assert_near(record_property, found, expected, 1e-4)


@pytest.mark.parametrize("kind", TASKS)
def test_each_task_trains_and_is_scored_as_on_the_cpu(kind, accelerator, record_property, tmp_path):
    def scores(accelerator, precision):
        task = new_task(kind)
        trainer = trainer_of(tmp_path, accelerator=accelerator, precision=precision)
        batches = Divided(samples_of(kind), 8)
        trainer.fit(task, batches, batches)
        return trainer.validate(task, batches, verbose=False)[0]

    expected, found = scores("cpu", "64-true"), scores(accelerator, "32-true")
    record_property("valid_loss", found["valid_loss"])
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_masks_are_bit_for_bit_those_of_the_cpu(device):
    tokens, key = tokens_of(50, 400), torch.arange(50) * 2**40 - 7
    hparams = MaskedHparams(mask_prop=0.3, random_prop=0.2, keep_prop=0.1)
    expected = corrupt(tokens, key, DNA, hparams)
    found = corrupt(tokens.to(device), key.to(device), DNA, hparams)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.cpu(), other)
