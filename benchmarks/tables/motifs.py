"""Motifs of JASPAR, and how well each of them fits a sequence at its best."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

BACKGROUND = (0.2, 0.3, 0.3, 0.2)
"""Frequencies of A, C, G, T around binding sites."""
PSEUDO_COUNT = 0.01
MARGIN = 8
"""A motif may stand this far over either end of the sequence."""


def read_meme(path: Path) -> list[np.ndarray]:
    """The motifs of a file in MEME's minimal format, gzip or not: [positions, 4] each."""
    text = path.read_bytes()
    lines = (gzip.decompress(text) if path.suffix == ".gz" else text).decode().splitlines()
    motifs = []
    for i, line in enumerate(lines):
        if line.startswith("letter-probability matrix"):
            width = int(line.partition("w=")[2].split()[0])
            motifs.append(np.array([x.split() for x in lines[i + 1 : i + 1 + width]], np.float32))
    return motifs


def scan(codes: np.ndarray, motifs: list[np.ndarray]) -> np.ndarray:
    """Fit of each motif to sequences: float32 [N, 2 x motifs] of codes [N, L] below 4.

    The log odds against `BACKGROUND` in nats, of the better strand at each position: the largest
    over the positions, and the logarithm of their summed exponentials.
    """
    import torch
    from torch.nn import functional as F

    ahead = torch.from_numpy(_bank(motifs))
    back = torch.from_numpy(_bank([x[::-1, ::-1] for x in motifs]))
    out = []
    for part in torch.from_numpy(codes.astype(np.int64)).split(512):
        letters = F.pad(F.one_hot(part, 4).float().mT, (MARGIN, MARGIN))
        fit = torch.maximum(F.conv1d(letters, ahead), F.conv1d(letters, back))
        out.append(torch.cat([fit.amax(2), fit.logsumexp(2)], 1))
    return torch.cat(out).numpy()


def _bank(motifs: list[np.ndarray]) -> np.ndarray:
    bank = np.zeros((len(motifs), 4, max(map(len, motifs))), np.float32)
    for row, motif in zip(bank, motifs, strict=True):
        odds = (motif + PSEUDO_COUNT) / (1 + 4 * PSEUDO_COUNT) / BACKGROUND
        row[:, : len(motif)] = np.log(odds).T
    return bank
