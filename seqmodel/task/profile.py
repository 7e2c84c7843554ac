"""Prediction of tracks: counts per bin along a sequence (accessibility, expression).

The outputs are logarithms of the expected count of each bin, so one head gives both the sum over
bins and the shape along them. Bins that are NaN are ignored.
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
    """Predict the logarithm of the expected count of each bin and track."""

    per_position = True
    counts = True

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of tracks: the decoder gives one output per track and bin."""
        if targets.kind != "track":
            raise LabelError(
                f"--task=profile needs tracks; the data have {targets.n} targets of kind "
                f"{targets.kind!r}"
            )
        return targets.n

    def complement_outputs(self, outputs: Tensor) -> Tensor:
        """Return the output of each track's partner on the other strand."""
        return outputs[..., self.targets.partners] if self.targets.pairs else outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the expected count of each bin and track."""
        return outputs.exp()

    def new_metric(self, stage: str) -> ProfileMetric:
        """Return a metric of Pearson correlations over bins and of sums over sequences."""
        return ProfileMetric(list(self.targets.names), stage)

    def score(self, batch: Batch) -> Scored:
        """Return the loss selected by `--profile_loss` over the known bins."""
        log_rate = full(self(batch["tokens"], batch.get("pad")))
        target = crop(batch["target"], log_rate.shape[1])
        pad = self.out_pad(batch.get("pad"))
        if pad is not None:
            target = target.masked_fill(pad[:, :, None], float("nan"))
        loss = PROFILE_LOSSES[self.task_hparams.profile_loss]
        loss_sum, weight = loss(log_rate, target, self.task_hparams.count_weight)
        return Scored(loss_sum, weight, log_rate, target)


def crop(target: Tensor, n_bins: int) -> Tensor:
    """Return the middle `n_bins` bins of `target` [N, L', T].

    Raises:
        LabelError: There are too few bins, or they cannot be cropped evenly at both ends.
    """
    extra = check_crop(target.shape[1], n_bins)
    return target[:, extra // 2 : extra // 2 + n_bins]


def check_crop(n_there: int, n_bins: int) -> int:
    """Return how many of the `n_there` bins of the tracks are cropped, over both ends.

    Raises:
        LabelError: There are fewer than `n_bins`, or the number to crop is odd.
    """
    extra = n_there - n_bins
    if extra < 0 or extra % 2:
        raise LabelError(
            f"the model gives {n_bins} bins, the tracks have {n_there}: change "
            "--bin_positions (encoder positions a bin) or --crop_bins"
        )
    return extra
