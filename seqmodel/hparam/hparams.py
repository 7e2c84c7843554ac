"""Hparams, the class that declares hyperparameters.

    class CnnHparams(EncoderHparams):
        '''Convolutions with pooling.'''
        name = "cnn"                                  # typed as --encoder=cnn
        target = "seqmodel.model.cnn:CnnEncoder"      # imported only when it is built

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--kernel_size", type=integer(1), default=7, help="Width, in bp.")

Light: standard library only. The parser is parser.py, naming a run canonical.py.
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from seqmodel.hparam.convert import changed_hparams, parse_dict
from seqmodel.hparam.parser import (
    GROUPS,
    PLACE,
    READING,
    SOURCE,
    SPLIT,
    TARGET,
    Hparam,
    HparamParser,
)

__all__ = [
    "GROUPS",
    "PLACE",
    "READING",
    "SOURCE",
    "SPLIT",
    "TARGET",
    "Hparam",
    "HparamParser",
    "Hparams",
]


class Hparams:
    """Values of the hyperparameters that the class and its bases define.

    `SomeHparams(lr=1e-3, other=1)` checks and keeps the values that the class defines, uses the
    defaults for the others and ignores names that it does not define. The values are attributes;
    `self.hparams` holds all of them.

    Class attributes:
        name: the word that selects it, e.g. `--encoder=transformer`; None for a base class.
        target: `module:object` that is built from it, as text, so that nothing heavy is imported.
        tracked: whether its values change what is learned, and therefore name the run.
        usual: defaults of other choices when this one is made, e.g. {"decoder": "pooled"}.
    """

    name: ClassVar[str | None] = None
    target: ClassVar[str | None] = None
    tracked: ClassVar[bool] = True
    usual: ClassVar[dict[str, str]] = {}

    def __init__(self, **hparams: Any) -> None:
        parser = self.default_hparams()
        known = {name: value for name, value in hparams.items() if name in parser.declared}
        self.hparams = parse_dict(parser, known)

    @classmethod
    def default_hparams(cls) -> HparamParser:
        """Return a parser with the hyperparameters and defaults of the class and its bases."""
        parser = HparamParser(prog=cls.__name__)
        parser.add_class(cls)
        return parser

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        """Declare the hyperparameters of this class (not those of its bases) on `parser`."""

    @classmethod
    def defining(cls) -> list[type[Hparams]]:
        """Return the class and those of its bases that define hyperparameters, bases first."""
        found = [owner for owner in reversed(cls.__mro__) if "add_hparams" in owner.__dict__]
        return [owner for owner in found if owner is not Hparams]

    @classmethod
    def check(cls, values: argparse.Namespace) -> None:
        """Refuse combinations that cannot work, given all values of the run.

        Raises:
            HparamError: the combination cannot work; the message says what to change.
        """

    @classmethod
    def checks(cls, values: argparse.Namespace) -> None:
        """Run `check` of the class and of each of its bases."""
        for owner in reversed(cls.__mro__):
            if "check" in owner.__dict__ and owner is not Hparams:
                owner.__dict__["check"].__get__(None, cls)(values)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("hparams")
        if values is None or not hasattr(values, name):
            raise AttributeError(f"{type(self).__name__} has no hyperparameter {name!r}")
        return getattr(values, name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.hparams == other.hparams

    __hash__ = None  # type: ignore[assignment]  # values may change

    def __repr__(self) -> str:
        changed = changed_hparams(self.default_hparams(), self.hparams)
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"
