"""The list of light modules, which import only the standard library and run without torch."""

from __future__ import annotations

from pathlib import Path

ROOMS = ("cli", "hparam", "job", "record", "report")
_FILES = (
    "errors",
    "extras",
    "files",
    "heavy",
    "light",
    "moved",
    "run",
    "terminal",
    "trials",
    "webpage",
)
MODULES = (*_FILES, "trust.student", "trust.text")
HEAVY = ("seqmodel.record.checkpoint",)


def modules() -> list[str]:
    """Return the names of all light modules of this version."""
    root = Path(__file__).parent
    found = ["seqmodel"]
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            found.append(".".join(["seqmodel", *parts]).removesuffix(".__init__"))
    found += [f"seqmodel.{name}" for name in MODULES]
    return [name for name in found if name not in HEAVY]
