"""Data of every kind in a folder, and their items by pysam, pandas, pyBigWig and numpy."""

import numpy as np
import pandas as pd
import pyBigWig
import pysam

from seqmodel.dataset.array_data import ArrayData
from seqmodel.dataset.peak_data import PeakData
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.dataset.table_data import RecordsData, TableData
from seqmodel.dataset.track_data import TrackData
from seqmodel.hparam.dataset import ArraysHparams, RecordsHparams, TableHparams
from seqmodel.hparam.genome import BedHparams, FastaHparams, PeaksHparams, TracksHparams

LENGTHS = {"a": 1201, "b": 733}
SPLITS = {"train": "a", "valid": "b"}
SEQ_LEN, BIN_LEN, N_PEAKS = 50, 10, 12
_COMPLEMENT = str.maketrans("ACGTN-", "TGCAN-")
_FASTA = {"fasta": ["g.fa"], "seq_len": SEQ_LEN, "valid_contigs": ["b"], "rc_prob": 0.5}
_FILES = {"train_files": ["train.csv"], "valid_files": ["valid.csv"], "rc_prob": 0.5}


def write(folder):
    """The files of all kinds."""
    rng = np.random.default_rng(0)
    with (folder / "g.fa").open("w") as f:
        for name, n in LENGTHS.items():
            f.write(f">{name}\n{''.join(rng.choice(list('ACGTacgtN'), n))}\n")
    rows = [
        (name, start := int(rng.integers(0, n - 41)), start + 40, i % 3, 0, "+-."[i % 3])
        for name, n in LENGTHS.items()
        for i in range(23)
    ]
    rows[0] = ("a", 0, 40, 1, 0, "-")  # its window begins before the contig
    pd.DataFrame(rows).to_csv(folder / "x.bed", sep="\t", header=False, index=False)
    for split, n in (("train", 21), ("valid", 10)):
        texts = ["".join(rng.choice(list("ACGT"), rng.integers(3, 30))) for _ in range(n)]
        names = [f"{split}{i}" for i in range(n)]
        table = pd.DataFrame({"sequence": texts, "label": rng.integers(0, 2, n)})
        table.to_csv(folder / f"{split}.csv", index=False)
        table.assign(sequence=names).to_csv(folder / f"{split}_names.csv", index=False)
        records = "".join(f">{x}\n{y}\n" for x, y in zip(names, texts, strict=True))
        (folder / f"{split}.fa").write_text(records)
        x = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, (n, 30))]
        np.savez(folder / f"{split}.npz", x=x, y=rng.integers(0, 2, (n, 3)))
    for factor in "pq":
        peaks = [
            (name, start := int(rng.integers(0, n - 60)), start + int(rng.integers(1, 60)))
            for name, n in LENGTHS.items()
            for _ in range(N_PEAKS)
        ]
        frame = pd.DataFrame(peaks)
        frame.to_csv(folder / f"{factor}.bed", sep="\t", header=False, index=False)
    for track in ("plus", "minus"):
        with pyBigWig.open(str(folder / f"{track}.bw"), "w") as f:
            f.addHeader(list(LENGTHS.items()))
            for name, n in LENGTHS.items():
                values = rng.integers(0, 9, n).astype(float)
                f.addEntries(name, 0, values=values.tolist(), span=1, step=1)


MADE = {
    "tiles": lambda: FastaData(FastaHparams(**_FASTA, stride=30, jitter=4, soft_mask_weight=0.5)),
    "intervals": lambda: FastaData(
        FastaHparams(**_FASTA, intervals=["x.bed"], incomplete="pad", noise_prop=0.1)
    ),
    "labelled": lambda: BedData(
        BedHparams(**_FASTA, intervals=["x.bed"], incomplete="pad", balanced=True)
    ),
    "table": lambda: TableData(TableHparams(**_FILES, length_buckets=True)),
    "records": lambda: RecordsData(
        RecordsHparams(
            fasta=["train.fa", "valid.fa"],
            train_files=["train_names.csv"],
            valid_files=["valid_names.csv"],
            rc_prob=0.5,
        )
    ),
    "peaks": lambda: PeakData(
        PeaksHparams(
            **_FASTA | {"seq_len": 60},
            peaks=["p.bed", "q.bed"],
            bin_len=20,
            empty_per_positive=0,
            incomplete="pad",
        )
    ),
    "tracks": lambda: TrackData(
        TracksHparams(
            **_FASTA,
            tracks=["plus.bw", "minus.bw"],
            track_strands=["+", "-"],
            bin_len=BIN_LEN,
            stride=40,
            jitter=3,
        )
    ),
    "arrays": lambda: ArrayData(
        ArraysHparams(train_files=["train.npz"], valid_files=["valid.npz"], rc_prob=0.5)
    ),
}
"""What makes the data of each kind, in the folder."""


def items_of(kind, split):
    """(sequence, target) of each item as it is read without changes; '-' where there is none."""
    name = SPLITS[split]
    if kind in ("tiles", "tracks"):
        step = 30 if kind == "tiles" else 40
        starts = range(0, LENGTHS[name] - SEQ_LEN + 1, step)
        return [(_fetch(name, x, SEQ_LEN), _bins(name, x) if step == 40 else None) for x in starts]
    if kind in ("intervals", "labelled"):
        rows = pd.read_csv("x.bed", sep="\t", header=None)
        return [
            (_around(x), x[3] if kind == "labelled" else None)
            for x in rows[rows[0] == name].itertuples(index=False, name=None)
        ]
    if kind in ("table", "records"):
        rows = pd.read_csv(f"{split}.csv")
        texts = rows["sequence"].tolist()
        if kind == "records":
            named = pd.read_csv(f"{split}_names.csv")["sequence"]
            with pysam.FastaFile(f"{split}.fa") as f:
                texts = [f.fetch(x) for x in named]
        longest = max(pd.concat(map(pd.read_csv, ("train.csv", "valid.csv")))["sequence"].map(len))
        return list(zip([x.ljust(longest, "-") for x in texts], rows["label"], strict=True))
    if kind == "arrays":
        with np.load(f"{split}.npz") as f:
            texts = ["".join("ACGT"[i] for i in x) for x in f["x"].argmax(2).tolist()]
            return list(zip(texts, f["y"].tolist(), strict=True))
    return _filled_bins(name)


def _fetch(name, start, length):
    with pysam.FastaFile("g.fa") as f:
        wide = "-" * length + f.fetch(name).upper() + "-" * length
    return wide[length + start :][:length]


def _around(row):
    """The window of a BED row: its base `start + 20` at index `SEQ_LEN // 2` of what is read."""
    name, base = row[0], row[1] + 20
    if row[5] != "-":
        return _fetch(name, base - SEQ_LEN // 2, SEQ_LEN)
    start = base + 1 + SEQ_LEN // 2 - SEQ_LEN
    return _fetch(name, start, SEQ_LEN).translate(_COMPLEMENT)[::-1]


def _bins(name, start):
    tracks = []
    for path in ("plus.bw", "minus.bw"):
        with pyBigWig.open(path) as f:
            ends = range(start + BIN_LEN, start + SEQ_LEN + 1, BIN_LEN)
            tracks.append([f.stats(name, x - BIN_LEN, x, type="sum", exact=True)[0] for x in ends])
    return np.array(tracks).T.tolist()


def _filled_bins(name):
    """Bins of 20 bases of which a peak covers a half, with 20 bases on either side."""
    covered = np.zeros((LENGTHS[name] // 20 * 20, 2), dtype=bool)
    for i, path in enumerate(("p.bed", "q.bed")):
        for contig, start, end in pd.read_csv(path, sep="\t", header=None).to_numpy().tolist():
            if contig == name:
                covered[start:end, i] = True
    labels = covered.reshape(-1, 20, 2).sum(axis=1) >= 10
    return [
        (_fetch(name, 20 * i - 20, 60), labels[i].astype(float).tolist())
        for i in np.flatnonzero(labels.any(axis=1)).tolist()
    ]
