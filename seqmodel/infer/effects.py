"""Score variants in blocks: the shared code of `seqmodel variants` and Model.variants.

source = open_variants("in.vcf.gz")                  # vcf.py
effects = Effects(model, store, source, options)     # records.py, alleles.py, scores.py
for block in source.blocks(1000):
rows = effects(block)                            # formats.Rows
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.batch.window import Codes
from seqmodel.dataset.interval.file import read_aliases
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import HparamError
from seqmodel.hparam.infer import EDGES, INDEL_ALIGNS, REF_MISMATCHES, STRANDS
from seqmodel.infer.alleles import ALIGNMENTS, Alleles, AlleleWindows
from seqmodel.infer.background import quantiles, random_snvs
from seqmodel.infer.formats import Rows
from seqmodel.infer.records import (
    EDGE,
    N_SCORED,
    OK,
    PADDED,
    STATUSES,
    SWAPPED,
    VCF_REF,
    AlleleRows,
    ContigNames,
    RecordReader,
    check_build,
)
from seqmodel.infer.scores import Scorer, Values, chosen_scores, n_nan, turned
from seqmodel.infer.vcf import Block, Source, Typed, first_of, open_variants
from seqmodel.infer.vcf_out import Annotation

MAX_FIELDS = 32
_CONTEXT_RECORDS = 10_000


@dataclass(frozen=True)
class Options:
    """Options of scoring; see `seqmodel variants --help`."""

    scores: Sequence[str] | None = None
    ref_mismatch: str = "skip"
    edge: str = "pad"
    indel_align: str = "both"
    strands: str = "both"
    variant_index: int | None = None
    max_indel: int = 0
    background: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        known = {
            "ref_mismatch": REF_MISMATCHES,
            "edge": EDGES,
            "indel_align": INDEL_ALIGNS,
            "strands": STRANDS,
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise HparamError(
                    f"{name}={getattr(self, name)!r}; choose one of {', '.join(values)}"
                )
        if self.batch_size is not None and self.batch_size < 1:
            raise HparamError(f"batch_size={self.batch_size}: must be 1 or more")


class Effects:
    """Score blocks of variants.

    Args:
        model: Model.
        store: Genome.
        source: Variants.
        options: Options of scoring.
        aliases: Path of a file with other names of contigs.

    Raises:
        VariantError: The variants belong to another genome.
    """

    def __init__(
        self,
        model: Any,
        store: SequenceStore,
        source: Source,
        options: Options,
        aliases: str | None = None,
    ) -> None:
        self.model, self.store, self.source, self.options = model, store, source, options
        self.scores = chosen_scores(model.task, options.scores)
        self.windows = windows_of(model, store, options.variant_index)
        batch_size = options.batch_size or model.members[0].batch_size
        self._scorer = Scorer(model, self.scores, batch_size, options.indel_align, options.strands)
        self._quantiles = [x for x in self.scores if x not in ("ref", "alt")]
        self._columns_of = {x: self._scorer.names(x) for x in self._scorer.columns}
        if options.background:
            for x in self._quantiles:
                own = [f"{name}_quantile" for name in self._scorer.names(x)]
                self._columns_of[f"{x}_quantile"] = own
        self.names = [x for names in self._columns_of.values() for x in names]
        contigs = Contigs(store.names, store.lengths)
        contigs = read_aliases(aliases, contigs) if aliases else contigs
        self._reader = RecordReader(
            store,
            model.alphabet,
            ContigNames(contigs, source),
            options.ref_mismatch,
            options.max_indel,
            substitutions=model.task == "masked",
        )
        self.annotation: Annotation | None = None
        self._annotated = np.arange(0)
        self.n_trained = self.n_seen = self.n_nan = 0
        self._trained = _trained_ranges(model.trained_on.contigs or {}, store)
        check_build(self._reader, source)

    def annotate(self, about: str, targets: Sequence[str] | None = None) -> None:
        """Add VCF text to the rows.

        Args:
            about: Description of the computation for the header.
            targets: Names of the targets that get a field. Default: all.

        Raises:
            HparamError: There would be too many fields.
        """
        names = self.names
        for target in targets or ():
            self.model.target_index(target)
        if targets:
            wanted = {f"{t}_{s}" for t in targets for s in self._columns_of}
            names = [x for x in self.names if x in wanted or x in self._columns_of]
        elif len(names) > MAX_FIELDS:
            raise HparamError(
                f"the VCF would have {len(names)} INFO fields, the maximum is {MAX_FIELDS}; choose "
                "targets with --vcf_targets, or fewer --scores"
            )
        self._annotated = np.array([self.names.index(x) for x in names], dtype=np.int64)
        sizes = dict(zip(self.store.names, self.store.lengths.tolist(), strict=True))
        self.annotation = Annotation(names, self.source.header, about, sizes)

    def __call__(self, block: Block) -> Rows:
        """Return the rows of a block, one for each ALT allele."""
        alleles = self._reader.rows(block)
        found = self._scored(alleles)
        values = {
            name: found[score][:, i]
            for score, names in self._columns_of.items()
            for i, name in enumerate(names)
        }
        status = [STATUSES[x] for x in alleles.status.tolist()]
        columns: dict[str, Any] = self._columns(block, alleles)
        columns |= {"status": status, **values}
        counts = Counter(status)
        n = n_nan(found, alleles.status < N_SCORED)
        self._count(alleles, n)
        vcf = None
        if self.annotation is not None:
            scores = [values[self.names[i]] for i in self._annotated.tolist()]
            lines = self.annotation.lines(block.rows, alleles.record, status, scores)
            vcf = self.annotation.header, lines
        return Rows(columns, dict(values), {**counts, **({"nan": n} if n else {})}, vcf=vcf)

    def warn(self) -> None:
        """Warn if variants lie where the model was trained, or if scores are NaN."""
        if self.n_trained:
            percent = 100 * self.n_trained / self.n_seen
            warnings.warn(
                f"{percent:.0f} % of these variants ({self.n_trained:,} of {self.n_seen:,}) lie "
                "where the model was trained",
                stacklevel=2,
            )
        if self.n_nan:
            warnings.warn(f"{self.n_nan:,} scores are not a number", stacklevel=2)

    def _count(self, rows: AlleleRows, n: int) -> None:
        scored = rows.status < N_SCORED
        contig, pos = rows.alleles.contig[scored], rows.alleles.pos[scored]
        first, last = self._trained[contig].T
        self.n_trained += int(((first <= pos) & (pos < last)).sum())
        self.n_seen, self.n_nan = self.n_seen + len(pos), self.n_nan + n

    def _columns(self, block: Block, rows: AlleleRows) -> dict[str, Any]:
        records = block.records
        columns: list[Any] = [_decoded(records.contig), records.pos, _decoded(records.ref)]
        if len(rows.record) != len(block):
            at = rows.record.tolist()
            columns = [[x[i] for i in at] for x in columns]
        contig, pos, ref = columns
        index = rows.record + block.number
        pos = np.array(pos, dtype=np.int64)
        return {"index": index, "contig": contig, "pos": pos, "ref": ref, "alt": _decoded(rows.alt)}

    def _scored(self, rows: AlleleRows) -> Values:
        """Return the scores of all rows, NaN if not scored; set the status of rows at edges."""
        n = len(rows.status)
        shapes = {x: (n, len(self._scorer.names(x))) for x in self._scorer.columns}
        found = {k: np.full(x, np.nan, dtype=np.float32) for k, x in shapes.items()}
        own = np.flatnonzero((rows.status < N_SCORED) & (rows.status != VCF_REF))
        given = np.flatnonzero(rows.status == VCF_REF)
        work = [(own, self.windows, rows.alleles.select(own))]
        if len(given):
            work.append((given, *_replaced(self.windows, rows, given)))
        for at, windows, alleles in work:
            keep = self._inside(rows, at, windows, alleles)
            values = self._scorer(windows, alleles.select(keep))
            for name, x in values.items():
                found[name][at[keep]] = x
        turned(found, np.flatnonzero(rows.status == SWAPPED))
        if self.options.background:
            found |= quantiles(found, self._background, self._quantiles)
        return found

    @cached_property
    def _background(self) -> Values:
        """Score random SNVs that resemble those at the beginning of the file."""
        found = [self._snvs(x) for x in first_of(self.source, _CONTEXT_RECORDS)]
        contig, pos, bases = (np.concatenate(x) for x in zip(*found, strict=True))
        one = np.ones_like(pos)
        snvs = Alleles(contig, pos, one, one, np.arange(len(pos)), bases)
        n, length = self.options.background, self.windows.length
        drawn = random_snvs(self.store, self.model.alphabet.n_letters, snvs, n, length)
        if len(drawn) < n:
            warnings.warn(
                f"--background: the genome has only {len(drawn):,} of {n:,} random SNVs with the "
                "contexts of the file",
                stacklevel=2,
            )
        return self._scorer(self.windows, drawn)

    def _snvs(self, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return contig, position and ALT base of the scored SNVs of a block."""
        rows = self._reader.rows(block)
        x = rows.alleles
        is_snv = (rows.status < N_SCORED) & (x.n_ref == 1) & (x.n_alt == 1)
        return x.contig[is_snv], x.pos[is_snv], x.bases[x.at[is_snv]]

    def _inside(
        self, rows: AlleleRows, at: np.ndarray, windows: AlleleWindows, alleles: Alleles
    ) -> np.ndarray:
        """Return which alleles are scored, given the ends of contigs."""
        length, index, end = windows.length, windows.index, alleles.pos + alleles.n_ref
        brought = np.maximum(alleles.n_ref - alleles.n_alt, 0)  # bases after a deletion
        left = np.minimum(alleles.pos - index, end - length + index) - brought
        right = np.maximum(alleles.pos - index + length, end + index) + brought
        beyond = (left < 0) | (right > windows.codes.lengths[alleles.contig])
        if self.options.edge == "skip":
            rows.status[at[beyond]] = EDGE
            return np.flatnonzero(~beyond)
        padded = at[beyond]
        rows.status[padded[rows.status[padded] == OK]] = PADDED
        return np.arange(len(at))


class Variants:
    """Scores of variants: iterate over DataFrames of `chunk_rows` records, or call `.table()`."""

    def __init__(self, effects: Effects, chunk_rows: int) -> None:
        self._effects, self._chunk_rows = effects, chunk_rows

    def __iter__(self) -> Iterator[Any]:
        """Yield DataFrames with one row for each ALT allele."""
        import pandas as pd

        for block in self._effects.source.blocks(self._chunk_rows):
            yield pd.DataFrame(dict(self._effects(block).columns))

    def table(self) -> Any:
        """Return all rows in one DataFrame."""
        import pandas as pd

        return pd.concat(list(self), ignore_index=True)


class Windows(NamedTuple):
    """Windows of an allele as text, in reading direction."""

    ref: str
    alt: str


def variants_of(
    model: Any,
    variants: Any,
    fasta: Any,
    *,
    contig_aliases: str | None = None,
    chunk_rows: int = 4096,
    cache_dir: str | None = None,
    **options: Any,
) -> Variants:
    """Score the variants of a file, a DataFrame or a list; see Model.variants."""
    unknown = [x for x in options if x not in Options.__dataclass_fields__]
    if unknown:
        known = ", ".join(Options.__dataclass_fields__)
        raise HparamError(f"variants has no option {unknown[0]!r}; its options are {known}")
    source = source_of(variants)
    store = SequenceStore.open(fasta, model.alphabet, cache_dir, quiet=True)
    effects = Effects(model, store, source, Options(**options), contig_aliases)
    return Variants(effects, chunk_rows)


def source_of(variants: Any) -> Source:
    """Open the variants of a path, a DataFrame with contig, pos, ref and alt, or a list."""
    if hasattr(variants, "columns"):
        rows = variants[["contig", "pos", "ref", "alt"]]
        return Typed(list(rows.itertuples(index=False, name=None)))
    if isinstance(variants, (list, tuple)):
        return Typed(variants)
    import os

    return open_variants(os.fspath(variants))


def texts_of(
    model: Any,
    variant: tuple[str, int, str, str],
    fasta: Any,
    *,
    strand: str = "+",
    align: str = "left",
    variant_index: int | None = None,
    cache_dir: str | None = None,
) -> Windows:
    """Return the windows of an allele; see Model.alleles."""
    if strand not in ("+", "-") or align not in ALIGNMENTS:
        raise HparamError(f"strand={strand!r}, align={align!r}; choose + or -, and left or right")
    store = SequenceStore.open(fasta, model.alphabet, cache_dir, quiet=True)
    windows, source = windows_of(model, store, variant_index), Typed([variant])
    names = ContigNames(Contigs(store.names, store.lengths), source)
    block = next(source.blocks(1))
    rows = RecordReader(store, model.alphabet, names, "error", 1 << 40).rows(block)
    if rows.status[0] >= N_SCORED:
        status = STATUSES[rows.status[0]]
        raise HparamError(f"{':'.join(map(str, variant))} has no windows; its status is {status}")
    flip = strand == "-"
    alleles = windows.placed(rows.alleles.select(slice(0, 1)), flip)
    ref = windows.ref(alleles.contig, windows.start(alleles, flip), flip)
    alt = windows.alt(alleles, ref, flip, align)
    return Windows(model.alphabet.decode(ref[0]), model.alphabet.decode(alt[0]))


def windows_of(model: Any, codes: Codes, index: int | None) -> AlleleWindows:
    """Return the reader of the windows of a model.

    Raises:
        HparamError: the length of its sequences is not known.
    """
    if model.seq_len is None:
        raise HparamError("the checkpoint does not say the length of its sequences; give seq_len")
    return AlleleWindows(codes, model.alphabet, model.seq_len, index)


class _Pieces:
    """Stretches of a genome around variants, in which the file's REF is in its place."""

    def __init__(self, data: np.ndarray, lengths: np.ndarray) -> None:
        self.data, self.lengths = data, lengths
        self.offsets = np.cumsum(lengths) - lengths


def _replaced(
    windows: AlleleWindows, rows: AlleleRows, at: np.ndarray
) -> tuple[AlleleWindows, Alleles]:
    """Alleles on pieces of the genome that have the REF of the file, a piece each."""
    codes, x = windows.codes, rows.alleles
    pieces, pos = [], []
    for i in at.tolist():
        place, ref = rows.given[i]
        first, n = int(codes.offsets[x.contig[i]]), int(codes.lengths[x.contig[i]])
        reach = 2 * windows.length + len(ref)  # so that an indel in a repeat can be moved
        start, end = max(0, place - reach), min(n, place + len(ref) + reach)
        piece = codes.data[first + start : first + end].copy()
        piece[place - start : place - start + len(ref)] = np.frombuffer(ref, dtype=np.uint8)
        pieces.append(piece)
        pos.append(int(x.pos[i]) - start)
    lengths = np.fromiter(map(len, pieces), dtype=np.int64)
    local = _Pieces(np.concatenate(pieces), lengths)
    moved = replace(x.select(at), contig=np.arange(len(at)), pos=np.array(pos, dtype=np.int64))
    return AlleleWindows(local, windows.alphabet, windows.length, windows.index), moved


def _trained_ranges(contigs: Mapping[str, Sequence[int]], store: SequenceStore) -> np.ndarray:
    """Start and end of what was trained on of each contig of a genome, int64 [n, 2]."""
    found = np.zeros((len(store.names), 2), dtype=np.int64)
    for i, (name, length) in enumerate(zip(store.names, store.lengths.tolist(), strict=True)):
        if name in contigs and contigs[name][0] == length:
            found[i] = contigs[name][2:4]
    return found


def _decoded(texts: Sequence[bytes]) -> list[str]:
    if not texts:
        return []
    return b"\n".join(texts).decode("utf-8", "surrogateescape").split("\n")
