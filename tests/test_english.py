"""The text that users read is plain technical English: some words are not used."""

import ast
import json
import re
from pathlib import Path

import pytest
from option_list import options

from seqmodel.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]

BANNED = {
    r"go(?:es|ne|ing)? on|went on": "resume, continue",
    r"mend(?:s|ed|ing)?": "fix",
    r"tells?|told": "reports, shows, prints",
    r"so many|so much": "this many, up to N",
    r"stands?|stood": "is",
    # `letters:XYZ` defines an alphabet; identifiers and letters of the Latin alphabet are no DNA
    r"(?<!capital )(?<!ASCII )letters(?!:)(?!,? (?:and )?digits)": "bases, residues, bp",
    r"(?<!virtual )machines?(?! learning)": "host",
}
PATTERN = re.compile("|".join(rf"(?P<w{n}>\b(?:{p})\b)" for n, p in enumerate(BANNED)), re.I)


def wrong(text):
    """The banned words in a text, each with what to write."""
    better = list(BANNED.values())
    return [f"{m[0]!r}: write {better[int(m.lastgroup[1:])]}" for m in PATTERN.finditer(text)]


def prose(text):
    """A text of Markdown or a docstring, without code, names of arguments and addresses."""
    text = re.sub(r"```.*?```|`[^`\n]+`|\]\([^)\s]*\)", " ", text, flags=re.S)
    return re.sub(r"^ *[\w, *]+:(?= )", " ", text, flags=re.M)


def literal(node):
    """The constant text of an expression: a string, an f-string, or strings that are added."""
    found = [x.value for x in ast.walk(node) if isinstance(x, ast.Constant)]
    return " ".join(x for x in found if isinstance(x, str))


def is_message(call):
    """Whether what is called shows its arguments to a user."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    return name.endswith(("Error", "Lost")) or name in ("print", "warn", "info", "debug", "refuse")


def texts_of(path):
    """(line, text) of the docstrings and messages of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield getattr(node, "lineno", 1), prose(ast.get_docstring(node) or "")
        elif isinstance(node, ast.Call) and is_message(node):
            yield node.lineno, " ".join(map(literal, node.args))


def faults(path):
    """What is wrong in a file, as lines."""
    if path.suffix == ".py":
        found = texts_of(path)
    elif path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
        found = [(n, prose(text)) for n, text in enumerate(cells)]
    else:
        found = [(1, prose(path.read_text(encoding="utf-8")))]
    name = path.relative_to(ROOT)
    return [f"{name}:{line}: {fault}" for line, text in found for fault in wrong(text)]


def files():
    """The files that users read."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder, pattern in (("docs", "*.md"), ("examples", "*.*"), ("seqmodel", "*.py")):
        pages += sorted((ROOT / folder).rglob(pattern))
    return [p for p in pages if p.suffix in (".md", ".py", ".ipynb") and "_build" not in p.parts]


def test_help_texts_have_no_banned_word():
    found = [(f"--{h.name} ({h.owner.__name__})", h.help) for h in options()]
    found += [(f"seqmodel {name}", verb.summary) for name, verb in VERBS.items()]
    assert len(found) > 250
    assert not [f"{name}: {fault}" for name, text in found for fault in wrong(prose(text))]


def test_messages_docstrings_and_pages_have_no_banned_word():
    paths = files()
    assert len(paths) > 30
    assert not [fault for path in paths for fault in faults(path)]


def test_a_help_text_is_a_sentence():
    for hparam in options():
        first = hparam.help.removeprefix("`").removeprefix("bigWig")[0]
        assert first.isupper() or first in " t", hparam.name  # `train` ...
        assert hparam.help.endswith("."), hparam.name
        assert "default:" not in hparam.help, f"{hparam.name}: write If unset: ..."


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("It goes on where it stands, as told.", 3),
        ("Machine learning on a virtual machine; letters and digits, `letters` of letters:XYZ.", 0),
        ("so many letters on this machine", 3),
        ("standard, intelligent, recommend, understand", 0),
    ],
)
def test_the_words_are_found_and_the_exceptions_are_not(text, n):
    assert len(wrong(prose(text))) == n
