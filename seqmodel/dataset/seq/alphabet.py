"""Alphabets: the symbols of a sequence and the id of each symbol.

First stage of the flow: characters -> uint8 ids. The ids of symbols are below `n_letters`; three
control ids follow: `mask_id` (hidden from the model), `pad_id` (no sequence here) and `unknown_id`
(an unknown symbol such as N). This module leaves out one-hot encoding on a device (models use
`one_hot_table`) and files (store.py, labelled.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqmodel.errors import SequenceError

BAD = 255
"""Code of a character that is not of the alphabet; never left in a sequence."""

UNKNOWN_RULES = ("uniform", "zeros")
CUSTOM_PREFIX = "letters:"


@dataclass(frozen=True)
class Alphabet:
    """The symbols of a type of sequence, in the order of their ids.

    Attributes:
        name: Value of `--alphabet`.
        letters: Symbols in the order of their ids, mostly single characters; case is ignored.
        ambiguous: Characters read as `unknown_id` (N and IUPAC codes); the first is its text.
        complement: Complement of each symbol; None if the alphabet has no complement.
        unknown: One-hot of `unknown_id`: "uniform" is 1/A for each symbol, "zeros" is 0.
    """

    name: str
    letters: tuple[str, ...]
    ambiguous: str = ""
    complement: dict[str, str] | None = None
    unknown: str = "uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", tuple(self.letters))
        object.__setattr__(self, "ambiguous", "".join(self.ambiguous))
        if not self.letters or len(self.letters) > 250 or not all(self.letters):
            raise SequenceError(
                f"alphabet {self.name!r}: needs 1 to 250 symbols, but got {len(self.letters)}"
            )
        folded = [x.upper() for x in (*self.letters, *self.ambiguous)]
        twice = sorted({x for x in folded if folded.count(x) > 1})
        if twice:
            raise SequenceError(f"alphabet {self.name!r}: {twice[0]!r} occurs twice")
        if not all(x.isascii() and x.isprintable() and not x.isspace() for x in folded):
            raise SequenceError(f"alphabet {self.name!r}: symbols must be visible ASCII characters")
        if self.unknown not in UNKNOWN_RULES:
            raise SequenceError(
                f"alphabet {self.name!r}: unknown={self.unknown!r} is not one of {UNKNOWN_RULES}"
            )
        self._check_complement()

    def _check_complement(self) -> None:
        pairs = self.complement
        if pairs is not None and (
            set(pairs) != set(self.letters) or any(pairs.get(pairs[x]) != x for x in pairs)
        ):
            raise SequenceError(
                f"alphabet {self.name!r}: complement must pair its symbols, but got {pairs}"
            )

    def __hash__(self) -> int:
        return hash((self.name, self.letters, self.ambiguous, self.unknown))

    @property
    def n_letters(self) -> int:
        """Number of symbols, A."""
        return len(self.letters)

    @property
    def n_tokens(self) -> int:
        """Number of ids: symbols, mask, pad, unknown."""
        return len(self.letters) + 3

    @property
    def mask_id(self) -> int:
        """Id of a position that the model must predict."""
        return len(self.letters)

    @property
    def pad_id(self) -> int:
        """Id of a position without sequence."""
        return len(self.letters) + 1

    @property
    def unknown_id(self) -> int:
        """Id of an unknown symbol."""
        return len(self.letters) + 2

    @property
    def is_single(self) -> bool:
        """True if every symbol is one character, as stores and FASTA files require."""
        return all(len(x) == 1 for x in self.letters)

    @cached_property
    def encode_table(self) -> bytes:
        """Id of each of 256 bytes; `BAD` (255) for characters outside the alphabet."""
        table = bytearray([BAD] * 256)
        for code, letter in enumerate(self.letters):
            if len(letter) == 1:
                table[ord(letter.upper())] = table[ord(letter.lower())] = code
        for letter in self.ambiguous:
            table[ord(letter.upper())] = table[ord(letter.lower())] = self.unknown_id
        return bytes(table)

    @cached_property
    def complement_table(self) -> np.ndarray | None:
        """Complement of each id, uint8 [n_tokens]; None if the alphabet has no complement."""
        if self.complement is None:
            return None
        table = np.arange(self.n_tokens, dtype=np.uint8)
        for code, letter in enumerate(self.letters):
            table[code] = self.letters.index(self.complement[letter])
        return table

    def one_hot_table(self) -> np.ndarray:
        """One-hot vector of each id, float32 [n_tokens, A]; zeros for mask and pad."""
        table = np.zeros((self.n_tokens, self.n_letters), dtype=np.float32)
        table[: self.n_letters] = np.eye(self.n_letters, dtype=np.float32)
        if self.unknown == "uniform":
            table[self.unknown_id] = 1 / self.n_letters
        return table

    def encode(self, text: str | bytes, where: str = "sequence") -> np.ndarray:
        """Encode a text as ids, uint8 [L].

        Args:
            text: Symbols, in any case.
            where: Origin of the text, for messages ("train.csv row 3").

        Raises:
            SequenceError: A character is not in the alphabet.
        """
        if not self.is_single:
            return self._encode_tokens(text if isinstance(text, str) else text.decode(), where)
        raw = text if isinstance(text, bytes) else text.encode("ascii", "replace")
        codes = raw.translate(self.encode_table)
        at = codes.find(BAD)
        if at >= 0:
            raise SequenceError(self.refusal(where, at, text[at : at + 1]))
        return np.frombuffer(bytearray(codes), dtype=np.uint8)

    def _encode_tokens(self, text: str, where: str) -> np.ndarray:
        ids = {x.upper(): i for i, x in enumerate(self.letters)}
        ids |= {x.upper(): self.unknown_id for x in self.ambiguous}
        longest = "|".join(re.escape(x) for x in sorted(ids, key=len, reverse=True))
        pattern, out, at = re.compile(longest), [], 0
        upper = text.upper()
        while at < len(upper):
            match = pattern.match(upper, at)
            if match is None:
                raise SequenceError(self.refusal(where, at, text[at : at + 1]))
            out.append(ids[match.group()])
            at = match.end()
        return np.array(out, dtype=np.uint8)

    def refusal(self, where: str, at: int, character: str | bytes) -> str:
        """Return the message for a character outside the alphabet; `at` is 0-based."""
        shown = character if isinstance(character, str) else character.decode("latin-1")
        also = f" (or {self.ambiguous} for unknown)" if self.ambiguous else ""
        letters = " ".join(self.letters[:30])
        return (
            f"{where}, character {at + 1}: {shown!r} is not of the alphabet "
            f"{self.name!r}: {letters}{also}; correct it or choose another --alphabet"
        )

    def decode(self, ids: np.ndarray) -> str:
        """Decode ids [L]; mask is '?', pad is '-', unknown is the first of `ambiguous` or '.'."""
        marks = (*self.letters, "?", "-", self.ambiguous[:1] or ".")
        return "".join(marks[i] for i in np.asarray(ids).tolist())

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        """Return the reverse complement along the last axis, with the same shape.

        Raises:
            SequenceError: The alphabet has no complement.
        """
        if self.complement_table is None:
            raise SequenceError(
                f"alphabet {self.name!r} has no complement; "
                "set the proportion of reverse complements to 0"
            )
        return self.complement_table[ids[..., ::-1]]

    def to_dict(self) -> dict[str, object]:
        """Return the alphabet as plain JSON types."""
        return {
            "name": self.name,
            "letters": list(self.letters),
            "ambiguous": self.ambiguous,
            "complement": None if self.complement is None else dict(self.complement),
            "unknown": self.unknown,
        }

    @classmethod
    def from_dict(cls, values: dict) -> Alphabet:
        """Return the alphabet from the output of `to_dict`."""
        return cls(
            name=str(values["name"]),
            letters=tuple(values["letters"]),
            ambiguous=str(values["ambiguous"]),
            complement=values["complement"],
            unknown=str(values["unknown"]),
        )


IUPAC = "NRYSWKMBDHV"
DNA = Alphabet("dna", tuple("ACGT"), IUPAC, {"A": "T", "C": "G", "G": "C", "T": "A"})
RNA = Alphabet("rna", tuple("ACGU"), IUPAC, {"A": "U", "C": "G", "G": "C", "U": "A"})
PROTEIN = Alphabet("protein", tuple("ACDEFGHIKLMNPQRSTVWY"), "XBZJUO*")
ALPHABETS = {x.name: x for x in (DNA, RNA, PROTEIN)}


def alphabet_from_name(name: str, unknown: str = "uniform") -> Alphabet:
    """Return the alphabet `name`: "dna", "rna", "protein", or "letters:XYZ" for your own.

    Args:
        name: Value of `--alphabet`.
        unknown: One-hot of an unknown symbol, "uniform" or "zeros".

    Raises:
        SequenceError: No alphabet has this name.
    """
    known = ALPHABETS.get(name)
    if known is not None:
        return Alphabet(known.name, known.letters, known.ambiguous, known.complement, unknown)
    if name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX):
        return Alphabet(name, tuple(name[len(CUSTOM_PREFIX) :].upper()), unknown=unknown)
    raise SequenceError(
        f"no alphabet {name!r}; known are {', '.join(ALPHABETS)}, "
        f"or {CUSTOM_PREFIX}XYZ for your own symbols"
    )
