"""Whether a change only moved code: every top-level statement of two trees, import paths blanked.

python tools/same_statements.py BEFORE AFTER      two checkouts; exit code 1 where they differ
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path


def main() -> int:
    """Prints the statements that only one of the trees has."""
    before, after = (statements(Path(root)) for root in sys.argv[1:3])
    print(f"{before.total()} statements before, {after.total()} after")
    for sign, found in (("-", before - after), ("+", after - before)):
        for text, n in found.items():
            print(f"{sign} {n} x {text[:160]}")
    return int(before != after)


def statements(root: Path) -> Counter[str]:
    """How often each top-level statement of the package stands in a tree, whatever its file."""
    trees = (ast.parse(x.read_text()) for x in sorted((root / "seqmodel").rglob("*.py")))
    return Counter(ast.dump(blanked(x)) for tree in trees for x in tree.body)


def blanked(statement: ast.stmt) -> ast.stmt:
    """The statement without the names of modules of the package."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = []
        if isinstance(node, ast.ImportFrom):
            node.module = None
        if isinstance(node, ast.Constant) and "seqmodel" in str(node.value):
            node.value = ""
    return statement


if __name__ == "__main__":
    sys.exit(main())
