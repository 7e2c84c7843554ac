"""Which parameters decay, which learning rate they get, and what is logged when."""

import csv

import pytest
import torch
from model_cases import CASES
from pytorch_lightning.loggers import CSVLogger
from task_cases import TWO_CLASSES, Batches, batch_of, task_of, trainer_of
from torch import nn

from seqmodel.hparam.optim import AdafactorHparams, AdamWHparams, CosineHparams, SgdHparams
from seqmodel.hparam.task import ClassifyHparams, MaskedHparams
from seqmodel.model.encoder import LetterEmbedding
from seqmodel.model.hyena import HyenaFilter
from seqmodel.task.optim import build_optimiser, parameter_groups

KERNELS = (nn.Linear, nn.Conv1d, nn.RNNBase)


@pytest.mark.parametrize("case", CASES)
def test_only_matrices_and_kernels_decay(case):
    task = task_of(ClassifyHparams(), TWO_CLASSES, encoder=CASES[case])
    decays = {
        id(p): group["weight_decay"]
        for group in parameter_groups(task, AdamWHparams(weight_decay=0.3))
        for p in group["params"]
    }
    assert len(decays) == len(list(task.parameters()))
    n_decayed = 0
    spared = {id(p) for m in task.modules() if isinstance(m, HyenaFilter) for p in m.parameters()}
    for module in task.modules():
        for name, parameter in module.named_parameters(recurse=False):
            kernel = isinstance(module, KERNELS) and name.startswith("weight")
            kernel &= id(parameter) not in spared
            assert decays[id(parameter)] == (0.3 if kernel else 0.0), (module, name)
            n_decayed += kernel
            if isinstance(module, LetterEmbedding):
                assert parameter.ndim == 2
    assert n_decayed > 2


@pytest.mark.parametrize("case", CASES)
def test_layer_decay_lowers_the_rate_of_each_block_below(case):
    task = task_of(ClassifyHparams(), TWO_CLASSES, encoder=CASES[case])
    hparams = AdamWHparams(lr=0.1, lr_layer_decay=0.5)
    rates = {
        id(p): group["lr"] for group in parameter_groups(task, hparams) for p in group["params"]
    }
    for name, parameter in task.named_parameters():
        power = {"embed": 3, "blocks.0": 2, "blocks.1": 1}
        plain = name.replace("encoder.", "")
        expected = next((n for prefix, n in power.items() if plain.startswith(prefix + ".")), 0)
        assert rates[id(parameter)] == pytest.approx(0.1 * 0.5**expected), name


def test_the_fused_step_is_the_plain_one():
    weights = []
    for fused in (True, False):
        task = task_of(MaskedHparams(), seed=4).train()
        optimiser = build_optimiser(task, AdamWHparams(weight_decay=0.1), fused=fused)
        assert bool(optimiser.defaults["fused"]) is fused
        for i in range(3):
            optimiser.zero_grad()
            scored = task.score(batch_of(4, 16, seed=i))
            (scored.loss_sum / scored.weight).backward()
            optimiser.step()
        weights.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    torch.testing.assert_close(weights[0], weights[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "hparams", [AdamWHparams(), SgdHparams(lr=0.02), AdafactorHparams(lr=0.03)], ids=repr
)
def test_every_optimiser_learns(hparams, tmp_path):
    batch = batch_of(16, 24)
    batch["target"] = ((batch["tokens"] == 0).sum(1) > 6).long()
    task = task_of(ClassifyHparams(), TWO_CLASSES, optimiser=hparams)
    before = task.eval().score(batch)
    trainer_of(tmp_path, max_epochs=40).fit(task, Batches([batch] * 4))
    after = task.eval().score(batch)
    assert after.loss_sum < 0.5 * before.loss_sum


def test_training_values_are_logged_every_n_steps_as_their_mean(tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    batches = [batch_of(4, 16, seed=i, first_index=4 * i) for i in range(8)]
    task = task_of(MaskedHparams(), optimiser=AdamWHparams(lr=0.0), schedule=CosineHparams())
    trainer = trainer_of(tmp_path, logger=logger, log_every_n_steps=4, max_epochs=1)
    trainer.fit(task, Batches(batches), Batches(batches[:2]))
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    training = [row for row in rows if row["lr"]]
    assert [int(row["step"]) for row in training] == [3, 7]
    task.train()
    with torch.no_grad():
        losses = [float(s.loss_sum / s.weight) for s in map(task.score, batches)]
    means = [sum(losses[:4]) / 4, sum(losses[4:]) / 4]
    assert [float(row["train_loss"]) for row in training] == pytest.approx(means)
    (end,) = (row for row in rows if row["valid_loss"])
    assert float(end["train_loss"]) == pytest.approx(sum(losses) / 8)
    assert trainer.callback_metrics["train_loss"] == pytest.approx(sum(losses) / 8)
