"""Where an interval lies in its window: against brute force in Python strings, and bedtools."""

import subprocess

import numpy as np
import pyBigWig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import need

from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import Samples
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.peak_data import PeakData
from seqmodel.dataset.seq.alphabet import DNA
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.dataset.track_data import TrackData
from seqmodel.errors import HparamError, IntervalError, LabelError
from seqmodel.hparam.genome import BedHparams, FastaHparams, PeaksHparams, TracksHparams

SIZES = {"a": 400, "b": 301}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def rc(text):
    return text.translate(COMPLEMENT)[::-1]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Path of a FASTA file, and its contigs as text."""
    path = tmp_path_factory.mktemp("anchor") / "g.fa"
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)
    texts = {k: letters[rng.integers(0, 4, n)].tobytes().decode() for k, n in SIZES.items()}
    path.write_text("".join(f">{k}\n{v}\n" for k, v in texts.items()))
    return path, texts


def read(data, split="train"):
    loader = data.loader(split, train=False)
    return [data.alphabet.decode(x) for batch in loader for x in batch["tokens"].numpy()]


def window(text, base, length, strand):
    """The window as it is read, with the base at `length // 2`; N beyond the ends of the contig."""
    wide = "N" * length + (rc(text) if strand == "-" else text) + "N" * length
    at = len(text) - 1 - base if strand == "-" else base
    return wide[length + at - length // 2 :][:length]


INTERVALS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 250), st.integers(1, 50), st.sampled_from("+-.")
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(INTERVALS, st.integers(1, 60), st.sampled_from([None, "middle", "five_prime"]), st.data())
def test_the_anchor_is_at_one_index_of_what_is_read_on_any_strand(
    genome, tmp_path_factory, rows, length, anchor, data
):
    path, texts = genome
    folder = tmp_path_factory.mktemp("bed")
    kind = data.draw(st.sampled_from(["bed", "gff3", "narrowPeak"]))
    summits = [data.draw(st.integers(-1, n - 1)) for _, _, n, _ in rows]
    forms = {
        "bed": "{0}\t{1}\t{2}\tx\t0\t{3}\n",
        "gff3": "{0}\tx\tgene\t{4}\t{2}\t.\t{3}\t.\tID=x\n",
        "narrowPeak": "{0}\t{1}\t{2}\tx\t0\t{3}\t1\t1\t1\t{5}\n",
    }
    lines = [
        forms[kind].format(c, s, s + n, strand, s + 1, summit)
        for (c, s, n, strand), summit in zip(rows, summits, strict=True)
    ]
    (folder / f"x.{kind}").write_text("".join(lines))
    hparams = FastaHparams(
        fasta=[str(path)],
        intervals=[str(folder / f"x.{kind}")],
        seq_len=length,
        anchor=anchor,
        feature="gene",
        incomplete="pad",
    )
    expected = []
    for (c, s, n, strand), summit in zip(rows, summits, strict=True):
        at_summit = kind == "narrowPeak" and anchor is None
        if anchor == "five_prime":
            base = s + n - 1 if strand == "-" else s
        else:
            base = s + summit if at_summit and summit >= 0 else s + n // 2
        if anchor != "five_prime" and n == length and not at_summit:
            part = texts[c][s : s + n]
            part += "N" * (length - len(part))
            expected.append(rc(part) if strand == "-" else part)
        else:
            expected.append(window(texts[c], base, length, strand))
    found = [x.replace("-", "N") for x in read(FastaData(hparams))]
    assert [x.translate(str.maketrans("._*", "NNN")) for x in found] == expected


def test_intervals_that_have_the_length_are_what_bedtools_gets(genome, tmp_path):
    bedtools = need("bedtools")
    path, _ = genome
    rng = np.random.default_rng(1)
    for length in (40, 41):
        rows = [
            f"{'ab'[i % 2]}\t{s}\t{s + length}\tx\t0\t{'+-'[i // 2 % 2]}\n"
            for i, s in enumerate(rng.integers(0, 250, 400).tolist())
        ]
        bed = tmp_path / f"{length}.bed"
        bed.write_text("".join(rows))
        command = [bedtools, "getfasta", "-s", "-tab", "-fi", str(path), "-bed", str(bed)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for anchor in (None, "middle"):
            hparams = FastaHparams(
                fasta=[str(path)], intervals=[str(bed)], seq_len=length, anchor=anchor
            )
            assert read(FastaData(hparams)) == [x.split("\t")[1] for x in done.stdout.splitlines()]


def mirrored(x, contigs):
    """The same intervals on the reverse complements of the contigs."""
    start = contigs.lengths[x.contig] - x.end
    return Intervals(contigs, x.contig, start, x.length, np.where(x.strand < 0, 1, -1))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 41), st.integers(0, 9), st.integers(0, 30), st.integers(0, 2**32))
def test_what_is_read_of_the_other_strand_is_the_same_moved_or_not(
    genome, tmp_path_factory, length, jitter, ahead, seed
):
    """The genome and the intervals reversed: each sample is read as before."""
    path, texts = genome
    other = tmp_path_factory.mktemp("other") / "rc.fa"
    other.write_text("".join(f">{k}\n{rc(v)}\n" for k, v in texts.items()))
    rng = np.random.default_rng(seed)
    found = []
    stores = [SequenceStore.open(path), SequenceStore.open(other)]
    contigs = Contigs(stores[0].names, stores[0].lengths)
    n = 30
    sign = rng.choice([1, -1], n)
    summits = Intervals(contigs, rng.integers(0, 2, n), rng.integers(45, 250, n), 1, sign)
    samples = Samples(*(rng.integers(0, 2**40, n).astype(np.uint64) for _ in Samples._fields))
    samples = samples._replace(item=np.arange(n))
    for store, x in zip(stores, (summits, mirrored(summits, contigs)), strict=True):
        for anchor in ("middle", "five_prime"):
            windows = x.anchored(length, anchor)
            reader = SequenceReader(
                store, DNA, windows, length, augment=Augment(jitter=jitter, random_offset=ahead)
            )
            found.append(reader.read(reader.plan(samples), 0, n)["tokens"])
    assert all(np.array_equal(found[0], x) for x in found[1:])


@pytest.mark.parametrize("target_len", [None, 20, 24])
@pytest.mark.parametrize("settings", [{}, {"jitter": 5}, {"random_offset": True, "stride": 7}])
def test_tracks_follow_the_window_on_either_strand(genome, tmp_path, target_len, settings):
    path, texts = genome
    wig = str(tmp_path / "c.bw")
    with pyBigWig.open(wig, "w") as f:
        f.addHeader(list(SIZES.items()))
        for name, text in texts.items():  # 1 for A and T, so that strands do not matter
            f.addEntries(name, 0, values=[float(x in "AT") for x in text], span=1, step=1)
    rng = np.random.default_rng(2)
    rows = [
        f"{'ab'[i % 2]}\t{s}\t{s + n}\tx\t0\t{'+-'[i // 2 % 2]}\n"
        for i, (s, n) in enumerate(rng.integers(1, 60, (40, 2)).tolist())
    ]
    (tmp_path / "x.bed").write_text("".join(rows))
    for anchor in ("middle", "five_prime"):
        data = TrackData(
            TracksHparams(
                fasta=[str(path)],
                intervals=[str(tmp_path / "x.bed")],
                tracks=[wig],
                seq_len=32,
                target_len=target_len,
                bin_len=4,
                anchor=anchor,
                incomplete="pad",
                max_unknown_prop=0.0,
                rc_prob=0.5,
                batch_size=7,
                **settings,
            )
        )
        margin = (32 - (target_len or 32)) // 2
        for train in (False, True):
            for batch in data.loader("train", train=train):
                tokens, target = batch["tokens"].numpy(), batch["target"].numpy()[:, :, 0]
                inner = tokens[:, margin : 32 - margin]
                pad = np.any(inner.reshape(len(inner), -1, 4) > 3, axis=2)
                expected = ((inner == 0) | (inner == 3)).reshape(len(inner), -1, 4).sum(axis=2)
                assert np.array_equal(target[~pad], expected[~pad])


def test_peaks_are_labelled_around_their_anchor(genome, tmp_path):
    path, _ = genome
    peaks = tmp_path / "x.narrowPeak"
    peaks.write_text("a\t100\t200\tx\t0\t-\t1\t1\t1\t20\n")
    for anchor, base in ((None, 120), ("summit", 120), ("middle", 150), ("five_prime", 199)):
        hparams = PeaksHparams(
            fasta=[str(path)], peaks=[str(peaks)], peak_len=1, bin_len=1, seq_len=11, anchor=anchor
        )
        (found,) = PeakData(hparams).readers["train"].intervals
        assert (found.contig, found.start + 5) == ("a", base)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f, x: FastaHparams(fasta=f, seq_len=9, anchor="middle"), HparamError, "no anchor"),
        (
            lambda f, x: FastaHparams(fasta=f, intervals=x, anchor="five_prime"),
            HparamError,
            "five_prime needs --seq_len",
        ),
        (
            lambda f, x: PeaksHparams(fasta=f, peaks=x, seq_len=9, bin_len=9, anchor="middle"),
            HparamError,
            "--anchor has no effect without --peak_len",
        ),
        (
            lambda f, x: FastaHparams(fasta=f, intervals=x, seq_len=9, anchor="summit"),
            IntervalError,
            "x.bed: --anchor=summit needs summits, which only .narrowPeak files have",
        ),
        (
            lambda f, x: BedHparams(fasta=f, train_files=x, seq_len=9, anchor="summit"),
            IntervalError,
            "x.bed: --anchor=summit",
        ),
        (
            lambda f, x: TracksHparams(
                fasta=f, tracks=x, seq_len=9, target_len=8, bin_len=4, min_len=1
            ),
            LabelError,
            "--target_len=8 is not in the middle of --seq_len=9",
        ),
    ],
)
def test_an_anchor_without_a_meaning_is_refused(genome, tmp_path, make, error, message):
    (tmp_path / "x.bed").write_text("a\t1\t10\t0\n")
    hparams = make([str(genome[0])], [str(tmp_path / "x.bed")])
    kinds = {
        FastaHparams: FastaData,
        BedHparams: BedData,
        PeaksHparams: PeakData,
        TracksHparams: TrackData,
    }
    with pytest.raises(error, match=message) as e:
        kinds[type(hparams)](hparams)
    assert "\n" not in str(e.value)
