"""Hyperparameters of optimizers and learning rate schedules. Light."""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import integer, number, str2bool


class OptimiserHparams(Hparams):
    """Hyperparameters of every optimizer."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--lr", type=number(0), default=1e-3, help="Learning rate at the peak of the schedule."
        )
        parser.add_argument(
            "--weight_decay",
            type=number(0),
            default=0.01,
            help="Weight decay. It applies to weight matrices and kernels only.",
        )
        parser.add_argument(
            "--lr_layer_decay",
            type=number(0, 1, open_lo=True),
            default=1.0,
            help="Learning rate of each block as a proportion of the rate of the block above it. "
            "1: the same rate in all blocks.",
        )
        parser.add_argument(
            "--ema_decay",
            type=number(0, 1, open_hi=True),
            default=0.0,
            help="Decay per step of an exponential moving average of the weights, which is "
            "validated, tested and saved. 0: no average.",
        )
        parser.add_argument(
            "--swa_start_prop",
            type=number(0, 1),
            help="Proportion of the epochs after which weight averaging starts: the mean of the "
            "weights at the end of each later epoch is validated, tested and saved "
            "(stochastic weight averaging). If unset: no averaging.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse two kinds of weight averaging."""
        if values.ema_decay and values.swa_start_prop is not None:
            raise HparamError("--ema_decay and --swa_start_prop both average weights; set only one")


class AdamWHparams(OptimiserHparams):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name = "adamw"
    target = "seqmodel.task.optim:adamw"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--beta1",
            type=number(0, 1, open_hi=True),
            default=0.9,
            help="Decay per step of the mean of the gradients.",
        )
        parser.add_argument(
            "--beta2",
            type=number(0, 1, open_hi=True),
            default=0.98,
            help="Decay per step of the mean of the squared gradients.",
        )
        parser.add_argument(
            "--adam_eps",
            type=number(0, open_lo=True),
            default=1e-8,
            help="Constant that is added to the root of the mean of the squared gradients.",
        )


class SgdHparams(OptimiserHparams):
    """Stochastic gradient descent with momentum."""

    name = "sgd"
    target = "seqmodel.task.optim:sgd"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--momentum", type=number(0, 1, open_hi=True), default=0.9, help="Momentum."
        )
        parser.add_argument(
            "--nesterov",
            type=str2bool,
            default=False,
            help="Use Nesterov momentum. It requires a momentum above 0.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if values.nesterov and not values.momentum:
            raise HparamError("--nesterov=True needs --momentum above 0")


class AdafactorHparams(OptimiserHparams):
    """Adafactor: factored second moments, low memory use (Shazeer and Stern 2018)."""

    name = "adafactor"
    target = "seqmodel.task.optim:adafactor"


class ScheduleHparams(Hparams):
    """Hyperparameters of every learning rate schedule: the warm-up."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--warmup_steps",
            type=integer(0),
            default=0,
            help="Number of optimizer steps in which the learning rate rises linearly to --lr.",
        )


class ConstantHparams(ScheduleHparams):
    """Constant learning rate after the warm-up."""

    name = "constant"
    target = "seqmodel.task.schedule:constant"


class DecayHparams(ScheduleHparams):
    """Hyperparameters of the schedules that decrease until the last step."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--final_lr_prop",
            type=number(0, 1),
            default=0.0,
            help="Learning rate after the last step as a proportion of --lr.",
        )


class LinearHparams(DecayHparams):
    """Linear decrease from --lr to the last step."""

    name = "linear"
    target = "seqmodel.task.schedule:linear"


class CosineHparams(DecayHparams):
    """Decrease along half a cosine from --lr to the last step (Loshchilov and Hutter 2017)."""

    name = "cosine"
    target = "seqmodel.task.schedule:cosine"


class OneCycleHparams(DecayHparams):
    """Increase to --lr and decrease again in one cycle (Smith and Topin 2019)."""

    name = "one_cycle"
    target = "seqmodel.task.schedule:one_cycle"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--peak_prop",
            type=number(0, 1, open_lo=True, open_hi=True),
            default=0.3,
            help="Proportion of the steps after which the learning rate reaches --lr.",
        )
        parser.add_argument(
            "--start_lr_prop",
            type=number(0, 1),
            default=0.04,
            help="Learning rate at the first step as a proportion of --lr.",
        )


class InverseSqrtHparams(ScheduleHparams):
    """Decrease with the inverse square root of the step; the warm-up sets the time scale."""

    name = "inverse_sqrt"
    target = "seqmodel.task.schedule:inverse_sqrt"


class PlateauHparams(ScheduleHparams):
    """Constant, but reduced each time valid_loss no longer falls."""

    name = "plateau"
    target = "seqmodel.task.schedule:constant"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--plateau_factor",
            type=number(0, 1, open_lo=True, open_hi=True),
            default=0.5,
            help="Factor by which the learning rate is multiplied at a plateau.",
        )
        parser.add_argument(
            "--plateau_patience",
            type=integer(0),
            default=3,
            help="Number of consecutive validations without a lower valid_loss that are tolerated.",
        )
