"""Labels that float32 cannot hold, and counts below 0, are named: file, place, what to do."""

import random
import struct

import numpy as np
import pyBigWig
import pytest

from seqmodel.dataset.array_data import ArrayData
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.label.bigwig import BigWig
from seqmodel.dataset.store_data import BedData
from seqmodel.dataset.table_data import TableData
from seqmodel.dataset.track_data import TrackData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import ArraysHparams, TableHparams
from seqmodel.hparam.genome import BedHparams, TracksHparams
from seqmodel.hparam.resolve import resolve
from seqmodel.training.build import build

INFINITE = ["inf", "-inf", "Infinity", "1e39", "-3.5e38", "1e400"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    letters = "".join(rng.choice(list("ACGT"), 1000))
    (tmp_path / "g.fa").write_text(f">chr1\n{letters}\n")
    return tmp_path


def targets(data, split="train"):
    return np.concatenate([x["target"].numpy() for x in data.loader(split, train=False)])


# -- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", INFINITE)
def test_a_label_of_a_table_that_is_infinite_in_float32_is_named(folder, text):
    (folder / "t.csv").write_text(f"sequence,label\nACGT,1.5\nGG,{text}\n")
    with pytest.raises(LabelError, match=f"t.csv line 3: label '{text}' is infinite in float32"):
        TableData(TableHparams(train_files=["t.csv"], label_kind="real"))


@pytest.mark.parametrize("text", INFINITE)
def test_a_label_of_a_bed_file_too(folder, text):
    (folder / "x.bed").write_text(f"chr1\t0\t9\t1.5\nchr1\t9\t18\t{text}\n")
    with pytest.raises(LabelError, match=f"x.bed line 2: label '{text}' is infinite in float32"):
        BedData(BedHparams(fasta=["g.fa"], train_files=["x.bed"], label_kind="real"))


def test_the_largest_float32_and_what_is_missing_are_kept(folder):
    (folder / "t.csv").write_text("sequence,label\nA,3.4028234e38\nC,nan\nG,\nT,NA\n")
    data = TableData(TableHparams(train_files=["t.csv"], label_kind="real"))
    found = targets(data)[:, 0]
    assert found[0] == np.finfo(np.float32).max
    assert np.isnan(found[1:]).all()


def test_digits_with_underscores_are_no_number(folder):
    (folder / "t.csv").write_text("sequence,label\nA,1_000\n")
    with pytest.raises(LabelError, match="t.csv line 2: label '1_000' is not a number"):
        TableData(TableHparams(train_files=["t.csv"], label_kind="real"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 30, "t.csv line 3: label '9+' is not a whole number"),
        ("4000000000", "the labels include class 4000000000, which implies 4000000001 classes"),
    ],
)
def test_a_class_that_cannot_be_is_refused(folder, text, message):
    (folder / "t.csv").write_text(f"sequence,label\nACGT,1\nGG,{text}\n")
    with pytest.raises(LabelError, match=message):
        TableData(TableHparams(train_files=["t.csv"]))


# -- arrays ----------------------------------------------------------------------------------------

ONEHOT = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (3, 8))]


def write(kind, labels):
    if kind == "x.npz":
        np.savez(kind, x=ONEHOT, y=labels)
    elif kind == "x.h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(kind, "w") as f:
            f["x"], f["y"] = ONEHOT, labels
    else:
        from scipy.io import savemat

        savemat(kind, {"x": ONEHOT, "y": labels})
    return ArraysHparams(train_files=[kind], onehot_letters="ACGT")


@pytest.mark.parametrize("kind", ["x.npz", "x.h5", "x.mat"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_a_label_of_an_array_that_is_infinite_in_float32_is_named(folder, kind, value):
    labels = np.array([[0.5, np.nan], [1.0, value], [2.0, 3.0]])
    with pytest.raises(LabelError, match=rf"{kind}: the label at \[1, 1\] is .*, infinite in fl"):
        ArrayData(write(kind, labels))
    labels[1, 1] = 7
    np.testing.assert_array_equal(targets(ArrayData(write(kind, labels))), np.float32(labels))


def test_labels_of_one_item_keep_their_shape(folder):
    np.savez("x.npz", x=ONEHOT[:1], y=np.array([[1.5, 2.5, 3.5]]))
    data = ArrayData(ArraysHparams(train_files=["x.npz"]))
    assert targets(data).tolist() == [[1.5, 2.5, 3.5]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 2, 2)), r"labels of shape \[3, 2, 2\]; must be \[n\] or \[n, T\]"),
        (np.float32(1), "3 sequences but 0 rows of labels"),
        (np.array([0, 1, 10**12]), "the labels include class 1000000000000"),
    ],
)
def test_labels_of_another_shape_are_refused(folder, labels, message):
    np.savez("x.npz", x=ONEHOT, y=labels)
    with pytest.raises(LabelError, match=message):
        ArrayData(ArraysHparams(train_files=["x.npz"]))


def test_damage_in_an_hdf5_array_is_one_line(folder):
    hparams = write("x.h5", np.arange(3.0))
    h5py = pytest.importorskip("h5py")
    with h5py.File("x.h5", "w") as f:
        f.create_dataset("x", data=ONEHOT, chunks=(1, 8, 4), fletcher32=True)
        f["y"] = np.arange(3.0)
        at = f["x"].id.get_chunk_info(2).byte_offset
    raw = bytearray((folder / "x.h5").read_bytes())
    raw[at + 5] ^= 4
    (folder / "x.h5").write_bytes(raw)
    with pytest.raises(LabelError, match="x.h5: cannot be read as HDF5 file") as e:
        ArrayData(hparams)
    assert "\n" not in str(e.value)


# -- tracks ----------------------------------------------------------------------------------------


def bigwig(values, start=100, path="t.bw"):
    with pyBigWig.open(path, "w") as f:
        f.addHeader([("chr1", 1000)])
        at = list(range(start, start + len(values)))
        f.addEntries(["chr1"] * len(at), at, ends=[x + 1 for x in at], values=list(values))
    return {"fasta": ["g.fa"], "tracks": [path], "seq_len": 100, "bin_len": 50}


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("jitter", [0, 3])
def test_an_infinite_value_of_a_track_is_named(folder, value, jitter):
    common = bigwig([1.0, 2.0, value, 3.0])
    with pytest.raises(LabelError, match="t.bw: the value at chr1:102 is infinite"):
        TrackData(TracksHparams(**common, jitter=jitter))


@pytest.mark.parametrize("jitter", [0, 3])
def test_sums_that_are_infinite_in_float32_are_named(folder, jitter):
    common = bigwig([1.0, 3e38, 3e38])
    with pytest.raises(LabelError, match="t.bw: the values around chr1:101 add up to 6e.38"):
        TrackData(TracksHparams(**common, jitter=jitter))


def test_nan_in_a_track_is_0_as_where_there_is_no_value(folder):
    data = TrackData(TracksHparams(**bigwig([1.0, np.nan, 2.0])))
    found = targets(data)
    assert found.sum() == 3
    assert np.isfinite(found).all()


@pytest.mark.parametrize("jitter", [0, 3])
def test_the_logarithm_of_a_negative_value_is_refused(folder, jitter):
    common = bigwig([1.0, 2.0, -0.5])
    match = "t.bw: the value at chr1:102 is negative, and the logarithm .* --track_abs=True"
    with pytest.raises(LabelError, match=match):
        TrackData(TracksHparams(**common, log1p=True, jitter=jitter))
    data = TrackData(TracksHparams(**common, log1p=True, track_abs=True))
    np.testing.assert_allclose(targets(data).max(), np.log1p(3.5), rtol=1e-6)


@pytest.mark.parametrize("track_abs", [False, True])
def test_a_run_whose_targets_are_counts_asks_for_them(folder, track_abs):
    given = {"task": "profile", "dataset": "tracks", "encoder": "dilated_conv"}
    run = resolve(
        {**given, "decoder": "profile", **bigwig([1.0, -20.0, 3.0]), "track_abs": track_abs}
    )
    if track_abs:
        build(run)
    else:
        with pytest.raises(LabelError, match="t.bw: the value at chr1:100 is negative, and a cou"):
            build(run)


@pytest.mark.parametrize("jitter", [0, 3])
def test_negative_counts_are_refused_with_file_place_and_flag(folder, jitter):
    common = bigwig([1.0] * 70 + [-2.0] + [1.0] * 20, start=230)
    # letter 300 lies in the window 300-400: its first bin, or its letter with jitter
    place = "chr1:300"
    data = TrackData(TracksHparams(**common, jitter=jitter))
    if not jitter:
        assert targets(data).min() >= 0  # -2 and its bin add up to more than 0
    else:
        with pytest.raises(LabelError, match=f"t.bw: the value at {place} is negative, and a co"):
            data.check_counts()
    common = bigwig([1.0] * 70 + [-20.0] + [1.0] * 10, start=230, path="u.bw")
    data = TrackData(TracksHparams(**common, jitter=jitter))
    with pytest.raises(LabelError, match=f"u.bw: the value at {place} is negative.*--track_abs=Tr"):
        data.check_counts()
    data = TrackData(TracksHparams(**common, jitter=jitter, track_abs=True))
    data.check_counts()
    assert targets(data).sum() == 100


def test_a_damaged_bigwig_is_one_line_and_ends_no_process(folder, capfd):
    bigwig([float(i) for i in range(400)])
    contigs = Contigs(["chr1"], [1000])
    raw = (folder / "t.bw").read_bytes()
    assert BigWig("t.bw", contigs).values(0, 100, 500).tolist() == list(range(400))
    messages = []
    for seed in range(300):
        rng = random.Random(seed)
        damaged = bytearray(raw[: rng.randrange(len(raw))] if seed % 5 == 0 else raw)
        for _ in range(rng.choice([1, 4]) if seed % 5 else 0):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (folder / "u.bw").write_bytes(damaged)
        try:
            BigWig("u.bw", contigs).values(0, 0, 1000)
        except LabelError as e:
            messages.append(str(e))
    assert len(messages) > 100
    assert all(x.startswith("u.bw: ") and "\n" not in x for x in messages)
    assert capfd.readouterr().err == ""


def test_sizes_within_a_bigwig_that_would_take_all_memory_are_refused(folder):
    bigwig([1.0])
    raw = (folder / "t.bw").read_bytes()
    chroms, _, index = struct.unpack("<3Q", raw[8:32])
    for at, n, what in (
        (52, 4, "a block size of 4294967295 bytes"),  # of the buffer for one block
        (chroms + 16, 8, "1 contigs, but its header says"),
        (chroms + 8, 4, "the table of its contigs is damaged"),
        (index + 48 + 4 + 24, 8, "its index points beyond the end"),
        (24, 8, "are needed"),
    ):
        (folder / "t.bw").write_bytes(raw[:at] + b"\xff" * n + raw[at + n :])
        with pytest.raises(LabelError, match=f"t.bw: cannot be read as bigWig .*{what}"):
            BigWig("t.bw", Contigs(["chr1"], [1000]))
