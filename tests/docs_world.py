"""A folder in which the commands and the Python of the documents run in seconds.

It has the files that the pages name: a part of the demo's genome and windows, tables, variants, and
two models that were trained for two steps. What the pages train is cut short in the same way.
"""

import csv
import gzip
import re
import shlex
import shutil
from pathlib import Path

import seqmodel
from seqmodel.cli.verbs import VERBS, main
from seqmodel.infer import trained

ROOT = Path(__file__).resolve().parents[1]
CONTIGS = ("chr02", "chr03", "chr05", "chr06", "chr07")
KEPT = 24_000  # bases of each contig of the demo
SHORT = {
    "max_epochs": 1,
    "limit_train_batches": 2,
    "limit_val_batches": 1,
    "limit_test_batches": 1,
    "progress": "none",
    "audit": "none",
    "n_threads": 1,
}
SMALL = {"n_dims": 8, "n_layers": 1}
# These are looked at, not run: they would change the host or need a network.
PLAYED = {"git", "cd", ".", "modisco"}


def make(folder: Path) -> None:
    """Writes the files and trains the models."""
    demo = folder / "data/demo"
    demo.mkdir(parents=True)
    genome = _cut_genome()
    text = "".join(f">{name}\n{seq}\n" for name, seq in genome.items())
    (folder / "genome.fa").write_text(text)
    with gzip.open(demo / "umaydis.fa.gz", "wt") as file:
        file.write(text)
    lines = (ROOT / "data/demo/windows.bed").read_text().splitlines(keepends=True)
    near = [x for x in lines if int(x.split("\t")[2]) <= KEPT]
    (demo / "windows.bed").write_text("".join(near))
    (folder / "peaks.bed").write_text("".join(near[:12]))
    (folder / "three.bed").write_text("".join(near[:3]))
    _write_tables(folder, genome, near)
    _write_variants(folder, genome["chr07"])
    (folder / "known.meme").write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF one\n"
        "letter-probability matrix: alength= 4 w= 8\n" + "0.7 0.1 0.1 0.1\n" * 8
    )
    for name, encoder in (("cnn", "cnn"), ("dilated_conv", "dilated_conv")):
        seqmodel.train(
            task="classify",
            dataset="bed",
            fasta=[str(demo / "umaydis.fa.gz")],
            intervals=[str(demo / "windows.bed")],
            class_names=["intergenic", "coding"],
            valid_contigs=["chr06"],
            test_contigs=["chr07"],
            encoder=encoder,
            default_root_dir=str(folder / "out" / name),
            **SMALL,
            **{**SHORT, "audit": "short", "limit_test_batches": None},
        )
    shutil.copytree(folder / "out/dilated_conv", folder / "out/coding")
    shutil.copytree(folder / "out/coding", folder / "out/demo/version_0/finetune")
    shutil.copy(folder / "out/coding/checkpoints/best.ckpt", folder / "best.ckpt")
    (folder / "out/latest").unlink(missing_ok=True)
    (folder / "out/latest").symlink_to("cnn")


def train_shortly(table: str | None = None, **hparams: object) -> object:
    """`seqmodel.train` with a few batches."""
    return trained.train(table, **{**hparams, **SHORT})


def _cut_genome() -> dict[str, str]:
    with gzip.open(ROOT / "data/demo/umaydis.fa.gz", "rt") as file:
        records = [x.partition("\n") for x in file.read().split(">")[1:]]
    return {head.split()[0]: body.replace("\n", "")[:KEPT] for head, _, body in records}


def _write_tables(folder: Path, genome: dict[str, str], lines: list[str]) -> None:
    rows = []
    for i, line in enumerate(lines):
        contig, start, end, name = line.split("\t")[:4]
        rows.append((f"w{i}", genome[contig][int(start) : int(end)], name))
    parts = {"train": rows[::2], "valid": rows[1::4], "test": rows[3::4]}
    for name, part in parts.items():
        _write(folder / f"{name}.csv", ("sequence", "label"), [x[1:] for x in part])
    _write(folder / "new.csv", ("sequence",), [x[1:2] for x in rows[:5]])
    numbers = [(seq, f"{seq.count('G') / len(seq):.3f}") for _, seq, _ in rows[:40]]
    _write(folder / "numbers.csv", ("sequence", "accessible"), numbers)
    _write(folder / "my.csv", ("id", "seq", "class"), rows)
    (folder / "few.fa").write_text("".join(f">{n}\n{s}\n" for n, s, _ in rows[:5]))


def _write(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def _write_variants(folder: Path, seq: str) -> None:
    other = dict(zip("ACGT", "CGTA", strict=True))
    head = (
        "##fileformat=VCFv4.2\n##contig=<ID=chr07>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    rows = [f"chr07\t{i + 1}\t.\t{seq[i]}\t{other[seq[i]]}\t.\t.\t.\n" for i in range(999, 1010)]
    with gzip.open(folder / "in.vcf.gz", "wt") as file:
        file.write(head + "".join(rows))


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """(language, text, last line of prose before it) of each fenced block of a page."""
    found, before, fence, lines = [], "", None, []
    for line in path.read_text().splitlines():
        mark = re.match(r" *(`{3,})(.*)", line)
        if mark and fence is None:
            fence, language, lines = mark[1], mark[2].strip(), []
        elif mark and mark[1] == fence and not mark[2]:
            found.append((language, "\n".join(lines) + "\n", before))
            fence, before = None, ""
        elif fence is not None:
            lines.append(line)
        elif line.strip():
            before = line.strip()
    assert fence is None, f"{path}: a block does not end"
    return found


def commands(text: str) -> list[list[str]]:
    """The commands of a shell block, in words."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = [p for line in lines for p in re.split(r"\s&&\s", line)]
    found = (shlex.split(re.sub(r" &$", "", p), comments=True) for p in parts)
    return [words for words in found if words]


def run_block(language: str, text: str, names: dict) -> None:
    """Runs a block in the working directory; `names` are the variables of the page's Python."""
    named = re.match(r"# ([\w./-]+\.(?:py|toml))\n", text)
    if named:
        Path(named[1]).write_text(text)
    elif language == "python":
        exec(compile(text, "a page", "exec"), names)
    else:
        assert language == "sh", f"a {language} block begins with the name of its file: # my.toml"
        for words in commands(text):
            run_command(words)


def run_command(words: list[str]) -> None:
    """Runs a command of seqmodel in this process; looks at another one."""
    program = words[0]
    if program == "seqmodel":
        verb = words[1]
        assert verb in {*VERBS, "--help", "--version"}
        cut = [f"--{n}={x}" for n, x in SHORT.items()] if verb in ("run", "train") else []
        code = main([*words[1:], *([] if "--help" in words else cut)])
        assert code == 0, f"{shlex.join(words)} ended with {code}"
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
    elif program == "pip":
        extras = re.findall(r"seqmodel\[([\w,-]+)\]", shlex.join(words))
        text = (ROOT / "pyproject.toml").read_text()
        assert all(re.search(rf"^{x} = \[", text, re.M) for e in extras for x in e.split(","))
    elif program == "python":
        assert words[1:3] == ["-m", "venv"], words
    else:
        assert program in PLAYED, f"no test can run {shlex.join(words)}"
