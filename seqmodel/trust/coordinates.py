"""Overlap of the intervals of two splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqmodel.hparam.header import read_header
from seqmodel.trust.duplicates import name_of
from seqmodel.trust.rows import Rows

N_WORST = 10


def overlaps(train: Rows, test: Rows) -> dict[str, Any] | None:
    """Report the overlap of the intervals of `test` with those of `train`, on either strand.

    Returns:
        `rows`: number of test rows; `overlapping`: test rows that share a base with a training
        row; `bp`: bases of test rows that lie in training rows; `share`: `bp` as a proportion of
        all bases of test rows; `distance`: minimum, quartiles and maximum of the bases between a
        test row and the nearest training row of its contig; `other_contig`: test rows on contigs
        without training rows; `worst`: the ten test rows with the most bases in training rows.
        None if the rows have no coordinates.
    """
    if train.contigs is None or test.contigs is None:
        return None
    bp, distance = overlap_of(train, test)
    length = np.asarray(test.ends) - np.asarray(test.starts)
    near = distance[distance >= 0]
    quantiles = np.quantile(near, (0, 0.25, 0.5, 0.75, 1)).tolist() if len(near) else None
    total = int(length.sum())
    return {
        "rows": len(bp),
        "overlapping": int((bp > 0).sum()),
        "bp": int(bp.sum()),
        "share": float(bp.sum() / total) if total else 0.0,
        "distance": quantiles,
        "other_contig": int((distance < 0).sum()),
        "worst": [
            {
                "row": int(test.numbers[i]),
                "name": name_of(test, i),
                "bp": int(bp[i]),
                "share": float(bp[i] / length[i]),
            }
            for i in np.argsort(-bp, kind="stable")[:N_WORST].tolist()
            if bp[i] > 0
        ],
    }


def overlap_of(train: Rows, test: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlap of each row of `test` with `train` and the distance to the nearest row.

    Returns:
        Overlap in bp, int64 [N]; a base in two training rows counts once. Distance in bp,
        int64 [N], to the nearest training row of the contig: 0 if they overlap or touch, -1 if the
        contig has no training row.
    """
    names, numbers = np.unique(_contigs(train), return_inverse=True)
    at = np.searchsorted(names, _contigs(test))
    known = names[np.minimum(at, len(names) - 1)] == _contigs(test) if len(names) else at < 0
    bp = np.zeros(len(at), dtype=np.int64)
    distance = np.full(len(at), -1, dtype=np.int64)
    starts, ends = np.asarray(train.starts), np.asarray(train.ends)
    for number in np.unique(at[known]).tolist():
        here, there = np.flatnonzero(known & (at == number)), numbers == number
        first, last = merged(starts[there], ends[there])
        a, b = np.asarray(test.starts)[here], np.asarray(test.ends)[here]
        bp[here] = _inside(b, first, last) - _inside(a, first, last)
        distance[here] = np.where(bp[here] > 0, 0, _gap(a, b, first, last))
    return bp, distance


def seen_by(checkpoint: str, test: Rows) -> dict[str, Any] | None:
    """Report which rows of `test` lie where the model of a checkpoint was trained.

    Args:
        checkpoint: Path of a checkpoint or of exported weights.
        test: Rows with coordinates on the same assembly.

    Returns:
        `checkpoint`: its path; `known`: whether its header names contigs; `rows`: number of test
        rows; `on_seen_contigs`: rows on such a contig; `in_seen_range`: rows that share a base
        with the range from the first to the last training window of the contig; `bp`: bases of
        these rows in that range; `contigs`: contigs of test rows; `listed` and `n_contigs`: a
        header lists at most 1,000 contigs. Unknown numbers are None. None instead of a report if
        the rows have no coordinates.

    Raises:
        CheckpointError: The file is not a checkpoint.
    """
    header = read_header(checkpoint)
    if test.contigs is None or test.starts is None or test.ends is None:
        return None
    seen: dict[str, list[int]] = header["contigs"] or {}
    contigs = _contigs(test)
    on = np.isin(contigs, sorted(seen))
    bounds = np.array([seen[x][2:4] if x in seen else [0, 0] for x in contigs.tolist()])
    low, high = bounds.reshape(-1, 2).T
    bp = np.maximum(0, np.minimum(test.ends, high) - np.maximum(test.starts, low))
    numbers = {
        "on_seen_contigs": int(on.sum()),
        "in_seen_range": int((bp > 0).sum()),
        "bp": int(bp.sum()),
    }
    return {
        "checkpoint": checkpoint,
        "known": bool(seen),
        "rows": len(contigs),
        **(numbers if seen else dict.fromkeys(numbers)),
        "contigs": sorted(set(contigs[on].tolist())),
        "listed": len(seen),
        "n_contigs": header["n_contigs"],
    }


def merged(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge the intervals of one contig into sorted, separate regions: starts and ends."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    new = np.append(True, starts[1:] > ends[:-1])
    return starts[new], ends[np.append(new[1:], True)]


def _inside(at: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Count the bases of regions before each position, int64."""
    total = np.concatenate(([0], np.cumsum(ends - starts)))
    i = np.searchsorted(starts, at, "right")
    beyond = np.maximum(0, ends[np.maximum(i - 1, 0)] - at)
    return total[i] - np.where(i > 0, beyond, 0)


def _gap(a: np.ndarray, b: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the distance in bp between an interval outside all regions and the nearest region."""
    i = np.searchsorted(starts, a, "right")
    far = np.iinfo(np.int64).max
    left = np.where(i > 0, a - ends[np.maximum(i - 1, 0)], far)
    right = np.where(i < len(starts), starts[np.minimum(i, len(starts) - 1)] - b, far)
    return np.maximum(0, np.minimum(left, right))


def _contigs(rows: Rows) -> np.ndarray:
    return np.asarray(rows.contigs).astype(str)
