"""Tasks and samples of unequal weights, and a training of them in float64 by any division.

A sample's weight in the loss differs by unknown letters, soft masks, missing labels and classes.
"""

import torch
from model_cases import DNA
from task_cases import NO_TARGETS, TWO_CLASSES, Batches, batch_of, task_of, trainer_of

from seqmodel.dataset.label.targets import Targets
from seqmodel.hparam.model import DilatedConvHparams
from seqmodel.hparam.optim import SgdHparams
from seqmodel.hparam.task import (
    CausalHparams,
    ClassifyHparams,
    MaskedHparams,
    MultilabelHparams,
    ProfileTaskHparams,
    RegressHparams,
)

N, SEQ_LEN = 22, 16
LABELS = Targets("multilabel", ("a", "b", "c"))
NUMBERS = Targets("real", ("a", "b", "c"))
TRACKS = Targets("track", ("plus", "minus"))
TASKS = {
    "masked": (MaskedHparams(mask_prop=0.3), NO_TARGETS),
    "masked, soft masks": (MaskedHparams(mask_prop=0.3), NO_TARGETS),
    "causal": (CausalHparams(), NO_TARGETS),
    "causal, soft masks": (CausalHparams(), NO_TARGETS),
    "classify": (ClassifyHparams(class_weights=[1, 5]), TWO_CLASSES),
    "classify, focal": (
        ClassifyHparams(class_weights=[1, 5], focal_gamma=2.0, label_smoothing=0.1),
        TWO_CLASSES,
    ),
    "multilabel": (MultilabelHparams(class_weights=[1, 2, 3]), LABELS),
    "regress": (RegressHparams(), NUMBERS),
    "regress, huber": (RegressHparams(huber_delta=0.5), NUMBERS),
    "poisson": (ProfileTaskHparams(profile_loss="poisson"), TRACKS),
    "poisson_multinomial": (ProfileTaskHparams(profile_loss="poisson_multinomial"), TRACKS),
    "multinomial_count": (ProfileTaskHparams(profile_loss="multinomial_count"), TRACKS),
}


def samples_of(kind):
    """All samples of a training, as one batch."""
    generator = torch.Generator().manual_seed(3)

    def uniform(*shape):
        return torch.rand(shape, generator=generator)

    task = kind.split(",")[0]
    batch = batch_of(N, SEQ_LEN)
    if task in ("masked", "causal"):
        # half of the samples have 2 to 12 unknown letters
        for i in range(0, N, 2):
            batch["tokens"][i, 3 : 5 + i % 11] = DNA.unknown_id
        batch["tokens"][:4] = DNA.unknown_id  # nothing to predict at all
    if kind.endswith("soft masks"):
        batch["weight"] = torch.where(uniform(N, SEQ_LEN) < 0.5, 0.1, 1.0)
    if task == "classify":
        batch["target"] = (uniform(N) < 0.3).long()
    if task in ("multilabel", "regress"):
        target = uniform(N, 3)
        missing = uniform(N, 3) < torch.linspace(0, 1, N)[:, None]
        target = (target < 0.5).float() if task == "multilabel" else target
        batch["target"] = target.masked_fill(missing, float("nan"))
    if TASKS[kind][1] is TRACKS:
        target = (uniform(N, SEQ_LEN, 2) * 5).floor()
        missing = uniform(N, 1, 2) < torch.linspace(0, 0.9, N)[:, None, None]
        batch["target"] = target.masked_fill(missing, float("nan"))
    return batch


class Divided(Batches):
    """Samples in batches of one size, the last one shorter, dealt to ranks as our sampler does."""

    def __init__(self, samples, size, n_ranks=1, rank=0):
        cuts = range(0, N, size * n_ranks)
        super().__init__(
            [
                {k: v[at : min(at + size * n_ranks, N)][rank::n_ranks] for k, v in samples.items()}
                for at in cuts
            ]
        )


def new_task(kind):
    """A task, the same at each call."""
    # computes in float64 throughout, unlike the transformer's rotary positions
    encoder = DilatedConvHparams(
        n_dims=16, n_layers=1, dropout=0.0, causal=kind.startswith("causal")
    )
    optimiser = SgdHparams(lr=0.05, momentum=0.5)
    return task_of(*TASKS[kind], encoder=encoder, optimiser=optimiser)


def flat(task):
    """All weights."""
    return torch.cat([p.detach().flatten() for p in task.parameters()])


def trained(kind, folder, size, accumulate=1, *, n_ranks=1, rank=0, precision="64-true", **more):
    """Weights after two epochs of gradient descent, and the last logged training loss."""
    task = new_task(kind)
    trainer = trainer_of(
        folder,
        max_epochs=2,
        accumulate_grad_batches=accumulate,
        precision=precision,
        log_every_n_steps=1,
        devices=n_ranks,
        strategy="ddp" if n_ranks > 1 else "auto",
        use_distributed_sampler=False,
        **more,
    )
    trainer.fit(task, Divided(samples_of(kind), size, n_ranks, rank))
    return flat(task), float(trainer.callback_metrics["train_loss"])
