"""Alphabets: which letters a sequence has, and which number stands for each.

First stage of the flow: characters -> uint8 ids. An id is below `n_letters` for a letter; three
control ids follow: `mask_id` (hidden from the model), `pad_id` (no sequence here) and `unknown_id`
(a letter that is not known, such as N). Leaves out one-hot on a device (the models do that from
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
    """The letters of a kind of sequence, in the order of their ids.

    Attributes:
        name: as typed in `--alphabet`.
        letters: tokens in the order of their ids, mostly single characters; case does not matter.
        ambiguous: characters read as `unknown_id` (N and IUPAC codes); the first is written for it.
        complement: letter -> letter, or None where there is no complement.
        unknown: one-hot of `unknown_id`: "uniform" is 1/A for each letter, "zeros" is 0.
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
                f"alphabet {self.name!r}: needs 1 to 250 letters, got {len(self.letters)}"
            )
        folded = [x.upper() for x in (*self.letters, *self.ambiguous)]
        twice = sorted({x for x in folded if folded.count(x) > 1})
        if twice:
            raise SequenceError(f"alphabet {self.name!r}: {twice[0]!r} stands twice")
        if not all(x.isascii() and x.isprintable() and not x.isspace() for x in folded):
            raise SequenceError(f"alphabet {self.name!r}: letters must be visible ASCII characters")
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
                f"alphabet {self.name!r}: complement must pair its letters, got {pairs}"
            )

    def __hash__(self) -> int:
        return hash((self.name, self.letters, self.ambiguous, self.unknown))

    @property
    def n_letters(self) -> int:
        """Number of letters, A."""
        return len(self.letters)

    @property
    def n_tokens(self) -> int:
        """Number of ids: letters, mask, pad, none."""
        return len(self.letters) + 3

    @property
    def mask_id(self) -> int:
        """Id of a position that the model must guess."""
        return len(self.letters)

    @property
    def pad_id(self) -> int:
        """Id of a position that is no sequence."""
        return len(self.letters) + 1

    @property
    def unknown_id(self) -> int:
        """Id of a letter that is not known."""
        return len(self.letters) + 2

    @property
    def is_single(self) -> bool:
        """True if every letter is one character, which stores and FASTA need."""
        return all(len(x) == 1 for x in self.letters)

    @cached_property
    def encode_table(self) -> bytes:
        """256 bytes: id of each character, `BAD` (255) where it is not of the alphabet."""
        table = bytearray([BAD] * 256)
        for code, letter in enumerate(self.letters):
            if len(letter) == 1:
                table[ord(letter.upper())] = table[ord(letter.lower())] = code
        for letter in self.ambiguous:
            table[ord(letter.upper())] = table[ord(letter.lower())] = self.unknown_id
        return bytes(table)

    @cached_property
    def complement_table(self) -> np.ndarray | None:
        """Complement of each id, uint8 [n_tokens]; None without complement."""
        if self.complement is None:
            return None
        table = np.arange(self.n_tokens, dtype=np.uint8)
        for code, letter in enumerate(self.letters):
            table[code] = self.letters.index(self.complement[letter])
        return table

    def one_hot_table(self) -> np.ndarray:
        """One-hot of each id, float32 [n_tokens, A]; mask and pad are zeros."""
        table = np.zeros((self.n_tokens, self.n_letters), dtype=np.float32)
        table[: self.n_letters] = np.eye(self.n_letters, dtype=np.float32)
        if self.unknown == "uniform":
            table[self.unknown_id] = 1 / self.n_letters
        return table

    def encode(self, text: str | bytes, where: str = "sequence") -> np.ndarray:
        """Ids of a text, uint8 [L].

        Args:
            text: letters in any case.
            where: what the text is, for the message ("train.csv row 3").

        Raises:
            SequenceError: a character is not of the alphabet.
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
        """The message for a character outside of the alphabet; `at` is 0-based."""
        shown = character if isinstance(character, str) else character.decode("latin-1")
        also = f" (or {self.ambiguous} for unknown)" if self.ambiguous else ""
        letters = " ".join(self.letters[:30])
        return (
            f"{where}, character {at + 1}: {shown!r} is not of the alphabet "
            f"{self.name!r}: {letters}{also}; correct it or choose another --alphabet"
        )

    def decode(self, ids: np.ndarray) -> str:
        """Text of ids [L]; mask is '?', pad is '-', none is the first ambiguous letter or '.'."""
        marks = (*self.letters, "?", "-", self.ambiguous[:1] or ".")
        return "".join(marks[i] for i in np.asarray(ids).tolist())

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        """Reverse complement along the last axis, same shape.

        Raises:
            SequenceError: the alphabet has no complement.
        """
        if self.complement_table is None:
            raise SequenceError(
                f"alphabet {self.name!r} has no complement; "
                "set the proportion of reverse complements to 0"
            )
        return self.complement_table[ids[..., ::-1]]

    def to_dict(self) -> dict[str, object]:
        """The alphabet as plain JSON types."""
        return {
            "name": self.name,
            "letters": list(self.letters),
            "ambiguous": self.ambiguous,
            "complement": None if self.complement is None else dict(self.complement),
            "unknown": self.unknown,
        }

    @classmethod
    def from_dict(cls, values: dict) -> Alphabet:
        """The alphabet that `to_dict` wrote."""
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
    """The alphabet called `name`: "dna", "rna", "protein", or "letters:XYZ" for one's own.

    Args:
        name: the value of `--alphabet`.
        unknown: one-hot of an unknown letter, "uniform" or "zeros".

    Raises:
        SequenceError: no such alphabet.
    """
    known = ALPHABETS.get(name)
    if known is not None:
        return Alphabet(known.name, known.letters, known.ambiguous, known.complement, unknown)
    if name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX):
        return Alphabet(name, tuple(name[len(CUSTOM_PREFIX) :].upper()), unknown=unknown)
    raise SequenceError(
        f"no alphabet {name!r}; known are {', '.join(ALPHABETS)}, "
        f"or {CUSTOM_PREFIX}XYZ for your own letters"
    )
