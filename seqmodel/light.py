"""Which modules are light: they import the standard library only, and run where torch is not."""

from __future__ import annotations

from pathlib import Path

PACKAGES = ("hparam", "job", "report")
MODULES = ("cli", "errors", "files", "folder_lock", "light", "report", "run", "run_folder")


def modules() -> list[str]:
    """The names of all light modules that this version has."""
    root = Path(__file__).parent
    found = ["seqmodel"]
    for package in PACKAGES:
        files = sorted((root / package).glob("*.py"))
        found += [_name(package, file.stem) for file in files]
    found += [f"seqmodel.{name}" for name in MODULES if (root / f"{name}.py").exists()]
    return found


def _name(package: str, stem: str) -> str:
    return f"seqmodel.{package}" if stem == "__init__" else f"seqmodel.{package}.{stem}"
