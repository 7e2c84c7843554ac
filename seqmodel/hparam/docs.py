"""docs/hparams.md, generated: every hyperparameter by class, with type, default and help. Light.

python -m seqmodel.hparam.docs            # writes docs/hparams.md below the working directory
"""

from __future__ import annotations

from pathlib import Path

from seqmodel.errors import HparamError
from seqmodel.files import write_file
from seqmodel.hparam.hparams import Hparam, Hparams
from seqmodel.hparam.registry import known_hparams

PATH = Path("docs/hparams.md")
_HEAD = """# Hyperparameters

Generated from the definitions in `seqmodel/hparam/` by `make docs`; do not edit.

Each name is defined by one class. On the command line write `--name=value` or `--name value`
([rules](definitions.md#command-lines)); in a config file `name = value`. A class that is *tracked*
changes what is learned, and its values name the run; the others set where and how it runs.
`seqmodel run --task=... --help=all` lists the hyperparameters of one choice.
"""


def markdown() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(_section(cls) for cls in known_hparams())])


def _section(cls: type[Hparams]) -> str:
    own = [h for h in cls.default_hparams().declared.values() if h.owner is cls]
    doc = (cls.__doc__ or "").strip().split("\n")[0]
    base = cls.__mro__[1].__name__
    facts = [f"Chosen by `{cls.name}`." if cls.name else "", doc]
    facts += [f"Inherits those of {base}." if base != "Hparams" else ""]
    facts += ["Tracked." if cls.tracked else "Not tracked."]
    lines = [f"## {cls.__name__}", "", " ".join(f for f in facts if f), ""]
    if own:
        lines += ["| name | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(h) for h in own] + [""]
    return "\n".join(lines)


def _row(hparam: Hparam) -> str:
    kind = hparam.type.described.replace("text without a NUL character", "text")
    if hparam.is_list:
        kind = f"list, each {kind}"
    default = " ".join(hparam.texts(hparam.default))
    shown = f"`{default}`" if default else "not set"
    cells = (f"`{hparam.name}`", kind, shown, hparam.help)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    write_file(PATH, markdown(), HparamError)
