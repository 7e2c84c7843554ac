"""`seqmodel motifs`: motifs of the filters of the first layer, as a MEME file.

A motif is the frequency of symbols over all stretches where the activation of the filter exceeds
half of its maximum (Kelley et al. 2016, Basset).
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError, RunError
from seqmodel.extras import optional
from seqmodel.files import write_file
from seqmodel.hparam.attribute import MotifsHparams
from seqmodel.infer.attribute_call import input_of, windows_of
from seqmodel.infer.command import model_of
from seqmodel.model.conv import SameConv
from seqmodel.model.wrapped import WrappedEncoder

SHARE = 0.5


def command(hparams: MotifsHparams) -> dict[str, int]:
    """Write the motifs and their matches in the database; return counts of inputs.

    Raises:
        HparamError: The first layer has no filters over the sequence.
        RunError: A file exists already or cannot be written.
    """
    (out,) = hparams.out
    if os.path.exists(out) and not hparams.overwrite:
        raise RunError(f"{out} exists already; choose another --out, or set --overwrite")
    if hparams.database:
        _memelite()
    model = model_of(hparams)
    scanner = Scanner(model)
    source, how = input_of(model, hparams)
    size = hparams.batch_size or model.members[0].batch_size
    counts: dict[str, int] = {}
    for scan in (scanner.find_largest, scanner.count):
        n = n_windows = 0
        for chunk in source.chunks():
            ids, pad = windows_of(chunk, model.alphabet, how.length)
            for at in range(0, len(ids), size):
                scan(ids[at : at + size], None if pad is None else pad[at : at + size])
            n, n_windows = n + len(chunk), n_windows + len(ids)
        counts = {"n": n, "ok": n_windows, "left_out": n - n_windows}
    motifs = scanner.motifs()
    letters = "".join(model.alphabet.letters)
    write_file(out, as_meme(motifs, letters, scanner.n_sites), RunError)
    silent = len(scanner.n_sites) - len(motifs)
    if silent:
        warnings.warn(f"{silent} filters never exceed 0 and have no motif", stacklevel=2)
    if hparams.database:
        table = matches(motifs, hparams.database, hparams.max_p)
        write_file(f"{out.removesuffix('.meme')}.matches.tsv", table, RunError)
    return {name: x for name, x in counts.items() if x or name == "n"}


class Scanner:
    """Apply the first convolution of a model to sequences.

    Attributes:
        n_sites: Number of stretches that activate each filter.
    """

    def __init__(self, model: Any) -> None:
        encoder = model.members[0].task.encoder
        n_letters = model.alphabet.n_letters
        self.conv, self.weight = _first_layer(encoder, n_letters)
        self.device = model.device
        self.width = self.conv.kernel_size[0]
        self.table = torch.from_numpy(model.alphabet.one_hot_table())
        self.sign = _signs(encoder, self.conv).to(self.device)
        n = self.conv.out_channels
        self.largest = torch.zeros(n, device=self.device)
        self.sums = torch.zeros(n, n_letters, self.width, dtype=torch.float64, device=self.device)
        self.n_sites = np.zeros(n, dtype=np.int64)

    def find_largest(self, ids: np.ndarray, pad: np.ndarray | None) -> None:
        """Update the maximum of each filter."""
        values = self._values(ids)[0]
        self.largest = torch.maximum(self.largest, values.amax((0, 2)))

    def count(self, ids: np.ndarray, pad: np.ndarray | None) -> None:
        """Count the symbols where the activation exceeds half of the maximum."""
        values, x = self._values(ids)
        stretches = x.unfold(2, self.width, 1)  # [N, A, P, W]
        over = (values > SHARE * self.largest[:, None]) & (self.largest[:, None] > 0)
        for f in range(over.shape[1]):
            row, at = over[:, f].nonzero(as_tuple=True)
            self.n_sites[f] += len(row)
            self.sums[f] += stretches[row, :, at].sum(0, dtype=torch.float64)

    def motifs(self) -> dict[str, np.ndarray]:
        """Return frequencies [A, W] of each filter that has sites, by name."""
        sums = self.sums.cpu().numpy() + 1e-3
        shares = sums / sums.sum(1, keepdims=True)
        return {f"filter_{i}": shares[i] for i in range(len(shares)) if self.n_sites[i]}

    @torch.no_grad()
    def _values(self, ids: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return activations [N, F, P] over known symbols, and one-hot rows [N, A, L]."""
        x = self.table[torch.from_numpy(ids).long()].mT.to(self.device)
        conv = self.conv
        values = nn.functional.conv1d(x, self.weight, conv.bias, dilation=conv.dilation)
        known = (x.amax(1) == 1).to(x.dtype)[:, None].unfold(2, self.width, 1).amin(3)
        return (values * self.sign[:, None]).masked_fill(known == 0, -torch.inf), x


def _first_layer(encoder: nn.Module, n_letters: int) -> tuple[nn.Conv1d, Tensor]:
    """Return the first convolution, and its weights [F, A, W] in the order of the alphabet.

    Raises:
        HparamError: The first layer is not a convolution of one-hot input.
    """
    wrapped = next((x for x in encoder.modules() if isinstance(x, WrappedEncoder)), None)
    if wrapped is None:
        own = next((x for x in encoder.modules() if isinstance(x, SameConv)), None)
        if own is not None and own.in_channels == n_letters:
            return own, own.weight
        raise HparamError(
            f"motifs needs a convolution as the first layer; {type(encoder).__name__} "
            "has none; use a model with --encoder=cnn, dilated_conv or conv_lstm"
        )
    name, n_channels = type(wrapped.module).__name__, wrapped.n_channels
    conv = next((x for x in wrapped.modules() if isinstance(x, nn.Conv1d)), None)
    plain = conv is not None and (conv.groups, conv.dilation) == (1, (1,))
    if conv is None or not plain or conv.in_channels != n_channels or wrapped.layout == "NL":
        raise HparamError(
            "motifs needs a first layer that is a Conv1d of one-hot input with "
            f"{n_channels} channels and without dilation; {name} has none"
        )
    return conv, conv.weight[:, wrapped.order]


def _signs(encoder: nn.Module, conv: nn.Conv1d) -> Tensor:
    """Return -1 for filters whose sign the following batch norm inverts, otherwise 1."""
    for block in encoder.modules():
        norm = getattr(block, "norm", None)
        if getattr(block, "conv", None) is conv and isinstance(norm, nn.BatchNorm1d):
            return torch.where(norm.weight.detach() < 0, -1.0, 1.0)
    return torch.ones(conv.out_channels)


def as_meme(motifs: dict[str, np.ndarray], letters: str, n_sites: np.ndarray) -> str:
    """Format motifs in MEME's minimal format, version 4."""
    share = 1 / len(letters)
    background = " ".join(f"{x} {share:.4f}" for x in letters)
    lines = ["MEME version 4", "", f"ALPHABET= {letters}", "", "strands: + -", ""]
    lines += ["Background letter frequencies", background, ""]
    for name, shares in motifs.items():
        n = int(n_sites[int(name.removeprefix("filter_"))])
        lines.append(f"MOTIF {name}")
        lines.append(
            f"letter-probability matrix: alength= {len(letters)} w= {shares.shape[1]} nsites= {n} "
            "E= 0"
        )
        lines += [" ".join(f"{x:.6f}" for x in column) for column in shares.T]
        lines.append("")
    return "\n".join(lines) + "\n"


def matches(motifs: dict[str, np.ndarray], database: str, max_p: float) -> str:
    """Return a table of matching motifs in a database, by Tomtom's p-value.

    Raises:
        HparamError: The file has no motif.
    """
    tomtom, read_meme = _memelite()
    known = read_meme(database)
    if not known:
        raise HparamError(f"--database={database} has no motif in MEME format")
    lines = ["filter\tmotif\tp\toffset\tstrand"]
    if motifs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the database has few motifs
            p, _, offset, _, strand = tomtom(list(motifs.values()), list(known.values()))[:5]
        for i, name in enumerate(motifs):
            for j in np.argsort(p[i], kind="stable"):
                if p[i, j] <= max_p:
                    sign = "-" if strand[i, j] else "+"
                    motif = list(known)[j]
                    lines.append(f"{name}\t{motif}\t{p[i, j]:.3g}\t{int(offset[i, j])}\t{sign}")
    return "\n".join(lines) + "\n"


def _memelite() -> tuple[Any, Any]:
    memelite, io = (
        optional(name, "--database", "attribute", HparamError)
        for name in ("memelite", "memelite.io")
    )
    return memelite.tomtom, io.read_meme
