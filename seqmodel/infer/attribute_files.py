"""`seqmodel attribute`: write contributions in parts, and draw logos of some sequences.

All file names start with the value of `--out`. Row i of each file is line i of the .bed file.

    .ohe.npz, .hypothetical.npz   arr_0, float32 [N, A, L], the input of `modisco motifs -s -a`
    .bed                          places of the sequences and their scores
    .attribute.json               settings, inputs left out, convergence deltas
    .bw, .effects.tsv.gz          contributions along contigs; effects of substitutions
    .html, .<i>.svg               logos

With several targets, the name of the target precedes the suffix.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np

from seqmodel import VERSION
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import RunError
from seqmodel.files import read_text, reading, write_file
from seqmodel.hparam.attribute import AttributeHparams
from seqmodel.hparam.header import read_header
from seqmodel.infer.attribute import Attributions, Attributor, chosen_targets, telling
from seqmodel.infer.attribute_call import attributor_of, input_of, windows_of
from seqmodel.infer.command import model_of, parts_of, run
from seqmodel.infer.formats import Rows, Track
from seqmodel.infer.inputs import STATUSES, Chunk, with_index
from seqmodel.infer.logo import Window, drawing, page
from seqmodel.infer.rows import Overlap

LOGO_WIDTH = 100


def command(hparams: AttributeHparams) -> dict[str, int] | None:
    """Write the files; return counts of inputs, or None if parts are missing.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    (prefix,) = hparams.out
    header = read_header(hparams.checkpoints[0])
    known = header.get("targets")
    model: Any = None if known and header["alphabet"] else model_of(hparams)
    names = known["names"] if known else list(model.targets.names)
    targets = chosen_targets(names, hparams.target) if names else ()
    outs = Outs(prefix, targets, bigwig=hparams.bigwig, effects=hparams.effects)
    hparams.hparams.out = outs.all()
    parts = parts_of("attribute", hparams)
    if parts.is_done():
        counts: dict[str, int] | None = parts.join()
    else:
        model = model or model_of(hparams)
        source, how = input_of(model, hparams)
        attributor = attributor_of(model, hparams, how.length)
        writer = Writer(attributor, outs, how.length, Overlap(model))
        counts = run(parts, with_index(source.chunks()), writer, source.n_rows)
        attributor.warn()
        writer.overlap.warn()
    if counts is not None and hparams.plot:
        letters = model.alphabet if model else Alphabet.from_dict(header["alphabet"])
        plot(outs, letters, hparams.plot, hparams.method)
    return counts


class Outs:
    """Paths of the outputs."""

    def __init__(
        self, prefix: str, targets: Sequence[str], *, bigwig: bool = False, effects: bool = False
    ) -> None:
        self.prefix, self.targets = prefix, tuple(targets)
        self.bigwig, self.effects = bigwig, effects

    def path(self, suffix: str) -> str:
        """Return the path of a file for all targets."""
        return f"{self.prefix}{suffix}"

    def of(self, target: str, suffix: str) -> str:
        """Return the path of a file for one target."""
        middle = "" if len(self.targets) == 1 else f".{quote(target, safe=' +()=,')}"
        return f"{self.prefix}{middle}{suffix}"

    def all(self) -> list[str]:
        """Return the paths of files that are written in parts."""
        found = [self.path(x) for x in (".ohe.npz", ".bed", ".attribute.json")]
        kinds = [".hypothetical.npz"]
        kinds += [".bw"] if self.bigwig else []
        kinds += [".effects.tsv.gz"] if self.effects else []
        return found + [self.of(x, kind) for kind in kinds for x in self.targets]


class Writer:
    """Turn a Chunk into Rows."""

    def __init__(self, attributor: Attributor, outs: Outs, length: int, overlap: Overlap) -> None:
        self.attributor, self.outs, self.length = attributor, outs, length
        self.overlap = overlap
        self.alphabet = attributor.alphabet

    def __call__(self, chunk: Chunk) -> Rows:
        """Return the rows of a chunk: columns for all inputs, arrays for the computed ones."""
        ids, pad = windows_of(chunk, self.alphabet, self.length)
        found = self.attributor(ids, pad)
        self.overlap.add(chunk)
        kept = chunk.row[found.rows]
        status = [STATUSES[i] for i in chunk.status]
        unknown = set(chunk.row[found.left_out].tolist())
        for i in unknown:
            status[i] = "unknown"
        counts = {x: status.count(x) for x in dict.fromkeys(status)}
        places = [self._place(chunk, int(row), int(window)) for row, window in
                  zip(kept, found.rows, strict=True)]  # fmt: skip
        name = os.path.basename
        arrays = {name(self.outs.path(".ohe.npz")): found.one_hot}
        lines = {name(self.outs.path(".bed")): _bed(places, found.scores)}
        tracks = {}
        for target in self.outs.targets:
            one = found.target(target)
            arrays[name(self.outs.of(target, ".hypothetical.npz"))] = one.hypothetical
            if self.outs.effects:
                first = not len(chunk) or int(chunk.columns["index"][0]) == 0
                text = self._effects(one, places, chunk.columns["index"][kept], first)
                lines[name(self.outs.of(target, ".effects.tsv.gz"))] = text
            if self.outs.bigwig:
                tracks[name(self.outs.of(target, ".bw"))] = self._track(chunk, one, places)
        lost = set(range(len(chunk))) - set(kept.tolist())
        index = chunk.columns["index"]
        left_out = [{"index": int(index[i]), "status": status[i]} for i in sorted(lost)]
        return Rows(
            {"index": index},
            arrays,
            counts,
            tracks=tracks,
            lines=lines,
            summary=self._summary(found, left_out),
        )

    def _summary(self, found: Attributions, left_out: list[dict[str, Any]]) -> dict[str, Any]:
        scores, deltas = found.scores, found.deltas
        return {
            "version": VERSION,
            "method": found.method,
            "baseline": self.attributor.baseline,
            "local": self.attributor.local,
            "targets": list(found.targets),
            "letters": list(found.letters),
            "n_sequences": len(found),
            "n_left_out": len(left_out),
            "smallest_score": float(scores.min()) if scores.size else None,
            "largest_score": float(scores.max()) if scores.size else None,
            "largest_convergence_delta": (
                float(deltas.max()) if deltas is not None and deltas.size else None
            ),
            "left_out": left_out,
        }

    def _place(self, chunk: Chunk, row: int, window: int) -> tuple[str, int, int, str, str]:
        """Return contig, start and end of a window, its name and its strand."""
        start = int(chunk.start[window])
        size = int(chunk.codes.lengths[chunk.contig[window]])
        first, last = max(start, 0), min(start + self.length, size)
        index = str(chunk.columns["index"][row])
        name = chunk.columns["name"][row] if "name" in chunk.columns else index
        if chunk.places is None:
            return name or index, first, last, index, "+"
        contig = _names(chunk)[chunk.contig[window]]
        return contig, first, last, name, "-" if chunk.flip[window] else "+"

    def _effects(
        self, found: Attributions, places: Sequence[Any], index: np.ndarray, first: bool
    ) -> str:
        lines = ["index\tcontig\tpos\tref\talt\tposition\teffect"] if first else []
        for i, (effects, place) in enumerate(zip(found.effects, places, strict=True)):
            ref = found.one_hot[i].argmax(0)
            for p in range(place[2] - place[1]):
                for a in range(len(found.letters)):
                    if a != ref[p]:
                        pos, one, other = self._where(place, p, int(ref[p]), a)
                        lines.append(
                            f"{index[i]}\t{place[0]}\t{pos}\t{one}\t{other}\t{p}"
                            f"\t{effects[a, p]:.6g}"
                        )
        return "".join(f"{x}\n" for x in lines)

    def _where(self, place: Sequence[Any], p: int, ref: int, alt: int) -> tuple[int, str, str]:
        return on_plus(self.alphabet, place, p, ref, alt)

    def _track(self, chunk: Chunk, found: Attributions, places: Sequence[Any]) -> Track:
        names = _names(chunk)
        numbers = {x: i for i, x in enumerate(names)}
        contig, start, value = [], [], []
        for contributions, (name, first, last, _, strand) in zip(
            found.contributions, places, strict=True
        ):
            n = last - first
            contig.append(np.full(n, numbers[name], dtype=np.int64))
            start.append(np.arange(first, last, dtype=np.int64))
            value.append(contributions[:n][::-1] if strand == "-" else contributions[:n])
        none = np.zeros(0, dtype=np.int64)
        at = np.concatenate([none, *start])
        values = np.concatenate([none.astype(np.float32), *value])
        contigs = np.concatenate([none, *contig])
        return Track(names, chunk.codes.lengths, contigs, at, at + 1, values)


def _names(chunk: Chunk) -> list[str]:
    """Return the names of the contigs of the windows."""
    return list(getattr(chunk.codes, "names", ()))


def on_plus(
    alphabet: Alphabet, place: Sequence[Any], p: int, ref: int, alt: int
) -> tuple[int, str, str]:
    """Return the 1-based position on the contig, and REF and ALT on its + strand, of position p."""
    _, first, last, _, strand = place
    table = alphabet.complement_table
    if strand == "-" and table is not None:
        return last - p, alphabet.letters[table[ref]], alphabet.letters[table[alt]]
    return first + p + 1, alphabet.letters[ref], alphabet.letters[alt]


def _bed(places: Sequence[tuple[str, int, int, str, str]], scores: np.ndarray) -> str:
    """Format BED6 lines with the score for each target."""
    lines = []
    for (contig, first, last, name, strand), score in zip(places, scores, strict=True):
        words = [contig, first, last, name or ".", 0, strand, *(f"{x:.6g}" for x in score)]
        lines.append("\t".join(map(str, words)) + "\n")
    return "".join(lines)


def plot(outs: Outs, alphabet: Alphabet, n: int, method: str) -> None:
    """Draw the first `n` sequences for each target: SVG files and a page.

    Raises:
        RunError: A file cannot be read or written.
    """
    windows, stretches = [], []
    for i, target, window in _windows(outs, alphabet, n):
        stretch = telling(window.contributions, LOGO_WIDTH)
        write_file(outs.of(target, f".{i}.svg"), drawing(window, alphabet.letters, stretch).svg,
                   RunError)  # fmt: skip
        windows.append(window)
        stretches.append(stretch)
    note = f"Method: {method}. A red square raises the score, a blue one lowers it."
    title = os.path.basename(outs.prefix)
    text = page(windows, alphabet.letters, stretches, title, note)
    write_file(outs.path(".html"), text.encode("utf-8", "replace"), RunError)


def _windows(outs: Outs, alphabet: Alphabet, n: int) -> Iterator[tuple[int, str, Window]]:
    rows = [x.split("\t") for x in read_text(outs.path(".bed"), RunError).splitlines()[:n]]
    one_hot = _first(outs.path(".ohe.npz"), n)
    arrays = {x: _first(outs.of(x, ".hypothetical.npz"), n) for x in outs.targets}
    for i, row in enumerate(rows):
        place = (row[0], int(row[1]), int(row[2]), row[3], row[5])
        length = place[2] - place[1]
        hot = one_hot[i, :, :length]
        for t, target in enumerate(outs.targets):
            values = arrays[target][i, :, :length]
            there = (values * hot).sum(0)
            own = "" if row[3] in (".", row[0]) else f"  {row[3]}"
            name = f"{row[0]}:{place[1] + 1}-{place[2]} ({row[5]}){own}"
            where = partial(_label, alphabet, place)
            score = float(row[6 + t])
            yield i, target, Window(name, target, score, hot, there, values - there, where)


def _label(alphabet: Alphabet, place: Sequence[Any], p: int, ref: str, alt: str) -> str:
    letters = alphabet.letters
    pos, one, other = on_plus(alphabet, place, p, letters.index(ref), letters.index(alt))
    return f"{place[0]}:{pos} {one}>{other}"


def _first(path: str, n: int) -> np.ndarray:
    """Read only the first `n` rows of the array in an .npz file."""
    with (
        reading(path, RunError, ".npz"),
        zipfile.ZipFile(path) as archive,
        archive.open("arr_0.npy") as file,
    ):
        read = np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(file) != (1, 0):
            read = np.lib.format.read_array_header_2_0  # the layout of files that seqmodel writes
        shape, _, dtype = read(file)
        shape = (min(n, shape[0]), *shape[1:])
        data = file.read(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)
