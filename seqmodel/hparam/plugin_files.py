"""The source files of a plugin and their digest, found without importing anything. Light.

A checkpoint records the digest of each of its plugins. Before a plugin is imported again, the
digests show whether it has changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from seqmodel.errors import HparamError
from seqmodel.files import open_binary, read_bytes

if TYPE_CHECKING:
    import ast

SKIPPED = frozenset(("__pycache__", ".git", ".venv", "node_modules"))
N_DIGITS = 16


def plugin_sources(plugins: Iterable[str], cwd: str) -> dict[str, str]:
    """Return sources of plugins, and of modules below `cwd` that they import or name as targets.

    Modules outside `cwd` are installed modules and are not followed.

    Returns:
        {path relative to `cwd`: path}.

    Raises:
        HparamError: a file cannot be read.
    """
    found: dict[str, str] = {}
    waiting, seen = list(plugins), {"seqmodel"}
    while waiting:
        module = waiting.pop()
        if module in seen or module.split(".")[0] in seen:
            continue
        name = module.split(".")[0]
        if os.path.isfile(f"{cwd}/{name}.py") or os.path.isfile(f"{cwd}/{name}/__init__.py"):
            module = (
                name  # the whole package; in a folder without __init__.py only the named module
            )
        seen.add(module)
        for name, path in _module_files(module.replace(".", "/"), cwd):
            found[name] = path
            waiting += _named_modules(read_bytes(path, HparamError))
    return found


def plugin_file(plugin: str, *where: str) -> str | None:
    """Return the file that an import of `plugin` from the folders `where` runs, or None."""
    from importlib.machinery import PathFinder

    folders: list[str] | None = list(where)
    spec = None
    for part in plugin.split("."):
        if folders is None:
            return None
        try:
            spec = PathFinder.find_spec(part, folders)
        except (ImportError, OSError, ValueError):
            return None
        if spec is None:
            return None
        found = spec.submodule_search_locations
        folders = list(found) if found is not None else None
    return spec.origin if spec is not None else None


def plugin_digest(plugin: str, cwd: str) -> str | None:
    """Return the digest of a plugin and the modules below `cwd` it imports; None if not found."""
    files = plugin_sources([plugin], cwd)
    path = plugin_file(plugin, cwd, *sys.path)
    if not files and path and os.path.isfile(path):
        files = {os.path.basename(path): path}
    if not files:
        return None
    return digest_of((n, os.stat(path).st_size, pieces(path)) for n, path in sorted(files.items()))


def digest_of(files: Iterable[tuple[str, int, Iterable[bytes]]]) -> str:
    """Return sixteen hex digits of the SHA-256 of names, sizes and contents."""
    from hashlib import sha256

    hashed = sha256()
    for name, size, contents in files:
        hashed.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        for piece in contents:
            hashed.update(piece)
    return hashed.hexdigest()[:N_DIGITS]


def pieces(path: str) -> Iterator[bytes]:
    """Yield the content of a file, in pieces."""
    with open_binary(path, HparamError) as file:
        while piece := file.read(1 << 20):
            yield piece


def tree(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the regular files below `folder`, as (`name`/path below it, path), sorted."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name in SKIPPED or entry.name.endswith((".pyc", ".part")):
                continue
            if entry.is_dir():
                yield from tree(entry.path, f"{name}/{entry.name}")
            elif entry.is_file():
                yield f"{name}/{entry.name}", entry.path


def _module_files(module: str, cwd: str) -> Iterator[tuple[str, str]]:
    """Yield the sources of a module or a package, given as its path below `cwd` without `.py`."""
    if os.path.isfile(f"{cwd}/{module}/__init__.py"):
        files = tree(f"{cwd}/{module}", module)
        yield from ((name, path) for name, path in files if name.endswith(".py"))
    elif os.path.isfile(f"{cwd}/{module}.py"):
        yield f"{module}.py", f"{cwd}/{module}.py"


def _named_modules(source: bytes) -> list[str]:
    """Return modules a source imports, or names in a class as `target = "my_module:Object"`."""
    import ast

    names: list[str] = []
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return names  # the import has failed already, or will fail on the node
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
        elif isinstance(node, ast.ClassDef):
            names += _targets(node)
    return names


def _targets(node: ast.ClassDef) -> Iterator[str]:
    import ast

    for line in node.body:
        if isinstance(line, ast.Assign):
            left: list[ast.expr] = line.targets
        elif isinstance(line, ast.AnnAssign):
            left = [line.target]
        else:
            continue
        if not any(isinstance(name, ast.Name) and name.id == "target" for name in left):
            continue
        if isinstance(line.value, ast.Constant) and isinstance(line.value.value, str):
            module, colon, thing = line.value.value.partition(":")
            parts = [*module.split("."), *thing.split(".")]
            if colon and all(part.isidentifier() for part in parts):
                yield module
