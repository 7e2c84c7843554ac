"""The kinds of file that seqmodel reads: a good one of each, and the command lines that read it.

Each kind is written into a folder of its own; paths in its commands are relative to that folder.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TINY = [
    "--encoder=cnn",
    "--n_dims=4",
    "--n_layers=1",
    "--max_epochs=1",
    "--batch_size=8",
    "--accelerator=cpu",
    "--progress=lines",
]
TILES = ["--dataset=fasta", "--seq_len=20", "--batch_size=8"]
BED = ["--dataset=bed", "--batch_size=8", "--seq_len=30", "--fasta=g.fa"]
FOLDS = ["--train_contigs", "a", "--valid_contigs", "b"]
STATUS = [["status", "out"], ["status", "out", "--json"]]
VERBS = [
    *STATUS,
    ["results", "out"],
    ["report", "out", "-o", "r.html"],
    ["advise", "out"],
    ["logs", "out"],
]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: what it is called here.
        file: the one that is damaged, of those that `make` writes.
        make: writes a good file and what belongs to it into the current folder.
        commands: command lines that read it, without the program's name.
        readers: names in seqmodel.formats.FORMATS, or modules that read files of our own.
        is_text: lines can be changed, and line ends and a byte order mark do no harm.
        packs: it may be packed by gzip as well.
        has_sums: damage that is not noticed is a fault: success must give the values of before.
        must_work: it is made anew or left out: whatever it holds, the values are as before.
        weight: how often it is drawn.
    """

    name: str
    file: str
    make: Callable[[], None]
    commands: list[list[str]]
    readers: tuple[str, ...]
    is_text: bool = False
    packs: bool = False
    has_sums: bool = False
    must_work: bool = False
    weight: float = 1.0


def describe(*words: str) -> list[str]:
    """The verb that reads data and nothing else."""
    return ["data", "describe", "--json", *words]


def _letters(n: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n)].tobytes().decode()


def _genome() -> str:
    return f">a first\n{_letters(300)}\n{_letters(300, 1).lower()}\n>b\n{_letters(200, 2)}NNNN\n"


def _write(name: str, text: str | bytes) -> None:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())


def _with_genome(name: str, text: str | bytes) -> Callable[[], None]:
    def make() -> None:
        _write("g.fa", _genome())
        _write(name, text)

    return make


def _bgzipped(name: str, text: str) -> None:
    import pysam

    _write("plain", text)
    pysam.tabix_compress("plain", name, force=True)
    os.unlink("plain")


def _twobit() -> None:
    from kept_files import twobit_bytes

    _write("g.2bit", twobit_bytes({"a": _letters(300) + "nnacg", "b": _letters(200, 2)}))


def _rows(n_columns: int = 6) -> str:
    rows = []
    for i in range(24):
        start = 8 * i
        row = ["ab"[i % 3 == 0], start, start + 30, i % 2, 0, "+-"[i % 2]]
        rows.append("\t".join(map(str, row[:n_columns])) + "\n")
    return "".join(rows)


def _records() -> None:
    _write("x.fa", "".join(f">s{i}\n{_letters(20 + i, i)}\n" for i in range(9)))
    _write("x.csv", "sequence,label\n" + "".join(f"s{i},{i % 2}\n" for i in range(9)))


def _peaks() -> str:
    form = "{}\t{}\t{}\tp\t0\t.\t1\t1\t1\t{}\n"
    return "".join(form.format("ab"[i % 2], 9 * i, 9 * i + 20, i % 20) for i in range(18))


def _features(gff3: bool) -> str:
    notes = "ID=g{0};Name=n%2C{0};class={1}" if gff3 else 'gene_id "g{0}"; class "{1}";'
    rows = [
        f"{'ab'[i % 2]}\tx\tgene\t{9 * i + 1}\t{9 * i + 20}\t.\t{'+-'[i % 2]}\t.\t"
        + notes.format(i, i % 2)
        for i in range(18)
    ]
    return "\n".join(["##gff-version 3" if gff3 else "#!genome x", *rows]) + "\n"


def _table(separator: str) -> str:
    rows = [separator.join((_letters(15 + i, i), str(i % 2))) for i in range(20)]
    return "\n".join([separator.join(("sequence", "label")), *rows]) + "\n"


def _parquet() -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [x.split(",") for x in _table(",").splitlines()[1:]]
    table = pyarrow.table({"sequence": [x for x, _ in rows], "label": [int(y) for _, y in rows]})
    parquet.write_table(table, "x.parquet", write_page_checksum=True)


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, (20, 15))]
    return {"x": x, "y": rng.integers(0, 2, (20, 3)).astype(np.uint8)}


def _npz() -> None:
    np.savez("x.npz", **_arrays())


def _mat5() -> None:
    from scipy.io import savemat

    arrays = _arrays()
    savemat("x.mat", {"trainxdata": arrays["x"].transpose(0, 2, 1), "traindata": arrays["y"]})


def _hdf5(name: str, *, matlab: bool) -> None:
    import h5py

    arrays = _arrays()
    with h5py.File(name, "w") as f:
        if matlab:
            f["trainxdata"] = np.ascontiguousarray(arrays["x"].T)
            f["traindata"] = np.ascontiguousarray(arrays["y"].T)
        else:
            f.create_dataset("x", data=arrays["x"], compression="gzip", fletcher32=True)
            f.create_dataset("y", data=arrays["y"])


def _bigwig() -> None:
    import pyBigWig

    _write("g.fa", _genome())
    with pyBigWig.open("x.bw", "w") as f:
        f.addHeader([("a", 600), ("b", 204)])
        for name, n in (("a", 600), ("b", 204)):
            f.addEntries(name, 0, values=[float(i % 7) for i in range(n)], span=1, step=1)


def _aliases() -> None:
    _write("g.fa", _genome())
    _write("x.bed", _rows().replace("a\t", "chr1\t", 99))
    _write("x.txt", "# names\na\tchr1\tNC_1\nb\tchr2\tNC_2\nc\tchr3\n")


def _config(name: str, text: str) -> Callable[[], None]:
    def make() -> None:
        _write("g.fa", _genome())
        _write("x.bed", _rows())
        _write(name, text)

    return make


_TOML = """# a run
task = "classify"
dataset = "bed"
fasta = ["g.fa"]
intervals = ["x.bed"]
train_contigs = ["a"]
valid_contigs = ["b"]
seq_len = 30
batch_size = 8
encoder = "cnn"
n_dims = 4
n_layers = 1
max_epochs = 1
accelerator = "cpu"
lr = 1e-3
"""
_SETTINGS = {
    "task": "classify",
    "dataset": "bed",
    "fasta": ["g.fa"],
    "intervals": ["x.bed"],
    "train_contigs": ["a"],
    "valid_contigs": ["b"],
    "seq_len": 30,
    "batch_size": 8,
}
_SEARCH = """kind = "grid"
[base]
task = "classify"
dataset = "bed"
fasta = ["g.fa"]
intervals = ["x.bed"]
[space]
lr = [0.001, 0.01]
n_layers = [1, 2]
"""
_PLUGIN = '''"""A kind of encoder."""

from seqmodel.hparam.hparams import Hparams


class MineHparams(Hparams):
    """Mine."""

    name = "mine"
    target = "mine:Mine"

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--mine_size", type=int, default=3, help="a size")
'''


def _template() -> None:
    import seqmodel.job.script.template as template

    _config("x.sh", Path(template.HERE, "template_shell.sh").read_text())()


def _checkpoint() -> None:
    from seqmodel.cli.verbs import main

    _write("g.fa", _genome())
    _write("x.bed", _rows())
    _write("v.bed", _rows())
    _write(
        "t.bed", "".join(_rows().splitlines(keepends=True)[1:])
    )  # other rows than those of v.bed
    splits = ["--train_files=x.bed", "--valid_files=v.bed", "--test_files=t.bed"]
    words = ["run", "--task=classify", *BED, *splits, *TINY]
    if main([*words, "--default_root_dir=first"]):
        raise RuntimeError("the run that makes the checkpoint failed")
    shutil.copy("first/checkpoints/last.ckpt", "x.ckpt")


def _resumed() -> None:
    _checkpoint()
    shutil.rmtree("out", ignore_errors=True)
    os.makedirs("out")
    os.rename("first", "out/r")


def _applied(name: str, text: str | None = None) -> Callable[[], None]:
    """A checkpoint, and a file on which its model is applied."""

    def make() -> None:
        _checkpoint()
        if text is not None:
            _write(name, text)

    return make


def variants(name: str) -> list[str]:
    """The verb that scores variants."""
    shared = ["--checkpoints=x.ckpt", "--out=out/v.tsv", "--accelerator=cpu", "--json"]
    return ["variants", *shared, "--fasta=g.fa", f"--variants={name}"]


def _calibrated() -> None:
    from seqmodel.infer.calibrated import Calibration, write_calibration

    _applied("p.csv", _table(","))()
    write_calibration("x.ckpt", Calibration([0.5], [0.0]), {"method": "temperature"})


def _vcf() -> str:
    sequence = _letters(300)
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=a,length=600>", "##contig=<ID=b,length=204>"]
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for i in range(60, 240, 9):
        ref = sequence[i]
        alt = (ref + "AC", "ACGT".replace(ref, "")[0], "<DEL>")[i % 3]
        lines.append(f"a\t{i + 1}\t.\t{ref}\t{alt}\t.\tPASS\t.")
    return "\n".join(lines) + "\n"


def _bcf() -> None:
    import pysam

    _checkpoint()
    _write("v.vcf", _vcf())
    with (
        pysam.VariantFile("v.vcf") as file,
        pysam.VariantFile("v.bcf", "wb", header=file.header) as to,
    ):
        for record in file:
            to.write(record)
    os.unlink("v.vcf")


def predict(*words: str) -> list[str]:
    """The verb that applies a model."""
    shared = ["--checkpoints=x.ckpt", "--out=out/p.tsv", "--accelerator=cpu", "--json"]
    return ["predict", *shared, *words]


_TESTED = ["run", "--mode=test", "--load_checkpoint_path=x.ckpt", "--default_root_dir=out/t"]
_TESTED += ["--accelerator=cpu", "--progress=lines"]
_MORE = ["--max_epochs=2", "--accelerator=cpu", "--progress=lines"]


_RESUMED = ["run", "--resume_from_checkpoint=out/r/checkpoints/last.ckpt", *_MORE]
_RESUMED += ["--default_root_dir=out/r"]


def _locked() -> None:
    _resumed()
    holder = {"machine": "other", "folder": "/x", "pid": 7, "token": "ab", "started": "1"}
    _write("out/r/lock", json.dumps(holder))
    os.utime("out/r/lock", (1e9, 1e9))  # its process is dead


def _searched() -> None:
    from seqmodel.cli.verbs import main

    _config("x.toml", _SEARCH)()
    if main(["search", "x.toml", "--dry_run"]):
        raise RuntimeError("the search that makes the record failed")


def _store() -> None:
    from seqmodel.dataset.seq.store import SequenceStore

    _write("g.fa", _genome())
    SequenceStore.open("g.fa", quiet=True)


def _note() -> None:
    _store()
    _write("g.fa.dna.seqstore.stat", json.dumps({"sha256": ["0" * 64], "seen": [[[1] * 5]]}))


def _cached() -> None:
    from seqmodel.dataset.array_data import ArrayData
    from seqmodel.hparam.dataset import ArraysHparams

    _npz()
    ArrayData(ArraysHparams(train_files=["x.npz"]))
    (made,) = Path().glob("x.npz.*.npy")
    made.rename("made.npy")
    os.symlink("made.npy", made.name)


def _runs() -> None:
    from run_folders import audit_report, class_curves, write_run

    write_run("out", name="healthy", lr=0.01)
    write_run("out", name="hurt", lr=0.02, curves=class_curves(), audit=audit_report())


def _of_run(file: str, weight: float = 0.5) -> Kind:
    readers = ("record.folder", "record.run_files", "job.replicate", "job.results.result")
    readers = tuple(f"seqmodel.{x}" for x in readers)
    name = f"run folder {file}"
    path = f"out/hurt/version_0/{file}"
    return Kind(name, path, _runs, VERBS, readers, weight=weight)


def _predictions() -> str:
    rows = "".join(f"{i}\t{'ab'[i % 2]}\t{i / 30:.3f}\t{1 - i / 30:.3f}\n" for i in range(30))
    return f"row\ttruth\ta\tb\n{rows}"


_ARRAYS = [describe("--dataset=arrays", "--train_files", name) for name in ("x.npz", "x.h5")]
_INTERVAL = "--intervals"

KINDS = (
    Kind(
        "FASTA",
        "g.fa",
        lambda: _write("g.fa", _genome()),
        [describe(*TILES, "--fasta=g.fa")],
        ("FASTA", "seqmodel.dataset.seq.fasta", "seqmodel.dataset.store_data"),
        is_text=True,
        packs=True,
    ),
    Kind(
        "FASTA, gzip",
        "g.fa.gz",
        lambda: _write("g.fa.gz", gzip.compress(_genome().encode())),
        [describe(*TILES, "--fasta=g.fa.gz")],
        ("FASTA",),
        has_sums=True,
    ),
    Kind(
        "FASTA, bgzip",
        "g.fa.gz",
        lambda: _bgzipped("g.fa.gz", _genome()),
        [describe(*TILES, "--fasta=g.fa.gz")],
        ("FASTA",),
        has_sums=True,
    ),
    Kind(
        "2bit",
        "g.2bit",
        _twobit,
        [describe(*TILES, "--fasta=g.2bit")],
        ("2bit", "seqmodel.dataset.seq.twobit"),
    ),
    Kind(
        "records",
        "x.fa",
        _records,
        [describe("--dataset=records", "--fasta=x.fa", "--train_files=x.csv")],
        ("FASTA", "seqmodel.dataset.table_data"),
        is_text=True,
        packs=True,
    ),
    Kind(
        "audit: predictions",
        "p.tsv",
        lambda: _write("p.tsv", _predictions()),
        [["audit", "--predictions=p.tsv", "--json"]],
        ("seqmodel.trust.predictions",),
        is_text=True,
        weight=0.3,
    ),
    Kind(
        "predict: FASTA",
        "p.fa",
        _applied("p.fa", "".join(f">{i} x\n{_letters(30, i)}\n" for i in range(20))),
        [predict("--fasta=p.fa", "--too_long=center")],
        ("seqmodel.infer.inputs",),
        is_text=True,
        packs=True,
        weight=0.3,
    ),
    Kind(
        "predict: BED",
        "p.bed",
        _applied("p.bed", _rows()),
        [predict("--fasta=g.fa", "--intervals=p.bed")],
        ("seqmodel.dataset.interval.stream", "seqmodel.infer.inputs"),
        is_text=True,
        packs=True,
        weight=0.3,
    ),
    Kind(
        "predict: table",
        "p.csv",
        _applied("p.csv", _table(",")),
        [predict("--table=p.csv", "--too_long=center")],
        ("seqmodel.infer.inputs",),
        is_text=True,
        packs=True,
        weight=0.3,
    ),
    Kind(
        "calibration",
        "calibration.json",
        _calibrated,
        [predict("--table=p.csv", "--too_long=center", "--calibrated")],
        ("seqmodel.infer.calibrated",),
        weight=0.3,
    ),
    Kind(
        "variants: VCF",
        "v.vcf",
        _applied("v.vcf", _vcf()),
        [variants("v.vcf")],
        ("VCF", "seqmodel.infer.vcf"),
        is_text=True,
        packs=True,
        weight=0.3,
    ),
    Kind("variants: BCF", "v.bcf", _bcf, [variants("v.bcf")], ("BCF",), has_sums=True, weight=0.3),
    Kind(
        "BED3",
        "x.bed",
        _with_genome("x.bed", _rows(3)),
        [describe(*TILES, "--fasta=g.fa", _INTERVAL, "x.bed")],
        ("BED", "seqmodel.dataset.interval.bed"),
        is_text=True,
        packs=True,
    ),
    Kind(
        "BED6",
        "x.bed",
        _with_genome("x.bed", _rows()),
        [
            describe(*BED, _INTERVAL, "x.bed", *FOLDS),
            describe(*BED, "--train_files=x.bed", "--anchor=five_prime"),
        ],
        ("BED",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "BED, gzip",
        "x.bed.gz",
        _with_genome("x.bed.gz", gzip.compress(_rows().encode())),
        [describe(*BED, _INTERVAL, "x.bed.gz")],
        ("BED",),
        has_sums=True,
    ),
    Kind(
        "BED, bgzip",
        "x.bed.gz",
        lambda: (_write("g.fa", _genome()), _bgzipped("x.bed.gz", _rows())),
        [describe(*BED, _INTERVAL, "x.bed.gz")],
        ("BED",),
        has_sums=True,
    ),
    Kind(
        "blacklist",
        "x.bed",
        _with_genome("x.bed", "a\t100\t120\nb\t5\t9\n"),
        [describe(*TILES, "--fasta=g.fa", "--blacklist=x.bed")],
        ("BED",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "narrowPeak",
        "x.narrowPeak",
        _with_genome("x.narrowPeak", _peaks()),
        [
            describe(*TILES, "--fasta=g.fa", _INTERVAL, "x.narrowPeak"),
            describe(
                "--dataset=peaks",
                "--fasta=g.fa",
                "--peaks=x.narrowPeak",
                "--peak_len=10",
                "--bin_len=10",
                "--seq_len=20",
                "--batch_size=8",
            ),
        ],
        ("narrowPeak", "seqmodel.dataset.interval.file"),
        is_text=True,
        packs=True,
    ),
    Kind(
        "GFF3",
        "x.gff3",
        _with_genome("x.gff3", _features(True)),
        [
            describe(*TILES, "--fasta=g.fa", _INTERVAL, "x.gff3", "--feature=gene"),
            describe(*BED, _INTERVAL, "x.gff3", "--feature=gene", "--label_columns=class"),
        ],
        ("GFF3",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "GTF",
        "x.gtf",
        _with_genome("x.gtf", _features(False)),
        [describe(*BED, _INTERVAL, "x.gtf", "--feature=gene", "--label_columns=class")],
        ("GTF",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "contig aliases",
        "x.txt",
        _aliases,
        [describe(*BED, _INTERVAL, "x.bed", "--contig_aliases=x.txt")],
        ("contig aliases",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "folds",
        "x.json",
        _with_genome("x.json", json.dumps({"train": ["a"], "valid": ["b"], "test": []})),
        [describe(*TILES, "--fasta=g.fa", "--fold_json=x.json")],
        ("folds", "seqmodel.dataset.split"),
    ),
    Kind(
        "CSV",
        "x.csv",
        lambda: _write("x.csv", _table(",")),
        [describe("--dataset=table", "--train_files=x.csv")],
        ("CSV", "seqmodel.dataset.label.table"),
        is_text=True,
        packs=True,
    ),
    Kind(
        "CSV of which the columns are guessed",
        "x.csv",
        lambda: _write("x.csv", _table(",")),
        [describe("--table=x.csv")],
        (
            "seqmodel.dataset.guess.columns",
            "seqmodel.dataset.guess.reading",
            "seqmodel.dataset.guess.tables",
        ),
        is_text=True,
        packs=True,
    ),
    Kind(
        "FASTA with labels",
        "x.fa",
        lambda: _write(
            "x.fa", "".join(f">r{i} label={i % 2}\n{_letters(9, i)}\n" for i in range(9))
        ),
        [describe("--dataset=table", "--train_files=x.fa")],
        ("FASTA with labels",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "TSV",
        "x.tsv",
        lambda: _write("x.tsv", _table("\t")),
        [describe("--dataset=table", "--train_files=x.tsv")],
        ("TSV",),
        is_text=True,
        packs=True,
    ),
    Kind(
        "CSV, gzip",
        "x.csv.gz",
        lambda: _write("x.csv.gz", gzip.compress(_table(",").encode())),
        [describe("--dataset=table", "--train_files=x.csv.gz")],
        ("CSV",),
        has_sums=True,
    ),
    Kind(
        "Parquet",
        "x.parquet",
        _parquet,
        [describe("--dataset=table", "--train_files=x.parquet")],
        ("Parquet",),
    ),
    Kind("npz", "x.npz", _npz, _ARRAYS[:1], ("npz", "seqmodel.dataset.array_data"), has_sums=True),
    Kind(
        "MATLAB 5",
        "x.mat",
        _mat5,
        [describe("--dataset=arrays", "--train_files=x.mat")],
        ("MATLAB 5",),
    ),
    Kind(
        "MATLAB 7.3",
        "x.mat",
        lambda: _hdf5("x.mat", matlab=True),
        [describe("--dataset=arrays", "--train_files=x.mat")],
        ("MATLAB 7.3",),
    ),
    Kind("HDF5", "x.h5", lambda: _hdf5("x.h5", matlab=False), _ARRAYS[1:], ("HDF5",)),
    Kind(
        "bigWig",
        "x.bw",
        _bigwig,
        [
            describe(
                "--dataset=tracks",
                "--fasta=g.fa",
                "--tracks=x.bw",
                "--seq_len=40",
                "--bin_len=10",
                "--batch_size=8",
            )
        ],
        ("bigWig", "seqmodel.dataset.label.bigwig"),
    ),
    Kind(
        "TOML config",
        "x.toml",
        _config("x.toml", _TOML),
        [
            ["run", "--config=x.toml", "--help"],
            ["submit", "--dry_run", "--scheduler=shell", "--config=x.toml"],
            ["run", "--config=x.toml", "--fast_dev_run", "--progress=lines"],
        ],
        ("TOML config", "seqmodel.hparam.config"),
    ),
    Kind(
        "JSON config",
        "x.json",
        _config("x.json", json.dumps(_SETTINGS, indent=1)),
        [
            ["run", "--config=x.json", "--help"],
            ["run", "--config=x.json", "--fast_dev_run", *TINY],
        ],
        ("JSON config",),
    ),
    Kind(
        "checkpoint",
        "x.ckpt",
        _checkpoint,
        [
            ["run", "--help", "--load_checkpoint_path=x.ckpt"],
            ["submit", "--dry_run", "--scheduler=shell", "--load_checkpoint_path=x.ckpt"],
            _TESTED,
            ["run", "--resume_from_checkpoint=x.ckpt", "--default_root_dir=out/r", *_MORE],
            [
                "run",
                "--load_encoder_from_checkpoint=x.ckpt",
                "--task=classify",
                *BED,
                "--intervals=x.bed",
                *FOLDS,
                *TINY,
                "--fast_dev_run",
            ],
        ],
        (
            "checkpoint",
            "checkpoint header",
            "seqmodel.record.checkpoint",
            "seqmodel.hparam.header",
        ),
        has_sums=True,
        weight=2.0,
    ),
    Kind(
        "search",
        "x.toml",
        _config("x.toml", _SEARCH),
        [["search", "x.toml", "--dry_run"]],
        ("search", "seqmodel.job.search.file"),
    ),
    Kind(
        "record of a search",
        "searches/x/search.json",
        _searched,
        [["search", "x.toml", "--dry_run"]],
        ("seqmodel.job.search.record",),
    ),
    Kind(
        "metrics of a resumed run",
        "out/r/metrics.csv",
        _resumed,
        [_RESUMED],
        ("seqmodel.training.metrics_csv",),
        weight=0.5,
    ),
    Kind(
        "record of a resumed run",
        "out/r/hparams.json",
        _resumed,
        [_RESUMED],
        ("seqmodel.record.folder",),
        weight=0.5,
    ),
    Kind(
        "lock of a run folder",
        "out/r/lock",
        _locked,
        [_RESUMED],
        ("seqmodel.record.lock",),
        weight=0.5,
    ),
    Kind(
        "template",
        "x.sh",
        _template,
        [
            [
                "submit",
                "--dry_run",
                "--scheduler=shell",
                "--template=./x.sh",
                "--task=classify",
                *BED,
                "--intervals=x.bed",
            ]
        ],
        ("seqmodel.job.script.template",),
    ),
    Kind(
        "plugin",
        "mine.py",
        lambda: _write("mine.py", _PLUGIN),
        [["run", "--plugins=mine", "--task=classify", "--help"]],
        ("seqmodel.hparam.plugin_files",),
    ),
    Kind(
        "store",
        "g.fa.dna.seqstore",
        _store,
        [describe(*TILES, "--fasta=g.fa", "--check")],
        ("seqmodel.dataset.seq.store", "seqmodel.dataset.seq.store_build"),
        has_sums=True,
        weight=1.5,
    ),
    Kind(
        "note of a store",
        "g.fa.dna.seqstore.stat",
        _note,
        [describe(*TILES, "--fasta=g.fa")],
        ("seqmodel.dataset.seq.source",),
        must_work=True,
        weight=0.5,
    ),
    Kind(
        "cached array",
        "made.npy",
        _cached,
        [describe("--dataset=arrays", "--train_files=x.npz", "--check")],
        ("seqmodel.dataset.label.array_cache",),
        has_sums=True,
        weight=1.5,
    ),
    _of_run("hparams.json", 1),
    _of_run("job.json", 1),
    _of_run("events", 1),
    _of_run("metrics.csv", 1),
    _of_run("usage.json"),
    _of_run("test_curves.json"),
    _of_run("audit.json"),
    _of_run("stderr"),
    _of_run("stdout", 0.2),
)
