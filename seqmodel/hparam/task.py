"""Hyperparameters of tasks: what is learned, its loss and its metrics. Light."""

from __future__ import annotations

from argparse import Namespace
from typing import ClassVar

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import number, str2bool


class TaskHparams(Hparams):
    """Hyperparameters of every task.

    Attributes:
        label_kind: the kind of labels that the task predicts, if it predicts labels; what
            --label_kind is where it is not given.
    """

    label_kind: ClassVar[str | None] = None

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--average_strands",
            type=str2bool,
            default=False,
            help="Average the predictions for both strands in validation and test.",
        )


class MaskedHparams(TaskHparams):
    """Predict masked or changed bases or residues from both sides (BERT)."""

    name = "masked"
    target = "seqmodel.task.masked:MaskedTask"
    usual = {"decoder": "position", "dataset": "fasta"}  # noqa: RUF012

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--mask_prop",
            type=number(0, 1),
            default=0.12,
            help="Proportion of the known positions that are hidden and predicted.",
        )
        parser.add_argument(
            "--random_prop",
            type=number(0, 1),
            default=0.015,
            help="Proportion of the known positions that are replaced by a random character of "
            "the alphabet and predicted.",
        )
        parser.add_argument(
            "--keep_prop",
            type=number(0, 1),
            default=0.015,
            help="Proportion of the known positions that stay unchanged and are predicted.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        total = values.mask_prop + values.random_prop + values.keep_prop
        if not 0 < total <= 1:
            raise HparamError(
                "--mask_prop, --random_prop and --keep_prop must add up to more than 0 and at most "
                f"1, not {total:g}"
            )
        _wants_decoder("masked", values, "position")
        if getattr(values, "causal", False):
            raise HparamError(
                "--causal=True: the masked task uses both sides; use --task=causal or "
                "--causal=False"
            )


class CausalHparams(TaskHparams):
    """Predict each base or residue from those before it (GPT)."""

    name = "causal"
    target = "seqmodel.task.causal:CausalTask"
    usual = {"decoder": "position", "dataset": "fasta"}  # noqa: RUF012

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        _wants_decoder("causal", values, "position")
        if not values.causal:
            raise HparamError(
                "--task=causal: the encoder must not see the positions to predict; "
                "set --causal=True"
            )
        if values.average_strands:
            raise HparamError(
                "--average_strands=True with --task=causal: the other strand reveals the "
                "positions to predict; set it to False"
            )


def _wants_decoder(task: str, values: Namespace, *wanted: str) -> None:
    # built-in decoders only; the decoder of a plugin is checked when it is built
    decoder = getattr(values, "decoder", None)
    if decoder not in wanted and decoder in ("position", "pooled", "binned", "profile"):
        use = " or ".join(f"--decoder={name}" for name in wanted)
        raise HparamError(f"--task={task} cannot use --decoder={decoder}; use {use}")


class LabelHparams(TaskHparams):
    """Hyperparameters of the tasks with classes as labels."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--class_weights",
            type=number(0),
            nargs="*",
            help="Weights in the loss: one for each class (classify), or one for the positives of "
            "each target (multilabel). If unset: all 1.",
        )
        parser.add_argument(
            "--label_smoothing",
            type=number(0, 1, open_hi=True),
            default=0.0,
            help="Share of each label that is distributed evenly over the classes.",
        )
        parser.add_argument(
            "--focal_gamma",
            type=number(0),
            default=0.0,
            help="Exponent of the focal loss: a sample whose label has probability p has the "
            "weight (1 - p) ** focal_gamma. 0: no focal loss.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse class weights that are all 0."""
        if values.class_weights and not any(values.class_weights):
            raise HparamError(
                f"--class_weights: all {len(values.class_weights)} are 0, so nothing can be "
                "learned; at least one must be above 0"
            )


class ClassifyHparams(LabelHparams):
    """Predict the class of a sequence, one of two or more."""

    name = "classify"
    target = "seqmodel.task.classify:ClassifyTask"
    label_kind = "class"
    usual = {"decoder": "pooled"}  # noqa: RUF012

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        _wants_decoder("classify", values, "pooled", "binned")


class MultilabelHparams(LabelHparams):
    """Predict several yes-or-no labels of a sequence (DeepSEA)."""

    name = "multilabel"
    target = "seqmodel.task.multilabel:MultilabelTask"
    label_kind = "multilabel"
    usual = {"decoder": "pooled"}  # noqa: RUF012

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        _wants_decoder("multilabel", values, "pooled", "binned")


class RegressHparams(TaskHparams):
    """Predict one or more numbers for a sequence."""

    name = "regress"
    target = "seqmodel.task.regress:RegressTask"
    label_kind = "real"
    usual = {"decoder": "pooled"}  # noqa: RUF012

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--huber_delta",
            type=number(0),
            default=0.0,
            help="Error above which the loss grows linearly (Huber loss). 0: squared error.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        _wants_decoder("regress", values, "pooled", "binned")


class ProfileTaskHparams(TaskHparams):
    """Predict tracks, which are counts in bins along a sequence."""

    name = "profile"
    target = "seqmodel.task.profile:ProfileTask"
    usual = {"decoder": "profile"}  # noqa: RUF012

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--profile_loss",
            type=str,
            choices=["poisson", "poisson_multinomial", "multinomial_count"],
            default="poisson",
            help="Loss of a profile. poisson: of each bin; poisson_multinomial: of the sum and "
            "the shape (Borzoi); multinomial_count: of the shape and the logarithm of the "
            "sum (BPNet).",
        )
        parser.add_argument(
            "--count_weight",
            type=number(0),
            default=1.0,
            help="Weight of the loss of the sum relative to the loss of the shape.",
        )
