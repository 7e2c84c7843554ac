"""The number of runs scored on a test set: the best of many scores is too optimistic. Light."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from seqmodel.job.results.result import Result


def test_set(result: Result) -> str | None:
    """Return a key that is equal for runs with the same test items; None without test scores."""
    tested, digests = result.run.get("tested"), result.run.get("data")
    if not isinstance(tested, dict) or not isinstance(digests, dict):
        return None
    files = tested.get("files")
    found = [digests.get(x) for x in files] if isinstance(files, list) else []
    sums = [str(x.get("sha256")) for x in found if isinstance(x, dict)]
    return " ".join([str(tested.get("n")), *sorted(sums)]) if sums else None


def n_looks(found: Iterable[Result]) -> int:
    """Return how many runs have scored the most common test set."""
    counts = Counter(x for x in map(test_set, found) if x is not None)
    return max(counts.values(), default=0)


def warning_of(found: Iterable[Result], column: str | None) -> str | None:
    """Return a warning for runs sorted by a test score; None for other orders."""
    n = n_looks(found)
    if column is None or not column.startswith("test_") or n < 2:
        return None
    return (
        f"sorted by a score of the test split, which {n} of these runs have scored: the best of "
        f"{n} is better than it will be on new data; choose a run by its valid score (--sort=best)"
    )
