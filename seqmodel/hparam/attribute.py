"""Hyperparameters of the verbs attribute and motifs. Light."""

from __future__ import annotations

from argparse import Namespace
from typing import ClassVar, NoReturn

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser
from seqmodel.hparam.infer import InputHparams
from seqmodel.hparam.value import integer, path, str2bool

METHODS = ("ism", "gradient", "input_x_gradient", "integrated_gradients", "deeplift")
BASELINES = ("uniform", "zeros", "shuffled")


class _IsHparam:
    """Hides an attribute of the base class, because a hyperparameter has the same name."""

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(
            "the hyperparameter of this name holds the value"
        )  # Hparams looks there


class AttributeHparams(InputHparams):
    """Contributions to compute and show; `--out` is the prefix of all file names."""

    not_in_stamp: ClassVar[tuple[str, ...]] = (*InputHparams.not_in_stamp, "plot")
    formats: ClassVar[tuple[str, ...]] = ()
    target = _IsHparam()

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--method",
            choices=list(METHODS),
            default="ism",
            help="Method that computes the contributions. ism: the change of the score for each "
            "substitution at each position.",
        )
        add(
            "--target",
            help="Name of the target that is explained, or all. If unset: the only target of the "
            "model.",
        )
        add(
            "--baseline",
            choices=list(BASELINES),
            help="Reference that sequences are compared with: uniform frequencies, zeros, or 20 "
            "dinucleotide shuffles. If unset: uniform for integrated_gradients, shuffled for "
            "deeplift.",
        )
        _add_shown(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse options that have no effect in combination."""
        if len(values.out) > 1:
            raise HparamError(
                f"--out has {len(values.out)} values; give one, the prefix of all files"
            )
        if values.baseline and values.method not in ("integrated_gradients", "deeplift"):
            raise HparamError(f"--baseline has no effect on --method={values.method}")
        if values.effects and values.method != "ism":
            raise HparamError(
                f"--effects needs --method=ism; --method={values.method} only estimates"
            )
        if values.bigwig and not (values.intervals or values.tiles):
            raise HparamError("--bigwig needs positions on contigs; give --intervals or --tiles")
        if values.ensemble_of != "logit":
            raise HparamError(
                f"--ensemble_of={values.ensemble_of}: attribute explains the mean of the logits; "
                "leave the option out"
            )


def _add_shown(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--too_long",
        choices=["center"],
        help="Use the center of a sequence that is longer than the model's input. If unset: such "
        "a sequence is an error.",
    )
    add("--bigwig", type=str2bool, default=False, help="Also write the contributions as bigWig.")
    add(
        "--effects",
        type=str2bool,
        default=False,
        help="Also write a table of the effects of all single-base changes.",
    )
    add(
        "--plot",
        type=integer(0),
        default=0,
        help="Number of sequences, from the first, whose logos are drawn: SVG files and one HTML "
        "page. 0: none.",
    )


class MotifsHparams(InputHparams):
    """Motifs to read and show; `--out` ends in .meme."""

    formats: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--too_long",
            choices=["center"],
            help="Use the center of a sequence that is longer than the model's input. If unset: "
            "such a sequence is an error.",
        )
        add(
            "--database",
            type=path(),
            help="MEME file of known motifs that the motifs of the filters are compared with. If "
            "unset: no comparison.",
        )
        add(
            "--max_p",
            type=float,
            default=0.001,
            help="Maximum p-value of a match with --database that is shown.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse an output that is not a MEME file."""
        if len(values.out) != 1 or not values.out[0].endswith(".meme"):
            raise HparamError(
                f"--out={' '.join(values.out)}: motifs writes one file; its name must end in .meme"
            )
        if len(values.checkpoints) > 1:
            raise HparamError(
                "--checkpoints has several values; motifs reads the filters of one model"
            )
        if values.part != "1/1":
            raise HparamError("--part has no effect on motifs, which is one job; leave it out")
