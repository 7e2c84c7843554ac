"""Learning rates while training, against the closed form."""

import math

import pytest
from pytorch_lightning import Callback
from task_cases import Batches, SaveAfterTwoEpochs, batch_of, task_of, trainer_of

from seqmodel.errors import HparamError
from seqmodel.hparam.optim import (
    AdamWHparams,
    ConstantHparams,
    CosineHparams,
    InverseSqrtHparams,
    LinearHparams,
    OneCycleHparams,
    PlateauHparams,
)
from seqmodel.hparam.task import MaskedHparams
from seqmodel.task.schedule import schedule_curve


def linear(x):
    return 1 - x


def cosine(x):
    return 0.5 + 0.5 * math.cos(math.pi * x)


def one_cycle(x):
    # up from 0.04 at 0 to 1 at a half, down to 0 at 1
    return (
        0.52 - 0.48 * math.cos(2 * math.pi * x)
        if x < 0.5
        else 0.5 - 0.5 * math.cos(2 * math.pi * x)
    )


def inverse_sqrt(step):
    return math.sqrt(3 / (3 + step))


FORMS = {
    "constant": (ConstantHparams(warmup_steps=3), lambda x: 1.0, 0.0),
    "linear": (LinearHparams(warmup_steps=3, final_lr_prop=0.1), linear, 0.1),
    "cosine": (CosineHparams(warmup_steps=3), cosine, 0.0),
    "inverse_sqrt": (InverseSqrtHparams(warmup_steps=3), inverse_sqrt, None),
    "one_cycle": (OneCycleHparams(peak_prop=0.5, warmup_steps=2), one_cycle, None),
    "plateau": (PlateauHparams(warmup_steps=3), lambda x: 1.0, 0.0),
    "cosine, no warm-up": (CosineHparams(final_lr_prop=0.2), cosine, 0.2),
}


def closed_form(hparams, form, floor, n_steps):
    warm = hparams.warmup_steps
    rise = [(i + 1) / (warm + 1) for i in range(warm)]
    if form is inverse_sqrt:
        return rise + [form(i) for i in range(n_steps - warm)]
    floor = floor or 0.0
    return rise + [floor + (1 - floor) * form(i / (n_steps - warm)) for i in range(n_steps - warm)]


class LearningRates(Callback):
    def __init__(self):
        self.lr = []

    def on_before_optimizer_step(self, trainer, task, optimizer):
        self.lr.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_optimiser_step_has_the_rate_of_the_closed_form(case, accumulate, tmp_path):
    hparams, form, floor = FORMS[case]
    task = task_of(MaskedHparams(), schedule=hparams)
    rates = LearningRates()
    batches = Batches([batch_of(2, 8, seed=i) for i in range(12)])
    trainer = trainer_of(
        tmp_path, max_epochs=2, accumulate_grad_batches=accumulate, callbacks=[rates]
    )
    trainer.fit(task, batches)
    expected = closed_form(hparams, form, floor, 24 // accumulate)
    assert rates.lr == pytest.approx([1e-3 * x for x in expected])


def test_a_resumed_run_goes_on_with_the_schedule(tmp_path):
    batches = Batches([batch_of(2, 8, seed=i) for i in range(5)])
    whole, second = LearningRates(), LearningRates()

    def run(rates, **more):
        task = task_of(MaskedHparams(), schedule=CosineHparams(warmup_steps=2))
        callbacks = [rates, SaveAfterTwoEpochs(tmp_path / "half.ckpt")]
        trainer_of(tmp_path, max_epochs=4, callbacks=callbacks).fit(task, batches, **more)

    run(whole)
    run(second, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert len(whole.lr) == 20
    assert second.lr == whole.lr[10:]


LONGER = {"epochs": {"max_epochs": 4}, "steps": {"max_epochs": 10, "max_steps": 18}}


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("longer", LONGER)
@pytest.mark.parametrize("case", FORMS)
def test_a_run_that_is_resumed_for_longer_has_the_rates_of_the_longer_schedule(
    case, longer, accumulate, tmp_path
):
    """From its first step; the first two epochs had those of a training of two epochs."""
    hparams, form, floor = FORMS[case]
    batches = Batches([batch_of(2, 8, seed=i) for i in range(6 * accumulate)])
    first, second = LearningRates(), LearningRates()

    def run(rates, ends, **more):
        callbacks = [rates, SaveAfterTwoEpochs(tmp_path / "half.ckpt")]
        ends = ends | {"accumulate_grad_batches": accumulate, "callbacks": callbacks}
        task = task_of(MaskedHparams(), schedule=hparams)
        trainer_of(tmp_path, **ends).fit(task, batches, **more)

    run(first, {"max_epochs": 2})
    run(second, LONGER[longer], ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    n_steps = LONGER[longer].get("max_steps", 24)
    short, long = (closed_form(hparams, form, floor, n) for n in (12, n_steps))
    assert first.lr == pytest.approx([1e-3 * x for x in short])
    assert second.lr == pytest.approx([1e-3 * x for x in long[12:]])


def test_a_plateau_is_kept_where_a_run_is_resumed_for_longer(tmp_path):
    """The cut of the last validation before the checkpoint holds in the first step after it."""
    batches = Batches([batch_of(2, 8, seed=i) for i in range(3)])
    whole, second = LearningRates(), LearningRates()

    def run(rates, n_epochs, **more):
        schedule = PlateauHparams(plateau_factor=0.5, plateau_patience=0, warmup_steps=2)
        # weights that hardly move: no validation is better than the first
        task = task_of(MaskedHparams(), schedule=schedule, optimiser=AdamWHparams(lr=1e-12))
        callbacks = [rates, SaveAfterTwoEpochs(tmp_path / "half.ckpt")]
        trainer = trainer_of(tmp_path, max_epochs=n_epochs, callbacks=callbacks)
        trainer.fit(task, batches, batches, **more)

    run(whole, 4)
    expected = (1 / 3, 2 / 3, *[1] * 4, *[0.5] * 3, *[0.25] * 3)
    assert [lr * 1e12 for lr in whole.lr] == pytest.approx(expected)
    run(LearningRates(), 2)
    run(second, 4, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert second.lr == whole.lr[6:]


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(HparamError, match="--warmup_steps=10 of only 10 training steps"):
        schedule_curve(LinearHparams(warmup_steps=10), 10)


def test_a_schedule_that_ends_needs_an_end():
    with pytest.raises(HparamError, match="this training has no end"):
        schedule_curve(CosineHparams(), math.inf)
    assert schedule_curve(ConstantHparams(), math.inf)(10**9) == 1.0
