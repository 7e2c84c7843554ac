"""Labels of all kinds, and the data that make them: peaks, tracks, arrays, negatives."""

import json

import numpy as np
import pytest

from seqmodel.dataset.array_data import ArrayData
from seqmodel.dataset.describe import as_text, describe
from seqmodel.dataset.interval.interval import Contigs, Intervals, tiles
from seqmodel.dataset.peak_data import PeakData, positive_bins
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.dataset.table_data import RecordsData, TableData
from seqmodel.dataset.track_data import TrackData
from seqmodel.errors import HparamError, IntervalError, LabelError, SequenceError
from seqmodel.hparam.dataset import ArraysHparams, RecordsHparams, TableHparams
from seqmodel.hparam.genome import BedHparams, FastaHparams, PeaksHparams, TracksHparams

LENGTHS = {"chr1": 6000, "chr2": 3001, "chr3": 1500}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a genome whose GC content varies, some of it N and lower case."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with open("g.fa", "w") as f:
        for name, n in LENGTHS.items():
            gc = np.repeat(rng.random(n // 50 + 1), 50)[:n]
            strong = rng.random(n) < gc
            letters = np.where(strong, rng.choice(list("GC"), n), rng.choice(list("ATat"), n))
            letters[n // 2 : n // 2 + 120] = "N"
            f.write(f">{name}\n{''.join(letters)}\n")
    return tmp_path


def column(loader, name="target"):
    return np.concatenate([x[name].numpy() for x in loader])


def texts_of(data, split, **kwargs):
    loader = data.loader(split, **kwargs)
    return [data.alphabet.decode(x) for x in column(loader, "tokens")]


# -- labels in columns -----------------------------------------------------------------------------


def test_several_numbers_with_missing_ones(folder):
    (folder / "t.csv").write_text("sequence,a,b\nACGT,1.5,\nAC,NA,-2e-1\n")
    data = TableData(
        TableHparams(train_files=["t.csv"], label_columns=["a", "b"], label_kind="real")
    )
    found = column(data.loader("train", train=False))
    np.testing.assert_array_equal(found, np.float32([[1.5, np.nan], [np.nan, -0.2]]))
    assert data.targets.to_dict() == {"kind": "real", "names": ["a", "b"]}


def test_several_labels_with_missing_ones(folder):
    (folder / "t.tsv").write_text("sequence\ta\tb\nACGT\t1\t\nAC\t0\t1\n")
    hparams = {"train_files": ["t.tsv"], "label_columns": ["a", "b"], "label_kind": "multilabel"}
    data = TableData(TableHparams(**hparams))
    found = column(data.loader("train", train=False))
    np.testing.assert_array_equal(found, np.float32([[1, np.nan], [0, 1]]))
    (folder / "t.tsv").write_text("sequence\ta\tb\nACGT\t1\t2\n")
    with pytest.raises(LabelError, match="t.tsv line 2 column 'b': label '2' is not 0, 1"):
        TableData(TableHparams(**hparams))
    (folder / "t.tsv").write_text("sequence\ta\tb\nACGT\t1\tyes\n")
    with pytest.raises(LabelError, match="t.tsv line 2 column 'b': label 'yes' is not a number"):
        TableData(TableHparams(**hparams))


def test_parquet_is_read_as_csv_is(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"sequence": ["ACGT", "GGA"], "x": [1.5, None], "label": [1, 0]}
    parquet.write_table(pyarrow.table(rows), "t.parquet")
    data = TableData(TableHparams(train_files=["t.parquet"]))
    assert texts_of(data, "train", train=False) == ["ACGT", "GGA-"]
    assert column(data.loader("train", train=False)).tolist() == [1, 0]
    data = TableData(
        TableHparams(train_files=["t.parquet"], label_columns=["x"], label_kind="real")
    )
    np.testing.assert_array_equal(
        column(data.loader("train", train=False)), np.float32([[1.5], [np.nan]])
    )
    parquet.write_table(pyarrow.table({**rows, "sequence": ["ACGT", "A!"]}), "t.parquet")
    with pytest.raises(SequenceError, match="t.parquet row 2 column 'sequence', character 2: '!'"):
        TableData(TableHparams(train_files=["t.parquet"]))
    (folder / "t.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(LabelError, match="t.parquet: cannot be read as Parquet"):
        TableData(TableHparams(train_files=["t.parquet"]))


def test_records_take_their_labels_from_a_table(folder):
    (folder / "r.fa").write_text(">x\nACGTA\n>y\nGG\n>z\nTTT\n")
    (folder / "t.csv").write_text("sequence,label\nz,1\nx,0\n")
    hparams = {"fasta": ["r.fa"], "train_files": ["t.csv"]}
    data = RecordsData(RecordsHparams(**hparams))
    assert texts_of(data, "train", train=False) == ["TTT--", "ACGTA"]
    assert column(data.loader("train", train=False)).tolist() == [1, 0]
    (folder / "t.csv").write_text("sequence,label\nz,1\nw,0\n")
    with pytest.raises(
        LabelError, match="t.csv line 3 column 'sequence': the FASTA files have no record 'w'"
    ):
        RecordsData(RecordsHparams(**hparams))


def test_a_column_or_a_digest_splits_a_table(folder):
    rows = "".join(f"{'ACGT'[i % 4] * (i + 1)},{i % 2},{w}\n" for i, w in enumerate(WORDS))
    (folder / "t.csv").write_text("sequence,label,set\n" + rows)
    data = TableData(TableHparams(train_files=["t.csv"], split_column="set"))
    assert {x: len(data.readers[x]) for x in data.splits} == {"train": 3, "valid": 2, "test": 1}
    assert texts_of(data, "test")[0].startswith("GGG-")
    twice = "".join(f"{'ACGT' * (i + 1)},{i % 2}\n{'acgt' * (i + 1)},{i % 2}\n" for i in range(60))
    (folder / "t.csv").write_text("sequence,label\n" + twice)
    data = TableData(TableHparams(train_files=["t.csv"], valid_prop=0.3, test_prop=0.3))
    found = [set(texts_of(data, x, train=False)) for x in data.splits]
    assert sum(map(len, found)) == 60  # equal sequences, in either case, are never torn apart
    assert len(found) == 3


WORDS = ["train", "val", "test", "train", "dev", "train"]


def test_weights_and_balance_change_what_is_drawn(folder):
    rows = "".join(f"{'ACGT'[i % 4] * 5},{int(i < 10)},{i % 2}\n" for i in range(1000))
    (folder / "t.csv").write_text("sequence,label,w\n" + rows)
    balanced = TableData(TableHparams(train_files=["t.csv"], balanced=True))
    assert 0.4 < column(balanced.loader("train")).mean() < 0.6
    assert column(balanced.loader("train", train=False)).sum() == 10
    weighted = TableData(TableHparams(train_files=["t.csv"], weight_column="w"))
    assert {x[0] for x in texts_of(weighted, "train")} == {"C", "T"}


# -- intervals -------------------------------------------------------------------------------------


def test_blacklist_unknown_letters_and_short_intervals_are_left_out(folder):
    (folder / "black.bed").write_text("chr1\t100\t101\n")
    (folder / "x.bed").write_text("chr1\t0\t100\nchr1\t50\t150\nchr1\t2990\t3090\nchr1\t5\t15\n")
    data = FastaData(
        FastaHparams(
            fasta=["g.fa"],
            intervals=["x.bed"],
            blacklist=["black.bed"],
            min_len=50,
            seq_len=100,
            max_unknown_prop=0.5,
        )
    )
    assert list(map(str, data.readers["train"].intervals)) == ["chr1:0-100"]
    reasons = {"too short": 1, "blacklisted": 1, "over 0.5 unknown letters": 1}
    assert data.left_out == {"train": reasons}
    assert describe(data)["splits"]["train"]["left_out"] == reasons
    (folder / "black.bed").write_text("chr1\t0\t6000\n")
    with pytest.raises(IntervalError, match="train split: all 3 windows are left out: bl"):
        FastaData(
            FastaHparams(
                fasta=["g.fa"],
                intervals=["x.bed"],
                blacklist=["black.bed"],
                min_len=50,
                seq_len=100,
            )
        )


def test_folds_aliases_and_columns_split_intervals(folder):
    (folder / "alias").write_text("chr1 1\nchr2 2\nchr3 3\n")
    (folder / "x.bed").write_text("".join(f"{i}\t0\t50\t{w}\n" for i, w in BED_WORDS))
    (folder / "fold.json").write_text('{"train": ["1"], "dev": ["chr2"], "test": ["3"]}')
    common = {"fasta": ["g.fa"], "intervals": ["x.bed"], "contig_aliases": "alias"}
    data = FastaData(FastaHparams(**common, fold_json="fold.json"))
    assert [str(data.readers[x].intervals[0]) for x in data.splits] == [
        "chr1:0-50",
        "chr2:0-50",
        "chr3:0-50",
    ]
    data = FastaData(FastaHparams(**common, split_column="4"))
    assert [str(data.readers[x].intervals[0]) for x in data.splits] == [
        "chr2:0-50",
        "chr3:0-50",
        "chr1:0-50",
    ]
    data = FastaData(FastaHparams(**common, valid_prop=0.3))
    contigs = [set(data.readers[x].intervals.contig.tolist()) for x in data.splits]
    assert data.splits == ("train", "valid")
    assert not contigs[0] & contigs[1]


BED_WORDS = [(1, "test"), (2, "train"), (3, "val")]


def test_tiles_with_gaps_between_them(folder):
    data = FastaData(FastaHparams(fasta=["g.fa"], seq_len=100, skip_len=50, train_contigs=["chr3"]))
    assert data.readers["train"].intervals.start.tolist() == list(range(0, 1401, 150))


def test_negatives_have_the_gc_content_of_their_positives_and_touch_none(folder):
    rng = np.random.default_rng(3)
    starts = rng.choice(5800 // 60, 6, replace=False) * 60
    (folder / "x.bed").write_text("".join(f"chr1\t{s}\t{s + 60}\t.\t0\t-\n" for s in starts))
    hparams = BedHparams(fasta=["g.fa"], intervals=["x.bed"], negatives_per_positive=2)
    data = BedData(hparams)
    x, target = data.readers["train"].intervals, data.readers["train"].target
    assert target.tolist() == [1] * 6 + [0] * 12
    gc = []
    for i in x:
        codes = data.store[i.contig, i.start : i.end]
        gc.append(((codes == 1) | (codes == 2)).sum() / max((codes < 4).sum(), 1))
    gc = np.array(gc)
    # each is matched to one positive: sorted, the two lists are within 2 %
    assert np.abs(np.sort(gc[6:]) - np.sort(np.tile(gc[:6], 2))).max() <= 0.02
    negatives = x.select(target == 0)
    assert set(negatives.strand.tolist()) == {-1}
    for i in negatives:
        assert all(i.end <= s or i.start >= s + 60 or i.contig != "chr1" for s in starts.tolist())
    assert len({(i.contig, i.start) for i in negatives}) == 12
    again = BedData(hparams).readers["train"].intervals
    assert np.array_equal(again.start, x.start)
    with pytest.raises(IntervalError, match=r"only \d+ of 6000 negatives of matching GC content"):
        BedData(BedHparams(fasta=["g.fa"], intervals=["x.bed"], negatives_per_positive=1000))


# -- peaks -----------------------------------------------------------------------------------------


def test_a_bin_is_positive_where_peaks_cover_half_of_it(folder):
    rng = np.random.default_rng(0)
    masks = {}
    with open("p.bed", "w") as f:
        for i in range(120):
            contig, name = f"chr{rng.integers(1, 4)}", "ABC"[i % 3]
            start = int(rng.integers(0, LENGTHS[contig] - 200))
            end = start + int(rng.integers(1, 180))
            f.write(f"{contig}\t{start}\t{end}\t{name}\n")
            mask = masks.setdefault((name, contig), np.zeros(LENGTHS[contig], bool))
            mask[start:end] = True
    common = {"fasta": ["g.fa"], "peaks": ["p.bed"], "factor_column": "4", "bin_len": 100}
    data = PeakData(PeaksHparams(**common, test_contigs=["chr2"], empty_per_positive=100))
    assert data.targets.to_dict() == {"kind": "multilabel", "names": ["A", "B", "C"]}
    for split in data.splits:
        found = column(data.loader(split, train=False))
        for row, x in zip(found, data.readers[split].intervals, strict=True):
            expected = [masks[n, x.contig][x.start : x.end].sum() >= 50 for n in "ABC"]
            assert row.tolist() == expected
    assert len(data.readers["test"]) == 3001 // 100  # all bins: more empty ones than there are
    only = PeakData(PeaksHparams(**common))
    assert (column(only.loader("train", train=False)).sum(axis=1) > 0).all()
    wide = PeakData(PeaksHparams(**common, seq_len=300, incomplete="pad"))
    assert column(wide.loader("train"), "tokens").shape[1] == 300
    assert len(wide.readers["train"]) == len(only.readers["train"])
    with pytest.raises(
        IntervalError, match="none of 3 factors has --min_peaks=41 peaks; .* of peaks is 40"
    ):
        PeakData(PeaksHparams(**common, min_peaks=41))


@pytest.mark.parametrize(("n_covered", "positive"), [(49, []), (50, [1]), (51, [1])])
def test_exactly_half_of_a_bin_is_enough(n_covered, positive):
    contigs = Contigs(["a"], [300])
    peaks = Intervals(contigs, [0, 0], [100, 110], [20, n_covered - 10])
    assert positive_bins(tiles(contigs, 100), peaks, 0.5).tolist() == positive


def test_each_file_may_be_a_factor_and_peaks_be_resized(folder):
    (folder / "ctcf.bed.gz").write_text("chr1\t149\t150\n")
    (folder / "b.bed").write_text("chr1\t310\t311\n")
    data = PeakData(
        PeaksHparams(fasta=["g.fa"], peaks=["ctcf.bed.gz", "b.bed"], peak_len=100, bin_len=100)
    )
    assert data.targets.names == ("b", "ctcf")
    assert data.readers["train"].intervals.start.tolist() == [100, 300]
    assert data.readers["train"].target.tolist() == [[0, 1], [1, 0]]


# -- tracks ----------------------------------------------------------------------------------------


def write_bigwig(path, lengths, seed):
    """A bigWig with values on some of the letters; those values by contig."""
    py_bigwig = pytest.importorskip("pyBigWig")
    rng = np.random.default_rng(seed)
    values = {}
    with py_bigwig.open(str(path), "w") as f:
        f.addHeader(list(lengths.items()))
        for name, n in lengths.items():
            dense = np.where(rng.random(n) < 0.3, rng.integers(1, 50, n), 0).astype(np.float32)
            at = np.flatnonzero(dense)
            f.addEntries(
                [name] * len(at), at.tolist(), ends=(at + 1).tolist(), values=dense[at].tolist()
            )
            values[name] = dense
    return values


@pytest.mark.parametrize("jitter", [0, 5])
def test_tracks_are_the_sums_that_pybigwig_gives(folder, jitter):
    py_bigwig = pytest.importorskip("pyBigWig")
    write_bigwig("p.bw", LENGTHS, 1)
    write_bigwig("m.bw", LENGTHS, 2)
    data = TrackData(
        TracksHparams(
            fasta=["g.fa"],
            tracks=["p.bw", "m.bw"],
            track_strands=["+", "-"],
            seq_len=120,
            target_len=80,
            bin_len=20,
            stride=70,
            jitter=jitter,
            rc_prob=0.5,
            valid_contigs=["chr2"],
        )
    )
    named = {"kind": "track", "names": ["p", "m"], "pairs": [["p", "m"]]}
    assert data.targets.to_dict() == named
    with py_bigwig.open("p.bw") as p, py_bigwig.open("m.bw") as m:
        for split in data.splits:
            found = column(data.loader(split, train=False))
            for row, x in zip(found, data.readers[split].intervals, strict=True):
                for j, f in enumerate((p, m)):
                    for k in range(4):
                        start = x.start + 20 + 20 * k
                        sums = f.stats(x.contig, start, start + 20, type="sum", exact=True)
                        assert row[k, j] == pytest.approx(sums[0] or 0)
    both = column(data.loader("train")).sum(axis=(0, 1))
    assert (both > 0).all()
    assert str(folder / "g.fa") in data.digests()
    assert "p.bw" in data.digests()


def test_binning_clips_then_takes_the_logarithm(folder):
    values = write_bigwig("p.bw", LENGTHS, 1)
    data = TrackData(
        TracksHparams(
            fasta=["g.fa"],
            tracks=["p.bw"],
            track_names=["signal"],
            seq_len=100,
            bin_len=10,
            bin_value="mean",
            clip=8,
            log1p=True,
            train_contigs=["chr3"],
        )
    )
    found = column(data.loader("train", train=False))[:, :, 0].reshape(-1)
    expected = values["chr3"].reshape(-1, 10).mean(axis=1)
    np.testing.assert_allclose(found, np.log1p(np.minimum(expected, 8)), rtol=1e-6)
    assert data.targets.names == ("signal",)


def test_windows_beyond_the_contig_have_missing_tracks_there(folder):
    values = write_bigwig("p.bw", LENGTHS, 1)
    (folder / "x.bed").write_text("chr3\t0\t20\n")
    data = TrackData(
        TracksHparams(
            fasta=["g.fa"],
            tracks=["p.bw"],
            train_files=["x.bed"],
            seq_len=60,
            bin_len=10,
            incomplete="pad",
        )
    )
    found = column(data.loader("train"))[0, :, 0]
    assert np.isnan(found[:2]).all()
    np.testing.assert_allclose(found[2:], values["chr3"][:40].reshape(4, 10).sum(axis=1))


def test_tracks_are_cached_and_made_anew_when_a_file_changed(folder, monkeypatch):
    hparams = TracksHparams(fasta=["g.fa"], tracks=["p.bw"], seq_len=100, bin_len=10)
    write_bigwig("p.bw", LENGTHS, 1)
    first = column(TrackData(hparams).loader("train", train=False))
    assert len(list(folder.glob("p.bw.*.npy"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("seqmodel.dataset.track_data.fill_tracks", lambda *a: pytest.fail("read"))
        assert np.array_equal(column(TrackData(hparams).loader("train", train=False)), first)
    write_bigwig("p.bw", LENGTHS, 9)
    assert not np.array_equal(column(TrackData(hparams).loader("train", train=False)), first)


def test_a_bigwig_of_other_contigs_says_which_and_what_to_do(folder):
    values = write_bigwig("p.bw", {x[3:]: n for x, n in LENGTHS.items()}, 1)
    common = {"fasta": ["g.fa"], "tracks": ["p.bw"], "seq_len": 100, "bin_len": 100}
    message = "p.bw has the contigs 1, 2, 3, but the sequences have chr1, chr2, chr3; map equal"
    with pytest.raises(LabelError, match=message):
        TrackData(TracksHparams(**common))
    (folder / "alias").write_text("chr1 1\nchr2 2\nchr3 3\n")
    data = TrackData(TracksHparams(**common, contig_aliases="alias", train_contigs=["chr3"]))
    found = column(data.loader("train", train=False))[:, 0, 0]
    np.testing.assert_allclose(found, values["3"].reshape(15, 100).sum(axis=1))
    write_bigwig("p.bw", {**LENGTHS, "chr2": 3000}, 1)
    with pytest.raises(LabelError, match="'chr2' has length 3000, but in the sequences 3001"):
        TrackData(TracksHparams(**common))
    (folder / "p.bw").write_bytes(b"not a bigWig at all")
    with pytest.raises(LabelError, match="p.bw: cannot be read as bigWig"):
        TrackData(TracksHparams(**common))
    assert not list(folder.glob("*.tmp"))


# -- arrays ----------------------------------------------------------------------------------------


def onehot_of(texts, letters):
    return np.array([[[a == x for x in text] for a in letters] for text in texts], dtype=np.uint8)


@pytest.mark.parametrize("kind", ["mat5", "mat73", "h5", "npz"])
def test_arrays_of_every_kind_give_the_same_sequences(folder, kind):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGTN"), 30)) for _ in range(11)]
    labels = rng.integers(0, 2, (11, 5)).astype(np.uint8)
    if kind == "mat5":
        from scipy.io import savemat

        path = "train.mat"
        savemat(path, {"trainxdata": onehot_of(texts, "AGCT"), "traindata": labels})
    elif kind == "mat73":
        h5py = pytest.importorskip("h5py")
        path = "train.mat"
        with h5py.File(path, "w", userblock_size=512) as f:  # MATLAB's axes are reversed
            f["trainxdata"] = onehot_of(texts, "AGCT").T
            f["traindata"] = labels.T
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        path = "x.h5"
        with h5py.File(path, "w") as f:
            f["train_in"] = onehot_of(texts, "ACGT")[:, :, None, :]
            f["train_out"] = labels
    else:
        path = "x.npz"
        np.savez(path, x=onehot_of(texts, "ACGT").transpose(0, 2, 1).astype(np.float32), y=labels)
    data = ArrayData(ArraysHparams(train_files=[path], batch_size=4))
    assert texts_of(data, "train", train=False) == texts
    assert data.targets.to_dict() == {"kind": "multilabel", "names": list("01234")}
    assert np.array_equal(column(data.loader("train", train=False)), labels)
    workers = data.loader("train", n_workers=1, start_method="fork")
    assert np.array_equal(column(workers, "tokens"), column(data.loader("train"), "tokens"))


def test_arrays_that_do_not_fit_are_refused(folder):
    x = onehot_of(["ACGT", "TTTT"], "ACGT")
    cases = [
        ({"x": x, "y": np.zeros((3, 1))}, {}, LabelError, "2 sequences but 3 rows of labels"),
        (
            {"x": np.zeros((2, 3, 5)), "y": np.zeros(2)},
            {},
            LabelError,
            r"x.npz: sequences of shape \[2, 3, 5\]; must be \[n, 4, L\]",
        ),
        ({"a": x, "y": np.zeros(2)}, {}, LabelError, "has the arrays a, y; choose two"),
        (
            {"x": x, "y": np.zeros(2)},
            {"onehot_letters": "ACGU"},
            HparamError,
            "must be the symbols",
        ),
        ({"x": x, "y": np.zeros(2)}, {"seq_len": 9}, LabelError, "the sequences have lengths .4."),
    ]
    for arrays, more, error, message in cases:
        np.savez("x.npz", **arrays)
        with pytest.raises(error, match=message):
            ArrayData(ArraysHparams(train_files=["x.npz"], **more))
    (folder / "x.npz").write_bytes(b"nothing")
    with pytest.raises(LabelError, match="x.npz is not a .mat, .h5 or .npz"):
        ArrayData(ArraysHparams(train_files=["x.npz"]))


# -- description -----------------------------------------------------------------------------------


def test_a_description_tells_what_there_is_in_text_and_json(folder):
    (folder / "x.bed").write_text(
        "".join(f"chr{i % 3 + 1}\t{i * 7}\t{i * 7 + 100}\t{int(i < 20)}\n" for i in range(100))
    )
    data = BedData(BedHparams(fasta=["g.fa"], intervals=["x.bed"], valid_contigs=["chr2"]))
    found = json.loads(json.dumps(describe(data)))
    train = found["splits"]["train"]
    assert found["contigs"]["n_letters"] == sum(LENGTHS.values())
    assert train["n"] + found["splits"]["valid"]["n"] == 100
    assert sum(train["labels"].values()) == sum(x["n"] for x in train["gc"]) == train["n"]
    intervals = data.readers["train"].intervals
    codes = np.stack([data.store[x.contig, x.start : x.end] for x in intervals])
    known = (codes < 4).sum(axis=1)
    gc = ((codes == 1) | (codes == 2)).sum(axis=1) / np.maximum(known, 1)
    assert train["gc_mean"] == pytest.approx(gc.mean(), abs=1e-5)
    assert train["unknown_prop"] == pytest.approx((codes == 6).mean(), abs=1e-5)
    text = as_text(found)
    assert f"train: {train['n']} items, up to 100 positions" in text
    assert "GC content" in text
    assert "#" in text
