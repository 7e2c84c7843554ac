"""`seqmodel variants`: read files of variants, write them with scores, in parts."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from seqmodel import VERSION
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import VariantError
from seqmodel.files import sha256_of, writing
from seqmodel.hparam.header import read_header
from seqmodel.hparam.infer import VariantsHparams
from seqmodel.infer.command import chunk_rows_of, model_of, parts_of, run
from seqmodel.infer.effects import Effects, Options
from seqmodel.infer.parts import Parts
from seqmodel.infer.vcf import Typed, first_of, open_variants
from seqmodel.infer.vcf_out import check_bcf

_VCF = (".vcf", ".vcf.gz", ".bcf")
STDIN = "-"
_N_CHECKED = 1000  # records checked before the work


def command(hparams: VariantsHparams) -> dict[str, int] | None:
    """Score variants and write the outputs; return counts of alleles, None if parts are missing.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    header = read_header(hparams.checkpoints[0])
    alphabet = header["alphabet"] or model_of(hparams).alphabet.to_dict()  # None in 0.1
    store = SequenceStore.open(
        hparams.fasta, Alphabet.from_dict(alphabet), hparams.cache_dir, quiet=True
    )
    by_path = store.digests()
    digests = {x: str(by_path[os.path.abspath(x)]["sha256"]) for x in hparams.fasta}
    with _here(hparams.variants) as path:
        if hparams.variants == STDIN:
            digests[STDIN] = sha256_of(path, VariantError)
        parts = parts_of("variants", hparams, digests)
        if parts.is_done():
            return parts.join()
        counts = _scored(hparams, store, parts, path)
    return counts


def _scored(
    hparams: VariantsHparams, store: SequenceStore, parts: Parts, path: str
) -> dict[str, int] | None:
    model = model_of(hparams)
    source = open_variants(path) if path else Typed(hparams.variant)
    options = Options(**{x: getattr(hparams, x) for x in Options.__dataclass_fields__})
    effects = Effects(model, store, source, options, hparams.contig_aliases)
    if any(x.lower().endswith(_VCF) for x in hparams.out):
        digests = [sha256_of(x, VariantError)[:16] for x in hparams.checkpoints]
        about = f'ID=variants,Version="{VERSION}",Checkpoints="{" ".join(digests)}"'
        effects.annotate(about, hparams.vcf_targets)
        _check_bcf(hparams.out, effects)
    chunk_rows = chunk_rows_of(hparams, model.seq_len)
    counts = run(parts, source.blocks(chunk_rows), effects)
    effects.warn()
    return counts


def _check_bcf(outs: Sequence[str], effects: Effects) -> None:
    """Check with the first records that the header has what BCF needs.

    Raises:
        RunError: The header lacks a definition.
    """
    bcf = next((x for x in outs if x.lower().endswith(".bcf")), None)
    if bcf is not None and effects.annotation is not None:
        lines = (x for block in first_of(effects.source, _N_CHECKED) for x in block.lines)
        check_bcf(effects.annotation.header, lines, bcf)


@contextmanager
def _here(path: str | None) -> Iterator[str]:
    """Return the path of a file that can be read several times; stdin is copied to a file."""
    if path != STDIN:
        yield path or ""
        return
    with tempfile.TemporaryDirectory() as folder:
        copied = os.path.join(folder, "stdin")
        with writing(copied, VariantError) as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield copied
