"""Rules of the whole package that no tool knows: nothing private is used from another module."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import seqmodel

PACKAGE = Path(seqmodel.__file__).parent
NAMEDTUPLE = {"_replace", "_asdict", "_fields"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def trees():
    return {str(p.relative_to(PACKAGE)): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}


def defined_in(tree):
    """The names of functions, methods, classes, module and class variables and attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return found


def taken_in(tree):
    """(line, name) of private names that are taken from an object or a module other than self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of = node.value
            is_self = isinstance(of, ast.Name) and of.id in ("self", "cls")
            is_super = isinstance(of, ast.Call) and ast.unparse(of.func) == "super"
            if not is_self and not is_super and node.attr not in NAMEDTUPLE:
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, x.name) for x in node.names if is_private(x.name))


def test_no_module_uses_what_is_private_of_another():
    names = {path: defined_in(tree) for path, tree in trees().items()}
    wrong = [
        f"{path}:{line} {name}"
        for path, tree in trees().items()
        for line, name in taken_in(tree)
        if name not in names[path] and any(name in found for found in names.values())
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text", ["job._root", "f(x)._settings({})", "from seqmodel.job import _replicate"]
)
def test_what_is_private_is_found(text):
    assert list(taken_in(ast.parse(text)))


# of libraries that have no class for it; and whether a message of ours names a class already
COMPARED = {("model/hf.py", "_told"), ("hparam/parser.py", "_naming")}


def compared_in(tree):
    """The functions in which the text of an error decides what is done."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        errors = {h.name for h in ast.walk(function) if isinstance(h, ast.ExceptHandler)}
        for node in ast.walk(function):
            parts = []
            if isinstance(node, ast.Compare):
                parts = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("startswith", "endswith"):
                    parts = [node.func.value]
                elif node.func.attr in ("match", "search", "fullmatch"):
                    parts = node.args
            texts = {ast.unparse(x) for x in parts}
            if texts & {f"{text.format(e)}" for e in errors for text in ("str({})", "{}.args[0]")}:
                yield function.name


def test_errors_are_told_apart_by_their_class():
    found = {(path, name) for path, tree in trees().items() for name in compared_in(tree)}
    assert found == COMPARED


@pytest.mark.parametrize(
    "text",
    ["'x' in str(e)", "str(e).startswith('x')", "e.args[0] == 'x'", "re.match('x', str(e))"],
)
def test_a_comparison_with_a_message_is_found(text):
    body = f"def f():\n    try:\n        g()\n    except ValueError as e:\n        return {text}"
    assert list(compared_in(ast.parse(body))) == ["f"]


def test_types_are_checked_everywhere_and_exceptions_give_a_reason():
    config = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["mypy"]
    assert config["files"] == ["seqmodel"]
    assert config["disallow_untyped_defs"]
    assert (PACKAGE / "py.typed").exists()
    lines = [line for p in PACKAGE.rglob("*.py") for line in p.read_text().splitlines()]
    found = [line for line in lines if "# type: ignore" in line]
    assert len(found) > 5
    good = re.compile(r"# type: ignore\[[a-z, -]+\]  # \w")
    assert [line for line in found if not good.search(line)] == []
