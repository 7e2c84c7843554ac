"""Tracks: counts in each bin along a sequence (accessibility, expression); NaN bins touch nothing.

The outputs are logarithms of the expected counts of each bin, so that the sum over bins and the
shape along them come from one head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from seqmodel.errors import LabelError
from seqmodel.task.loss import PROFILE_LOSSES, full
from seqmodel.task.metric import ProfileMetric
from seqmodel.task.step import Batch, Scored
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class ProfileTask(Task):
    """Predicts the logarithm of the count of each bin and track."""

    per_position = True
    counts = True

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """One output a track."""
        if targets.kind != "track":
            raise LabelError(
                f"--task=profile needs tracks; the data have {targets.n} targets of kind "
                f"{targets.kind!r}"
            )
        return targets.n

    def complement_outputs(self, outputs: Tensor) -> Tensor:
        """The output of each track's partner on the other strand."""
        return outputs[..., self.targets.partners] if self.targets.pairs else outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """The expected count of each bin and track."""
        return outputs.exp()

    def new_metric(self, stage: str) -> ProfileMetric:
        """Pearson over all bins of each track, and of the sums over each sequence."""
        return ProfileMetric(list(self.targets.names), stage)

    def score(self, batch: Batch) -> Scored:
        """The loss that `--profile_loss` names, of the bins that are there."""
        log_rate = full(self(batch["tokens"], batch.get("pad")))
        target = crop(batch["target"], log_rate.shape[1])
        pad = self.out_pad(batch.get("pad"))
        if pad is not None:
            target = target.masked_fill(pad[:, :, None], float("nan"))
        loss = PROFILE_LOSSES[self.task_hparams.profile_loss]
        loss_sum, weight = loss(log_rate, target, self.task_hparams.count_weight)
        return Scored(loss_sum, weight, log_rate, target)


def crop(target: Tensor, n_bins: int) -> Tensor:
    """The `n_bins` bins in the middle of `target` [N, L', T].

    Raises:
        LabelError: there are fewer, or their middle is between two bins.
    """
    extra = check_crop(target.shape[1], n_bins)
    return target[:, extra // 2 : extra // 2 + n_bins]


def check_crop(n_there: int, n_bins: int) -> int:
    """How many of the `n_there` bins of the tracks are left out at both ends together.

    Raises:
        LabelError: there are fewer than `n_bins`, or their middle is between two bins.
    """
    extra = n_there - n_bins
    if extra < 0 or extra % 2:
        raise LabelError(
            f"the model gives {n_bins} bins, the tracks have {n_there}: change "
            "--bin_positions (encoder positions a bin) or --crop_bins"
        )
    return extra
