"""Columns of a file, read in blocks: what their cells have in common, in bounded memory.

First step of the guess: cells -> Column. roles.py decides the role of a column.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from seqmodel.dataset.label.labels import MISSING
from seqmodel.dataset.label.table import is_parquet, stream
from seqmodel.dataset.seq.alphabet import ALPHABETS, IUPAC
from seqmodel.errors import LabelError
from seqmodel.extras import optional
from seqmodel.files import reading

MOST_CELLS = 5_000_000
"""Cells of one file that are looked at; later rows are not."""
MOST_VALUES = 1000
"""Different texts of a column that are kept: classes are fewer."""
MOST_LETTERS = 1_000_000
"""Characters of a column that are counted to find its alphabet."""
BLOCK_ROWS = 1000
NUCLEOTIDES_MIN, PROTEIN_MAX = 0.9, 0.6
"""From which proportion of A, C, G, T, U and N a text is DNA or RNA, and up to which protein."""

Row = tuple[int, Sequence[str]]


class Column:
    """Summary of the cells of a column.

    Attributes:
        name: Name of the column, or its number from 1 if the file has no header.
        n: Number of cells read; `n_missing` of them are empty or NA.
        values: Count of each text; only of the first ones if there are too many.
        has_more: Whether the column has more texts than `values`.
        are_numbers: Whether all texts are finite numbers; `are_whole`: whether these are whole.
        letters: Count of each character, in upper case, in the first texts.
        shortest: Length of the shortest text; `longest`: length of the longest text.
        total_length: Total length of `n_texts` texts.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.n = self.n_missing = 0
        self.values: Counter[str] = Counter()
        self.has_more = False
        self.are_numbers = self.are_whole = True
        self.letters: Counter[str] = Counter()
        self.n_letters = 0
        self.shortest, self.longest = math.inf, 0
        self.total_length = self.n_texts = 0

    def add(self, cells: Iterable[str]) -> None:
        """Read more cells."""
        texts = [x.strip() for x in cells]
        self.n += len(texts)
        found = Counter(texts)
        for word in [x for x in found if x.lower() in MISSING]:
            self.n_missing += found.pop(word)
        if not found:
            return
        self._add_lengths(found)
        if self.are_numbers:
            numbers = [number_of(x) for x in found]
            self.are_numbers = None not in numbers
            self.are_whole &= all(x is not None and x.is_integer() for x in numbers)
        if not self.has_more:
            self.values.update(found)
            self.has_more = len(self.values) > MOST_VALUES

    def join(self, other: Column) -> None:
        """Add the cells of the same column in another file."""
        self.n, self.n_missing = self.n + other.n, self.n_missing + other.n_missing
        self.are_numbers &= other.are_numbers
        self.are_whole &= other.are_whole
        self.values.update(other.values)
        self.has_more |= other.has_more or len(self.values) > MOST_VALUES

    def _add_lengths(self, found: Counter[str]) -> None:
        lengths = [len(x) for x in found]
        self.total_length += sum(lengths)
        self.n_texts += len(lengths)
        self.shortest, self.longest = (
            min(self.shortest, min(lengths)),
            max(self.longest, max(lengths)),
        )
        if self.n_letters < MOST_LETTERS:
            text = "".join(found)[:MOST_LETTERS].upper()
            self.letters.update(text)
            self.n_letters += len(text)

    @property
    def mean_length(self) -> float:
        """Mean length of the texts."""
        return self.total_length / max(self.n_texts, 1)

    @property
    def n_found(self) -> int:
        """Number of cells that are not missing."""
        return self.n - self.n_missing

    @property
    def n_values(self) -> int:
        """Number of distinct texts, or the smallest possible number if not all are kept."""
        return len(self.values)

    @property
    def are_binary(self) -> bool:
        """Whether all cells are 0, 1 or missing."""
        return not self.has_more and self.n_values > 0 and set(self.values) <= {"0", "1"}

    @property
    def alphabets(self) -> list[str]:
        """Possible alphabets of the texts; see `alphabets_of`."""
        return alphabets_of(self.letters)


def number_of(text: str) -> float | None:
    """Parse a finite number in the same way as for labels; None if the text is not one."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and "_" not in text else None


def alphabets_of(letters: Counter[str]) -> list[str]:
    """Return the possible alphabets of counted characters, in upper case: none, one or two.

    All bases are also residues, so the proportion of A, C, G, T, U and N decides.
    """
    total, there = sum(letters.values()), set(letters)
    known = {n: {*a.letters, *a.ambiguous} for n, a in ALPHABETS.items()}
    possible = [name for name, of in known.items() if there <= of] if total else []
    share = sum(letters[x] for x in "ACGTUN") / max(total, 1)
    nucleic = [x for x in possible if x != "protein"][:1]
    if not nucleic:
        both = {"T", "U"} <= there and there <= set("ACGTU" + IUPAC) and share >= PROTEIN_MAX
        return [] if both else possible
    if "protein" not in possible or share >= NUCLEOTIDES_MIN:
        return nucleic
    return ["protein"] if share <= PROTEIN_MAX else [*nucleic, "protein"]


def read_columns(
    path: str, rows: Iterator[Row], named: Callable[[Sequence[str], list[Column]], bool]
) -> tuple[list[Column], bool, bool]:
    """Read the columns of a table.

    Args:
        path: Path of the table, for messages.
        rows: Rows of the table, from `rows_of`.
        named: Function of the first row and the columns without it: whether that row has the
            names of the columns.

    Returns:
        The columns, whether the first row has their names, and whether some rows were not
        read.

    Raises:
        LabelError: The table has no rows.
    """
    _, first = next(rows, (0, ()))
    if not first:
        raise LabelError(f"{path}: has no row")
    columns = [Column(x.strip()) for x in first]
    n_left = max(BLOCK_ROWS, MOST_CELLS // len(columns))
    while n_left > 0 and (block := list(islice(rows, min(BLOCK_ROWS, n_left)))):
        n_left -= len(block)
        even = [x for _, x in block if len(x) == len(columns)]  # the reader raises for others
        for column, cells in zip(columns, zip(*even, strict=True), strict=False):
            column.add(cells)
    is_named = named(first, columns)
    if not is_named:
        for number, (column, cell) in enumerate(zip(columns, first, strict=True), 1):
            column.name = str(number)
            column.add([cell])
    elif not columns[0].n:
        raise LabelError(f"{path}: has no row")
    return columns, is_named, next(rows, None) is not None


def rows_of(path: str, quotes: str) -> Iterator[Row]:
    """Iterate over the rows of a table; for a Parquet file, the names come first.

    Raises:
        LabelError: The table cannot be read.
    """
    if not is_parquet(path):
        yield from stream(path, quotes)
        return
    parquet = optional("pyarrow.parquet", f"{path}: Parquet", "parquet", LabelError)
    with reading(path, LabelError, "Parquet"):
        file = parquet.ParquetFile(path)
        yield 0, file.schema_arrow.names
        for batch in file.iter_batches(batch_size=BLOCK_ROWS):
            cells = ([("" if x is None else str(x)) for x in c.to_pylist()] for c in batch.columns)
            yield from enumerate(zip(*cells, strict=True))


def words_of(name: str) -> list[str]:
    """Return the words of a column name in lower case: `DNA_seq 1` has dna, seq and 1."""
    return re.findall(r"[a-z]+|[0-9]+", name.lower())
