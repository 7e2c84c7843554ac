"""Averages of weights, plateaus, and what is said when memory runs out."""

import pytest
import torch
from pytorch_lightning import Callback
from task_cases import Batches, SaveAfterTwoEpochs, batch_of, task_of, trainer_of

from seqmodel.errors import HparamError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.model import CnnHparams
from seqmodel.hparam.optim import (
    AdamWHparams,
    ConstantHparams,
    PlateauHparams,
    SgdHparams,
)
from seqmodel.hparam.task import MaskedHparams
from seqmodel.task.schedule import build_schedule
from seqmodel.training.callbacks import skip_idle_hooks, training_callbacks
from seqmodel.training.out_of_memory import explain_out_of_memory


class Weights(Callback):
    """The weights after each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, task, *args):
        self.seen.append(flat(task))


def flat(task):
    return torch.cat([p.detach().flatten() for p in task.parameters()])


def batches(n=6):
    return Batches([batch_of(4, 16, seed=i) for i in range(n)])


def test_a_moving_average_is_its_formula_and_what_is_kept(tmp_path):
    hparams = SgdHparams(lr=0.1, ema_decay=0.8)
    task, weights = task_of(MaskedHparams(), optimiser=hparams), Weights()
    average = flat(task)
    trainer = trainer_of(tmp_path, callbacks=[*training_callbacks(hparams), weights])
    trainer.fit(task, batches())
    for i, seen in enumerate(weights.seen):
        # the first update copies the weights
        average = seen if i == 0 else 0.8 * average + 0.2 * seen
    torch.testing.assert_close(flat(task), average)
    assert not torch.allclose(weights.seen[-1], average)


def test_checkpoints_hold_the_average(tmp_path):
    hparams = SgdHparams(lr=0.1, ema_decay=0.8)
    task = task_of(MaskedHparams(), optimiser=hparams)
    trainer = trainer_of(tmp_path, callbacks=training_callbacks(hparams))
    trainer.fit(task, batches())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    kept = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    for name, parameter in task.state_dict().items():
        torch.testing.assert_close(kept[name], parameter)


class ValidatedWeights(Weights):
    """The weights in each validation."""

    def on_train_batch_end(self, *args):
        pass

    def on_validation_start(self, trainer, task):
        self.before = flat(task)

    def on_validation_batch_start(self, trainer, task, *args):
        self.seen.append(flat(task))


@pytest.mark.parametrize("encoder", [None, CnnHparams(n_dims=8, n_layers=1, pool_size=1)])
def test_stochastic_weight_averaging_is_the_mean_over_late_epochs(encoder, tmp_path):
    hparams = SgdHparams(lr=0.05, swa_start_prop=0.5)
    task = task_of(MaskedHparams(), optimiser=hparams, encoder=encoder)
    trained, validated = Weights(), ValidatedWeights()
    trainer = trainer_of(
        tmp_path, max_epochs=6, callbacks=[trained, *training_callbacks(hparams), validated]
    )
    trainer.fit(task, batches(3), batches(1))
    epochs = trained.seen[2::3]
    expected = [*epochs[:3], *(torch.stack(epochs[3 : i + 1]).mean(0) for i in (3, 4, 5))]
    for seen, mean in zip(validated.seen, expected, strict=True):
        torch.testing.assert_close(seen, mean)
    torch.testing.assert_close(flat(task), expected[-1])


@pytest.mark.parametrize("average", [{"ema_decay": 0.8}, {"swa_start_prop": 0.3}], ids=str)
def test_a_resumed_average_is_that_of_a_whole_run(average, tmp_path):
    hparams = SgdHparams(lr=0.05, **average)

    def run(path=None):
        task = task_of(MaskedHparams(), optimiser=hparams)
        callbacks = [*training_callbacks(hparams), SaveAfterTwoEpochs(tmp_path / "half.ckpt")]
        trainer = trainer_of(tmp_path, max_epochs=5, callbacks=callbacks)
        trainer.fit(task, batches(3), ckpt_path=path, weights_only=path and True)
        return flat(task)

    whole = run()
    torch.testing.assert_close(run(tmp_path / "half.ckpt"), whole, rtol=0, atol=0)


def test_there_are_no_callbacks_unless_asked_for():
    assert training_callbacks(AdamWHparams()) == []


def test_idle_hooks_are_skipped_and_the_others_called(tmp_path):
    weights, idle = Weights(), Callback()
    callbacks = [weights, idle, *training_callbacks(SgdHparams(ema_decay=0.8))]
    skip_idle_hooks(callbacks)
    assert idle.on_train_batch_end is idle.on_before_backward is weights.on_before_backward is None
    assert callable(idle.on_train_epoch_end)
    trainer_of(tmp_path, callbacks=callbacks).fit(task_of(MaskedHparams()), batches())
    assert len(weights.seen) == 6
    assert callbacks[2]._average_model.n_averaged == 6


def test_two_averages_at_once_are_refused():
    values = parse_dict(AdamWHparams.default_hparams(), {"ema_decay": 0.9, "swa_start_prop": 0.5})
    with pytest.raises(HparamError, match="both average weights"):
        AdamWHparams.checks(values)


def test_a_plateau_cuts_the_rate_as_torch_does():
    hparams = PlateauHparams(plateau_factor=0.5, plateau_patience=1, warmup_steps=3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    ours = build_schedule(optimiser, hparams, 100)
    other = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        other, factor=0.5, patience=1, threshold=0.0
    )
    for _ in range(3):  # the warm-up
        optimiser.step()
        ours.step()
    for loss in (5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 3.5, 3.5, 3.4, 3.3, 2.0):
        ours.observe(loss)
        theirs.step(loss)
        optimiser.step()
        ours.step()
        assert optimiser.param_groups[0]["lr"] == other.param_groups[0]["lr"]
    assert optimiser.param_groups[0]["lr"] < 0.5
    again = build_schedule(torch.optim.SGD([parameter], lr=1.0), hparams, 100)
    again.load_state_dict(ours.state_dict())
    assert (again.reduction, again.best, again.n_bad) == (ours.reduction, 2.0, 0)


def test_validation_losses_reach_the_plateau_and_sanity_checks_do_not(tmp_path):
    schedule = PlateauHparams(plateau_factor=0.1, plateau_patience=0)
    task = task_of(MaskedHparams(), optimiser=AdamWHparams(lr=1e-9), schedule=schedule)
    trainer = trainer_of(tmp_path, max_epochs=4, num_sanity_val_steps=2)
    trainer.fit(task, batches(), batches(2))
    # the loss of weights that stand still is never better than the first; each cut holds at once
    assert task.lr_schedulers().reduction == pytest.approx(1e-3)
    assert trainer.optimizers[0].param_groups[0]["lr"] * 1e12 == pytest.approx(1.0)


def test_a_constant_schedule_does_not_mind_plateaus():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimiser, ConstantHparams(), 10)
    for _ in range(5):
        schedule.observe(1.0)
    assert schedule.reduction == 1.0


def test_running_out_of_memory_tells_what_lowers_it():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    told = explain_out_of_memory(caught.value)
    assert "out of memory of this host (tried to allocate 144115188075855872 bytes): " in str(told)
    for name in ("--batch_size", "--seq_len", "--checkpoint_activations", "--attention_window"):
        assert name in str(told)
    assert "\n" not in str(told)
    assert "on the GPU" in str(explain_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")))
    assert explain_out_of_memory(MemoryError()) is not None
    assert explain_out_of_memory(RuntimeError("shapes differ")) is None
