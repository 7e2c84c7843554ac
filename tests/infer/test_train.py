"""seqmodel.train is `python seqmodel/run.py`, and leaves the process of a notebook as it was."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CASES, SMALL, write_data
from programs import forget_plugins

import seqmodel
from seqmodel.errors import HparamError, LabelError, RunError, SeqmodelError
from seqmodel.hparam.header import read_header
from seqmodel.infer.trained import TrainedRun

ROOT = Path(__file__).parents[2]
PLUGIN = '''
"""A task of the user's own."""
from pathlib import Path
from seqmodel.hparam.task import RegressHparams

with Path("imported").open("a") as file:
    file.write("x")


class MineHparams(RegressHparams):
    """Numbers."""

    name = "mine"
    target = "mine:MineTask"


def __getattr__(name):
    from seqmodel.task.regress import RegressTask

    return type("MineTask", (RegressTask,), {"predictions": lambda self, x: 2 * x})
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    write_data(tmp_path)
    return tmp_path


def hparams_of(task, **more):
    return {**SMALL, **CASES[task], "n_threads": 1, **more}


def test_a_run_from_python_is_the_run_of_the_command_line(folder):
    given = hparams_of("multilabel", max_epochs=2)
    run = seqmodel.train(**given)
    words = []
    for name, value in given.items():
        texts = map(str, value) if isinstance(value, list) else [str(value)]
        words += [f"--{name}", *texts]
    command = [sys.executable, str(ROOT / "seqmodel/run.py"), *words]
    subprocess.run(command, check=True, capture_output=True)
    first, second = sorted(run.path.parent.iterdir())
    assert run.path == first
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    names = [sorted(str(x.relative_to(y)) for x in y.rglob("*")) for y in (first, second)]
    assert names[0] == names[1]
    records = [json.loads((x / "hparams.json").read_text()) for x in (first, second)]
    runs = [x.pop("_run") for x in records]
    assert records[0] == records[1] == run.hparams
    same = ("name", "defaults", "data", "tested", "packages")
    assert [runs[0][x] for x in same] == [runs[1][x] for x in same]
    weights = [torch.load(x / "checkpoints/best.ckpt")["state_dict"] for x in (first, second)]
    assert all(torch.equal(weights[1][name], x) for name, x in weights[0].items())


def test_what_a_run_returns_is_what_its_folder_holds(folder):
    run = seqmodel.train(**hparams_of("regress", default_root_dir="run", log_every_n_steps=1))
    again = TrainedRun("run")
    assert again.metrics == run.metrics
    assert {"test_mse", "test_pearson", "valid_loss", "train_loss"} <= set(run.metrics)
    assert again.hparams == run.hparams
    assert run.hparams["n_dims"] == 8
    assert repr(run).startswith(f"TrainedRun('{folder}/run', test_loss=")
    (row,) = seqmodel.results(".").rows()
    assert row["test_mse"] == pytest.approx(run.metrics["test_mse"])
    texts = ["ACGT" * 16]
    best, last = (run.load(x, device="cpu").predict(texts) for x in (None, "last"))
    np.testing.assert_array_equal(best, again.load().predict(texts))
    np.testing.assert_array_equal(last, best)  # of one epoch
    Path("run/checkpoints/best.ckpt").unlink()
    np.testing.assert_array_equal(run.load().predict(texts), last)
    with pytest.raises(RunError, match=r"run: no checkpoint best\.ckpt in it"):
        run.load("best")
    with pytest.raises(RunError, match=r"hparams\.json: cannot be read"):
        TrainedRun("nowhere")


def test_a_trial_has_scores_and_no_folder(folder):
    run = seqmodel.train(**hparams_of("regress", fast_dev_run=True))
    assert run.path is None
    assert run.metrics["test_mse"] > 0
    assert not Path("out").exists()
    with pytest.raises(RunError, match="a trial: no checkpoint"):
        run.load()


def test_the_process_is_as_it_was_after_a_run(folder):
    handlers = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    before = (dict(os.environ), torch.get_num_threads(), list(sys.path))
    torch.set_num_threads(1)
    try:
        seqmodel.train(**hparams_of("regress", n_threads=2, deterministic=True))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before[1])
    assert not torch.are_deterministic_algorithms_enabled()
    assert "SEQMODEL_RUN_FOLDER" not in os.environ
    assert sys.path == before[2]
    now = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    assert now == handlers


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lrr": 1}, HparamError, "no hyperparameter 'lrr'"),
        ({"lr": "fast"}, HparamError, "lr"),
        ({"encoder": "cnnn"}, HparamError, "no encoder 'cnnn'"),
        ({"label_columns": ["nothing"]}, LabelError, "no column 'nothing'"),
        ({"load_checkpoint_path": "no.ckpt"}, SeqmodelError, r"no\.ckpt"),
    ],
)
def test_a_mistake_is_an_exception(folder, change, error, message):
    with pytest.raises(error, match=message):
        seqmodel.train(**hparams_of("regress", **change))
    assert not Path("out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_is_an_exception_and_can_be_resumed(folder, number):
    done = threading.Event()

    def interrupt():
        path = Path("run/checkpoints/last.ckpt")
        while not path.exists() and not done.wait(0.05):
            pass
        time.sleep(0.2)
        if not done.is_set():
            os.kill(os.getpid(), number)

    before = signal.default_int_handler
    signal.signal(signal.SIGINT, before)  # a shell ignores it in the background
    thread = threading.Thread(target=interrupt)
    thread.start()
    expected = {signal.SIGINT: (KeyboardInterrupt, "^$"), signal.SIGTERM: (RunError, "stopped by")}
    try:
        with pytest.raises(expected[number][0], match=expected[number][1]):
            seqmodel.train(**hparams_of("regress", max_epochs=100000, default_root_dir="run"))
    finally:
        done.set()
        thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    last = "run/checkpoints/last.ckpt"
    epoch = torch.load(last)["epoch"]
    resumed = seqmodel.train(resume_from_checkpoint=last, max_epochs=epoch + 2, progress="none")
    assert resumed.path == folder / "run"
    assert torch.load(last)["epoch"] == epoch + 1


def test_the_checkpoint_says_on_which_contigs_and_rows_it_was_trained(folder):
    """Read without torch from the header; by hand from the BED file."""
    lines = Path("g.bed").read_text().splitlines()[3:14]
    Path("g.bed").write_text("\n".join([*lines, "b\t0\t64\t1", "c\t0\t64\t0", "c\t64\t128\t1", ""]))
    seqmodel.train(**hparams_of("classify", default_root_dir="run"))
    header = read_header("run/checkpoints/last.ckpt")
    assert header["contigs"] == {"a": [1024, 11, 3 * 64, 14 * 64]}
    assert header["n_contigs"] == 1
    assert header["splits"] == {"train": 11, "valid": 1, "test": 2}
    assert header["seq_len"] == 64
    assert header["alphabet"]["letters"] == list("ACGT")
    assert header["targets"] == {"kind": "class", "names": ["0", "1"]}
    sizes = {Path(path).name: x["size"] for path, x in header["data"].items()}
    assert sizes == {name: Path(name).stat().st_size for name in ("g.fa", "g.bed")}


def test_the_length_that_the_data_decide_is_in_the_checkpoint(folder):
    """Of tables, and of intervals without --seq_len."""
    seqmodel.train(**hparams_of("regress", default_root_dir="rows"))
    header = read_header("rows/checkpoints/last.ckpt")
    assert header["hparams"]["seq_len"] is None
    assert (header["seq_len"], header["contigs"]) == (64, {})
    given = hparams_of("classify", default_root_dir="bed")
    seqmodel.train(**{**given, "seq_len": None})
    assert read_header("bed/checkpoints/last.ckpt")["seq_len"] == 64


def test_a_plugin_is_imported_on_the_users_word_alone(folder, monkeypatch):
    forget_plugins(monkeypatch)
    Path("mine.py").write_text(PLUGIN)
    run = seqmodel.train(**{**hparams_of("regress"), "task": "mine"}, plugins=["mine"])
    texts = ["ACGT" * 16]
    model = run.load()
    np.testing.assert_array_equal(model.predict(texts), 2 * model.predict(texts, logits=True))
    path = run.path / "checkpoints/best.ckpt"
    forget_plugins(monkeypatch)
    Path("imported").unlink()
    for load in (seqmodel.load, lambda x: TrainedRun(run.path).load()):
        with pytest.raises(HparamError, match=r"names plugins, .*mine\.py .*give --plugins=mine"):
            load(path)
    with pytest.raises(HparamError, match="no task 'mine'"):
        seqmodel.load(path, plugins=[])
    assert not Path("imported").exists()
    for options in ({"plugins": ["mine"]}, {"plugins": "mine"}, {"trust_plugins": True}):
        found = seqmodel.load(path, **options)
        np.testing.assert_array_equal(found.predict(texts), model.predict(texts))
    assert Path("imported").exists()
    forget_plugins(monkeypatch)


def test_seqmodel_names_what_python_users_call(folder):
    names = ("load", "train", "results", "ShellJob", "SlurmJob", "SshInterface")
    assert set(names) <= set(dir(seqmodel))
    assert all(callable(getattr(seqmodel, name)) for name in names)
    rooms = {x.stem for x in (ROOT / "seqmodel").iterdir()}
    assert not set(names) & rooms
