"""docs/predict.md: its command runs, and what it names exists."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.hparam.infer import PredictHparams
from seqmodel.infer.formats import FORMATS
from seqmodel.infer.inputs import STATUSES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/predict.md").read_text()


@pytest.mark.filterwarnings("always:.*overlap the training data of the model")
def test_the_first_command_gives_the_columns_that_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").symlink_to(ROOT / "data")
    seqmodel.train(
        task="classify",
        dataset="bed",
        fasta=["data/demo/umaydis.fa.gz"],
        intervals=["data/demo/windows.bed"],
        class_names=["intergenic", "coding"],
        valid_contigs=["chr06"],
        test_contigs=["chr07"],
        encoder="cnn",
        n_dims=4,
        n_layers=1,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
        default_root_dir="out/demo/version_0/finetune",
        progress="none",
    )
    command = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].replace("\\\n", " ")
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    with open("data/demo/windows.bed") as file:
        Path("few.bed").write_text("".join(next(file) for _ in range(300)))
    words = shlex.split(command.replace("data/demo/windows.bed", "few.bed"))
    assert words[0] == "seqmodel"
    assert main(words[1:]) == 0
    found = pd.read_csv("test.tsv", sep="\t")
    assert list(found.columns) == shown[0].split("\t")
    for line, row in zip(shown[1:], found.astype(str).to_numpy(), strict=False):
        assert line.split("\t")[:6] == row[:6].tolist()


def test_what_the_page_names_exists():
    table = PAGE.partition("| `status` |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == STATUSES
    rows = re.findall(r"^\| (`\.[^|]*) \|", PAGE, re.MULTILINE)
    suffixes = {x for row in rows for x in re.findall(r"`(\.[\w.]+)`", row)}
    assert suffixes == set(PredictHparams.formats) <= set(FORMATS)
    known = {*PredictHparams.default_hparams().declared, "mode", "load_checkpoint_path"}
    known |= {"verb", "n_parts", "audit"}  # of submit and run, which it names
    assert set(re.findall(r"--(\w+)", PAGE)) <= known
