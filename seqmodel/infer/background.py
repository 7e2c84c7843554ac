"""Scores of random SNVs for comparison with the SNVs of a file: `--background=N`.

Mutation rates differ between contexts, so the random SNVs have the same proportions of
trinucleotides and ALT bases as the SNVs in the file. They depend on the genome and the file only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqmodel.dataset.batch.window import Codes
from seqmodel.infer.alleles import Alleles
from seqmodel.infer.scores import Values

_SEED, _DRAWN, _MOST_ROUNDS = 20, 1 << 16, 200


def random_snvs(codes: Codes, n_letters: int, alleles: Alleles, n: int, reach: int) -> Alleles:
    """Draw SNVs at random positions whose windows lie within their contigs.

    Args:
        codes: Genome.
        n_letters: Number of symbols of its alphabet.
        alleles: SNVs that set the proportions of contexts and ALT bases. If empty, all are used.
        n: Number of SNVs to draw.
        reach: Number of bases on either side that must lie on the contig.
    """
    rng = np.random.default_rng(_SEED)
    wanted = np.arange(n_letters**4)
    wanted = wanted[wanted // n_letters**2 % n_letters != wanted % n_letters]
    if len(alleles):
        bases = alleles.bases[alleles.at]
        kinds, is_known = _kinds(codes, n_letters, alleles.contig, alleles.pos, bases)
        wanted = kinds[is_known] if is_known.any() else wanted
    wanted = np.sort(wanted[rng.integers(0, len(wanted), n)])
    found: dict[str, list[np.ndarray]] = {"contig": [], "pos": [], "base": []}
    left = np.bincount(wanted, minlength=n_letters**4)
    room = np.maximum(codes.lengths - 2 * reach, 0)
    for _ in range(_MOST_ROUNDS if room.sum() else 0):
        place = rng.integers(0, room.sum(), _DRAWN)
        contig = np.searchsorted(np.cumsum(room), place, side="right")
        pos = place - (np.cumsum(room) - room)[contig] + reach
        base = rng.integers(0, n_letters, _DRAWN).astype(np.uint8)
        kinds, is_known = _kinds(codes, n_letters, contig, pos, base)
        keep = np.flatnonzero(is_known)
        order = keep[np.argsort(kinds[keep], kind="stable")]
        ordered = kinds[order]
        nth = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        take = order[nth < left[ordered]]
        left -= np.bincount(kinds[take], minlength=len(left))
        for name, x in (("contig", contig), ("pos", pos), ("base", base)):
            found[name].append(x[take])
        if not left.any():
            break
    contig, pos, base = (np.concatenate([np.empty(0, np.int64), *x]) for x in found.values())
    one = np.ones(len(pos), dtype=np.int64)
    return Alleles(contig, pos, one, one, np.arange(len(pos)), base.astype(np.uint8))


def quantiles(values: Values, background: Values, names: Sequence[str]) -> Values:
    """Return the proportion of the background with a lower score; ties count half. float32."""
    found: Values = {}
    for name in names:
        out = np.full(values[name].shape, np.nan, dtype=np.float32)
        for k in range(values[name].shape[1]):
            own, other = values[name][:, k], np.sort(background[name][:, k])
            known = ~np.isnan(own)
            low, high = (np.searchsorted(other, own[known], side=x) for x in ("left", "right"))
            out[known, k] = (low + high) / (2 * max(len(other), 1))
        found[f"{name}_quantile"] = out
    return found


def _kinds(
    codes: Codes, n_letters: int, contig: np.ndarray, pos: np.ndarray, base: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of trinucleotide and ALT of SNVs, and whether they are known and differ."""
    inside = (pos >= 1) & (pos < codes.lengths[contig] - 1)
    at = np.where(inside, codes.offsets[contig] + pos, codes.offsets[contig] + 1)
    three = np.stack([codes.data[np.minimum(at + i, len(codes.data) - 1)] for i in (-1, 0, 1)])
    three = three.astype(np.int64)
    known = inside & (three < n_letters).all(axis=0) & (three[1] != base) & (base < n_letters)
    number = ((three[0] * n_letters + three[1]) * n_letters + three[2]) * n_letters + base
    return np.where(known, number, 0), known
