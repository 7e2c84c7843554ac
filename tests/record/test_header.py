"""The header of a checkpoint: any value in it gives an answer or one line, and it is bounded."""

import copy
import json
import struct
import tracemalloc
import zipfile

import pytest
import torch

from seqmodel import VERSION
from seqmodel.errors import CheckpointError, RunError, SeqmodelError
from seqmodel.hparam import header
from seqmodel.hparam.describe import as_text, described
from seqmodel.hparam.help import help_text
from seqmodel.hparam.resolve import resolve
from seqmodel.record import checkpoint

WRONG = (None, True, -1, 2.5, 10**30, "x", "a\0b", [], ["x", 3], [[]], {}, {"x": 3}, {"x": [None]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("header")
    (folder / "g.fa").write_text(">a\nACGTACGTACGT\n")
    return folder


def entry(folder):
    """What a run writes: all fields are there, and have values."""
    run = resolve({"task": "masked", "fasta": [str(folder / "g.fa")], "seq_len": 4})
    alphabet = {"name": "dna", "letters": list("ACGT"), "ambiguous": "N"}
    return checkpoint.stamp(
        {**vars(run.values), "monitor": "valid_loss", "patience": 3},
        alphabet={
            **alphabet,
            "complement": dict(zip("ACGT", "TGCA", strict=True)),
            "unknown": "zeros",
        },
        targets={"kind": "track", "names": ["p", "m"], "pairs": [["p", "m"]]},
        splits={"train": 5, "valid": None},
        data={"g.fa": {"size": 3, "sha256": "f" * 64}},
        seq_len=4,
        contigs={"a": [12, 3, 0, 12]},
        plugins={"mine": "0" * 64, "other": None},
    )


def written(path, header_of):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"a/{header.HEADER}", json.dumps(header_of))
    return str(path)


def places(value, at=()):
    """The path of each value in a header, of tables and lists themselves too."""
    yield at
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value[:1]) if isinstance(value, list) else items
    for key, item in items:
        yield from places(item, (*at, key))


def changed(whole, at, value):
    if not at:
        return value
    found = copy.copy(whole)
    found[at[0]] = changed(whole[at[0]], at[1:], value)
    return found


def reads(path):
    """What users do with a file that only has a header."""
    encoder = ["--task=causal", "--fasta=g.fa", "--seq_len=4"]
    yield lambda: as_text(described(path))
    yield lambda: resolve({"load_checkpoint_path": path})
    yield lambda: resolve([f"--resume_from_checkpoint={path}"])
    yield lambda: resolve([*encoder, f"--load_encoder_from_checkpoint={path}"])
    yield lambda: help_text([f"--load_checkpoint_path={path}"])


@pytest.mark.filterwarnings("ignore:not imported")
@pytest.mark.parametrize("part", [pytest.param("hparams", marks=pytest.mark.slow), "rest"])
def test_no_value_in_a_header_gives_a_traceback(folder, monkeypatch, part):
    monkeypatch.chdir(folder)
    whole = json.loads(json.dumps(checkpoint.header_of({"seqmodel": entry(folder)})))
    n, n_refused, failed = 0, 0, []
    for at in places(whole):
        if (at[:1] == ("hparams",)) != (part == "hparams"):
            continue
        for value in WRONG:
            path = written("a.ckpt", changed(whole, at, value))
            for read in reads(path):
                n += 1
                try:
                    read()
                except SeqmodelError as e:
                    n_refused += 1
                    lines = str(e).splitlines()
                    failed += [(at, value, lines)] if len(lines) != 1 else []
                except Exception as e:
                    failed.append((at, value, repr(e)))
    assert not failed
    assert n > 2 * n_refused / 3 > 100


def whole(folder, **changes):
    return {"state_dict": {"w": torch.zeros(3)}, "seqmodel": {**entry(folder), **changes}}


@pytest.mark.parametrize("field", [*header.KNOWN, "hparams", "version", "schema", "plugins"])
def test_a_header_that_differs_from_its_content_is_refused(folder, tmp_path, field, monkeypatch):
    path, of_header = tmp_path / "a.ckpt", checkpoint.header_of
    checkpoint.save(whole(folder), path)
    assert checkpoint.load(path)["state_dict"]["w"].tolist() == [0, 0, 0]
    other = {
        "alphabet": {"name": "rna", "letters": list("ACGU")}, "targets": {"kind": "track"},
        "splits": {"train": 6}, "seq_len": 5, "contigs": {}, "n_contigs": 2, "data": {},
        "hparams": {**entry(folder)["hparams"], "lr": 0.5}, "version": "0.1.1", "schema": 1,
        "plugins": {"mine": "1" * 64},
    }  # fmt: skip
    monkeypatch.setattr(checkpoint, "header_of", lambda c: {**of_header(c), field: other[field]})
    checkpoint.save(whole(folder), path)
    with pytest.raises(CheckpointError, match=f"its header and its content differ in '{field}'"):
        checkpoint.load(path)


def test_a_header_of_gigabytes_is_not_unpacked_whatever_the_directory_says(tmp_path):
    """64 MB of blanks in 64 kB, of which the directory of the zip file says that they are 100."""
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"a/{header.HEADER}", b" " * (1 << 26))
    raw = path.read_bytes().replace(struct.pack("<L", 1 << 26), struct.pack("<L", 100))
    for content in (path.read_bytes(), raw):
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=r"a\.ckpt: (damaged|not a checkpoint)"):
            header.read_header(str(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * header.MOST_BYTES


def test_the_header_of_exported_weights_is_bounded(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(1 << 33)  # a sparse file
    with pytest.raises(CheckpointError, match="has more than 16,777,216 bytes"):
        header.read_header(str(tmp_path / "model.safetensors"))


def test_two_headers_are_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for root in "ab":
            text = json.dumps({"version": VERSION, "hparams": {}})
            archive.writestr(f"{root}/{header.HEADER}", text)
    with pytest.raises(CheckpointError, match="not a checkpoint that seqmodel wrote"):
        header.read_header(str(path))


def test_a_save_needs_no_second_copy_of_the_weights(folder, tmp_path):
    """40 MB of weights; Python's memory is traced, and torch's own buffers are of one tensor."""
    content = whole(folder)
    content["state_dict"] = {f"w{i}": torch.zeros(1 << 20) for i in range(10)}
    tracemalloc.start()
    checkpoint.save(content, tmp_path / "a.ckpt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.ckpt").stat().st_size > 40e6
    assert peak < 10e6


def test_a_disk_that_is_full_in_the_middle_of_a_save_is_one_line(folder, tmp_path, monkeypatch):
    checkpoint.save(whole(folder), tmp_path / "a.ckpt")
    before = (tmp_path / "a.ckpt").read_bytes()
    write = checkpoint._Kept.write

    def full(self, data):
        if self.file.tell() > 100:
            self.file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115  # closed by its end
        return write(self, data)

    monkeypatch.setattr(checkpoint._Kept, "write", full)
    content = whole(folder)
    content["state_dict"]["w"] = torch.zeros(1 << 20)
    with pytest.raises(RunError, match=r"a\.ckpt: No space left on device; the one before it is"):
        checkpoint.save(content, tmp_path / "a.ckpt")
    assert (tmp_path / "a.ckpt").read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.ckpt"]
