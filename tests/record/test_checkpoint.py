"""Checkpoints: whole files, no foreign code, versions checked, weights that fit."""

import json
import pickle
import zipfile

import pytest
import torch
from torch import nn

from seqmodel import VERSION
from seqmodel.errors import CheckpointError, RunError
from seqmodel.hparam import header, migrate
from seqmodel.record import checkpoint

DNA = {"name": "dna", "letters": ["A", "C", "G", "T"]}
PROTEIN = {"name": "protein", "letters": list("ACDEFGHIKLMNPQRSTVWY")}


class Evil:
    """What a hostile file would hold: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def entry(**changes):
    plain = {"alphabet": DNA, "targets": {}, "splits": {"train": 5}, "data": {}}
    return {**checkpoint.stamp({"lr": 0.5}, **plain), **changes}


def content(module=None, **changes):
    weights = {f"encoder.{k}": v for k, v in (module or nn.Linear(2, 3)).state_dict().items()}
    return {"state_dict": weights, "global_step": 7, "seqmodel": entry(**changes)}


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "deep" / "a.ckpt"
    saved = content()
    checkpoint.save(saved, path)
    loaded = checkpoint.load(path)
    assert loaded["seqmodel"] == saved["seqmodel"]
    assert torch.equal(
        loaded["state_dict"]["encoder.weight"], saved["state_dict"]["encoder.weight"]
    )
    assert [p.name for p in path.parent.iterdir()] == ["a.ckpt"]


def test_the_header_is_read_without_torch(tmp_path):
    known = {"seq_len": 64, "contigs": {"chr1": [1000, 3, 0, 192]}, "n_contigs": 1}
    checkpoint.save(content(**known), tmp_path / "a.ckpt")
    found = header.read_header(str(tmp_path / "a.ckpt"))
    own = {"schema": 2, "version": VERSION, "hparams": {"lr": 0.5}}
    told = {"alphabet": DNA, "targets": {}, "splits": {"train": 5}, "data": {}}
    assert found == own | told | known


def test_a_checkpoint_of_schema_1_is_read_and_what_it_does_not_say_is_unknown(tmp_path):
    """Its header had the hyperparameters alone; its entry had no length and no contigs."""
    hparams = {"seq_len": 64}
    path, old = tmp_path / "a.ckpt", content(schema=1, version="0.1.1", hparams=hparams)
    for name in ("seq_len", "contigs", "n_contigs"):
        del old["seqmodel"][name]
    old["seqmodel"]["splits"] = {"train": True, "test": True}
    torch.save(old, path)
    with zipfile.ZipFile(path, "a") as archive:
        text = json.dumps({"schema": 1, "version": "0.1.1", "hparams": hparams})
        archive.writestr(f"a/{header.HEADER}", text)
    found = header.read_header(str(path))
    assert found["seq_len"] == 64
    names = ("alphabet", "targets", "splits", "contigs", "n_contigs", "data")
    assert [found[name] for name in names] == [None] * 6
    own = checkpoint.load(path)["seqmodel"]
    assert (own["seq_len"], own["contigs"], own["n_contigs"]) == (64, None, None)
    assert own["splits"] == {"train": None, "test": None}
    assert own["alphabet"] == DNA


def test_the_header_is_bounded_and_the_checkpoint_is_whole(tmp_path):
    """A genome of 10,000 scaffolds, each of them in a file of its own."""
    scaffolds = {f"scaffold_{i}_of_the_assembly": [10**9] * 4 for i in range(10000)}
    digest = {"size": 10**12, "sha256": "f" * 64}
    data = {f"/project/genomes/{name}.fa.gz": digest for name in scaffolds}
    plain = {"alphabet": DNA, "targets": {}, "splits": {}}
    entry = checkpoint.stamp({}, **plain, data=data, contigs=scaffolds)
    checkpoint.save({"state_dict": {}, "seqmodel": entry}, tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        (record,) = [x for x in archive.infolist() if x.filename.endswith(header.HEADER)]
    assert record.file_size < 300_000
    found = header.read_header(str(tmp_path / "a.ckpt"))
    assert list(found["contigs"]) == list(scaffolds)[:1000]
    assert found["n_contigs"] == 10000
    own = checkpoint.load(tmp_path / "a.ckpt")["seqmodel"]
    assert own["contigs"] == scaffolds
    assert own["data"] == data


@pytest.mark.parametrize(
    "damaged",
    [
        {"alphabet": "dna"},
        {"targets": [1]},
        {"splits": 3},
        {"seq_len": "64"},
        {"seq_len": True},
        {"contigs": ["chr1"]},
        {"data": "a.fa"},
    ],
)
def test_a_header_with_values_of_other_types_is_refused(tmp_path, damaged):
    text = json.dumps({"schema": 2, "version": VERSION, "hparams": {}, **damaged})
    with pytest.raises(CheckpointError, match=rf"a\.ckpt: damaged, its '{next(iter(damaged))}'"):
        header.parse_header(text.encode(), "a.ckpt")


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ({"seqmodel": 3}, "'seqmodel' entry are not a table"),
        ({"state_dict": [1]}, "weights or"),
        ({"seqmodel": {}}, "hyperparameters or targets are not a table"),
        ({"seqmodel": entry(hparams=[1])}, "hyperparameters or targets are not a table"),
        ({"seqmodel": entry(version=None)}, "is not a version of seqmodel"),
        ({"seqmodel": entry(splits="train")}, "'splits' is not of type dict"),
        ({"seqmodel": entry(contigs=[["a"]])}, "'contigs' is not of type dict"),
    ],
)
def test_an_entry_that_is_not_what_its_header_says_is_refused(tmp_path, damaged, message):
    path = tmp_path / "a.ckpt"
    torch.save({**content(), **damaged}, path)
    with zipfile.ZipFile(path, "a") as archive:
        text = json.dumps(checkpoint.header_of(content()))
        archive.writestr(f"a/{header.HEADER}", text)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


@pytest.mark.parametrize("form", ["pickle", "torch", "with_header"])
def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path, form):
    path, canary = tmp_path / "a.ckpt", tmp_path / "canary"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Evil(str(canary))))
    else:
        torch.save({**content(), "evil": Evil(str(canary))}, path)
    if form == "with_header":
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            text = '{"schema": 1, "version": "0.1.0", "hparams": {}}'
            archive.writestr(f"{root}/{header.HEADER}", text)
    with pytest.raises(CheckpointError, match="refused|not a checkpoint that seqmodel wrote"):
        checkpoint.load(path)
    assert not canary.exists()
    # the same file does run its code where it is trusted: the canary works
    if form == "with_header":
        torch.load(path, weights_only=False)["evil"].close()
        assert canary.exists()


def test_a_newer_version_is_refused_with_what_to_do(tmp_path):
    checkpoint.save(content(version="9.0.0"), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"written by seqmodel 9\.0\.0, this is .*update"):
        checkpoint.load(tmp_path / "a.ckpt")


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.save(content(), path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"a\.ckpt"):
            checkpoint.load(path)


def test_a_changed_tensor_byte_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.save(content(nn.Linear(64, 64)), path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        offset = largest.header_offset + 200 + largest.file_size // 2
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_a_failed_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    checkpoint.save(content(), path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"a\.ckpt: No space left.*one before it is kept"):
        checkpoint.save(content(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_weights_of_a_part_are_loaded(tmp_path):
    source, wanted = nn.Linear(2, 3), nn.Linear(2, 3)
    checkpoint.save(content(source), tmp_path / "a.ckpt")
    checkpoint.load_weights(wanted, tmp_path / "a.ckpt", "encoder.", alphabet=DNA)
    assert torch.equal(wanted.weight, source.weight)


@pytest.mark.parametrize(
    ("module", "alphabet", "message"),
    [
        (nn.Linear(2, 4), DNA, r"weight \(3x2 in the file, 4x2 here\)"),
        (nn.Linear(2, 3, bias=False), DNA, r"bias \(not in this model\)"),
        (nn.Sequential(nn.Linear(2, 3)), DNA, r"0\.weight \(not in the file\)"),
        (nn.Linear(2, 3), PROTEIN, r"alphabet dna \(4 symbols\), but this run reads protein"),
    ],
)
def test_weights_that_do_not_fit_are_told(tmp_path, module, alphabet, message):
    checkpoint.save(content(), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_weights(module, tmp_path / "a.ckpt", "encoder.", alphabet=alphabet)


def test_checkpoints_of_earlier_versions_are_migrated_step_by_step(tmp_path, monkeypatch):
    """From 0.0.1: lr was `rate` until 0.0.2 and in percent until 0.1.0; weights were `model.`."""

    def rename(hparams):
        return {"lr": hparams["rate"]}

    def percent(hparams):
        return {"lr": hparams["lr"] / 100}

    def weights(stored):
        names = stored["state_dict"]
        new = {n.replace("model.", "encoder."): w for n, w in names.items()}
        return {**stored, "state_dict": new}

    later = migrate.Step("9.0.0", "not this far", lambda h: {})
    steps = (later, migrate.Step("0.1.0", "", percent), migrate.Step("0.0.2", "", rename))
    for module in (header, checkpoint):
        monkeypatch.setattr(module, "HPARAM_STEPS", steps[1:])
    monkeypatch.setattr(checkpoint, "CHECKPOINT_STEPS", (migrate.Step("0.0.3", "", weights),))
    old = content(version="0.0.1", hparams={"rate": 50})
    old["state_dict"] = {n.replace("encoder.", "model."): w for n, w in old["state_dict"].items()}
    checkpoint.save(old, tmp_path / "old.ckpt")
    loaded = checkpoint.load(tmp_path / "old.ckpt")
    assert loaded["seqmodel"]["hparams"] == {"lr": 0.5}
    assert header.read_header(str(tmp_path / "old.ckpt"))["hparams"] == {"lr": 0.5}
    assert set(loaded["state_dict"]) == {"encoder.weight", "encoder.bias"}
    halfway = migrate.migrated({"lr": 50}, "0.0.2", steps)
    assert halfway == {}
    assert migrate.migrated({"lr": 50}, "0.0.2", steps[1:]) == {"lr": 0.5}


@pytest.mark.parametrize(("version", "pairs"), [("0.1.0", (("p", "m"),)), ("0.1.1", ())])
def test_the_pairs_of_tracks_of_an_earlier_version_follow_from_its_strands(
    tmp_path, version, pairs
):
    hparams = {"track_strands": ["+", ".", "-"]}
    targets = {"kind": "track", "names": ["p", "x", "m"]}
    checkpoint.save(content(version=version, hparams=hparams, targets=targets), tmp_path / "a.ckpt")
    loaded = checkpoint.load(tmp_path / "a.ckpt")
    assert checkpoint.saved_targets(loaded, "a.ckpt").pairs == pairs


@pytest.mark.parametrize("targets", [{}, {"kind": "real"}, {"kind": "x", "names": []}, 3])
def test_a_checkpoint_that_does_not_tell_its_targets_is_refused(targets):
    with pytest.raises(CheckpointError, match=r"a\.ckpt: damaged, it has no valid"):
        checkpoint.saved_targets({"seqmodel": {"targets": targets}}, "a.ckpt")
