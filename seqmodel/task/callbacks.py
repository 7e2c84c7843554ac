"""Callbacks that change what is learned: averages of the weights. run.py adds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams


def training_callbacks(hparams: Hparams) -> list[Callback]:
    """The callbacks that the optimiser's hyperparameters ask for.

    With `ema_decay`, validation, test and checkpoints use the averaged weights; the others stand in
    the checkpoint beside them.
    """
    callbacks: list[Callback] = []
    if hparams.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=hparams.ema_decay))
    if hparams.swa_start_prop is not None:
        lr = hparams.lr if hparams.swa_lr is None else hparams.swa_lr
        callbacks.append(
            StochasticWeightAveraging(swa_lrs=lr, swa_epoch_start=hparams.swa_start_prop)
        )
    return callbacks
