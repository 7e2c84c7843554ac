"""Hypothesis strategies the tests share: sequences, alphabets, the FASTA files people have."""

import gzip
from dataclasses import dataclass

from hypothesis import strategies as st

from seqmodel.dataset.seq.alphabet import DNA, PROTEIN, RNA

alphabets = st.sampled_from([DNA, RNA, PROTEIN])


def texts(alphabet, max_size=300):
    """Texts of an alphabet in both cases, ambiguous letters among them."""
    letters = "".join(alphabet.letters) * 3 + alphabet.ambiguous
    return st.text(alphabet=letters + letters.lower(), max_size=max_size)


@dataclass(frozen=True)
class Fasta:
    """A FASTA file and what it says."""

    contigs: dict[str, str]
    raw: bytes
    packed: bool

    def write(self, path):
        """Writes the file; returns its path as text."""
        path.write_bytes(gzip.compress(self.raw, mtime=0) if self.packed else self.raw)
        return str(path)


@st.composite
def fastas(draw, alphabet=DNA, max_contigs=4, min_size=0, prefix="c"):
    """FASTA files of any wrapping, line ends, case and packing; with empty records."""
    n = draw(st.integers(1, max_contigs))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    contigs, lines = {}, []
    for i in range(n):
        text = draw(texts(alphabet).filter(lambda x: len(x) >= min_size))
        contigs[f"{prefix}{i}"] = text
        lines.append(f">{prefix}{i}" + draw(st.sampled_from(["", " a description", "\ttab >x"])))
        at = 0
        width = draw(st.integers(1, 80))
        while at < len(text):  # the last line of a width is uneven, and so are others
            step = draw(st.integers(1, 80)) if draw(st.booleans()) else width
            lines.append(text[at : at + step])
            at += step
        lines += [""] * draw(st.integers(0, 1))
    raw = end.join(lines) + draw(st.sampled_from(["", end]))
    return Fasta(contigs, raw.encode(), draw(st.booleans()))
