"""How often a test set was looked at: a score that was chosen among many is too good. Light."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from seqmodel.job.results.result import Result


def test_set(result: Result) -> str | None:
    """What is the same for runs that scored the same test items; None if none were scored."""
    tested, digests = result.run.get("tested"), result.run.get("data")
    if not isinstance(tested, dict) or not isinstance(digests, dict):
        return None
    files = tested.get("files")
    found = [digests.get(x) for x in files] if isinstance(files, list) else []
    sums = [str(x.get("sha256")) for x in found if isinstance(x, dict)]
    return " ".join([str(tested.get("n")), *sorted(sums)]) if sums else None


def n_looks(found: Iterable[Result]) -> int:
    """How many of these runs have scored the test set that most of them scored."""
    counts = Counter(x for x in map(test_set, found) if x is not None)
    return max(counts.values(), default=0)


def warning_of(found: Iterable[Result], column: str | None) -> str | None:
    """What to say of runs in the order of a test score; None for other orders."""
    n = n_looks(found)
    if column is None or not column.startswith("test_") or n < 2:
        return None
    return (
        f"sorted by a score of the test split, which {n} of these runs have scored: the best of "
        f"{n} is better than it will be on new data; choose a run by its valid score (--sort=best)"
    )
