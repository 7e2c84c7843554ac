"""Hostile files, each of which would write the canary if something ran it: it never is there."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import forget_plugins, need

from seqmodel.cli.verbs import main as seqmodel
from seqmodel.errors import JobError
from seqmodel.job.script.template import HERE, read_template
from seqmodel.record import code
from seqmodel.run import main as run
from seqmodel.terminal import plain, plain_line, plain_log

ROOT = Path(__file__).resolve().parents[1]
RUN = ("--task=masked", "--fasta=a.fa", "--seq_len=8")
SMALL = ("--n_layers=1", "--n_dims=8", "--n_heads=1", "--batch_size=2", "--n_threads=1")


class Evil:
    """Its pickle would run a command."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    """A working directory, and the path that must not come to be."""
    monkeypatch.chdir(tmp_path)
    forget_plugins(monkeypatch)
    (tmp_path / "a.fa").write_text(">a\n" + "ACGT" * 50 + "\n")
    yield tmp_path / "canary"
    forget_plugins(monkeypatch)
    assert not (tmp_path / "canary").exists()


def replicate(name="out/run/version_0", **files):
    """The folder of a run that somebody made, with `files` in place of its own."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "events": "1 created token=abcdefabcdef grace_s=600\n2 start attempt=1 submission=0 job=1 "
        "pid=1 node=x\n3 end code=1 phase=run submission=0\n",
        "hparams.json": json.dumps({"task": "masked", "_run": {"seqmodel": "0.1.0"}}),
        "stdout": "",
        "stderr": "",
    }
    for file, text in {**own, **files}.items():
        (folder / file).write_text(text)
    return folder


READING = {
    "status": ["status", "out"],
    "logs": ["logs", "out/run/version_0"],
    "stdout": ["logs", "out/run/version_0", "--stdout"],
    "results": ["results", "out"],
    "report": ["report", "out"],
    "advise": ["advise", "out"],
    "watch": ["watch", "out", "--once"],
    "prune": ["prune", "out"],
    "cancel": ["cancel", "out", "--scheduler=shell"],
}
STEERING = "\x1b]0;title\x07\x1b[2J\x9b31m\x1bP\x00\x08\u202etext"


@pytest.mark.parametrize("verb", READING)
def test_no_verb_that_looks_at_runs_runs_what_they_name(verb, canary):
    shell = f"$(touch '{canary}')`touch '{canary}'`; touch '{canary}'"
    plugin = f"open({str(canary)!r}, 'w')"
    Path("evil.py").write_text(plugin)
    folder = replicate(
        **{
            "hparams.json": json.dumps(
                {"task": shell, "plugins": ["evil"], "hf_trust_remote_code": True, "_run": {}}
            ),
            "events": f"1 created token={shell} grace_s=600\n2 start attempt=1 submission=0 "
            f"job={shell} pid={shell} node=x\n3 note text={shell}\n4 end code=1 phase=run\n",
            "job.json": json.dumps(
                {"schema": 1, "kind": "ShellJob", "template": "evil.sh", "given": {},
                 "fields": {"token": shell, "python": shell}, "settings": {"python": shell}}
            ),
            "metrics.csv": f"step,{shell}\n1,=cmd|' /C touch {canary}'!A0\n",
            "usage.json": json.dumps({"wall_s": shell}),
            "stdout": shell,
            "stderr": f"{shell}\n!!python/object/apply:os.system ['touch {canary}']\n",
        }
    )  # fmt: skip
    for name in (f"'; touch '{canary.name}", "$(touch canary)", "-rf", "`touch canary`"):
        shutil.copytree(folder, Path("out/run", f"version_{name}"))
        shutil.copytree(folder, Path("out", name, "version_0"))
    seqmodel(READING[verb])
    assert not canary.exists()


@pytest.mark.parametrize("verb", READING)
def test_no_text_of_a_run_steers_the_terminal(verb, capsys):
    replicate(
        stdout=f"{STEERING}\n",
        stderr=f"Traceback (most recent call last):\nRuntimeError: {STEERING}\n",
        **{
            "hparams.json": json.dumps(
                {"task": STEERING, "lr": STEERING, "_run": {"name": STEERING}}
            ),
            "metrics.csv": f"step,valid_loss,{STEERING}\n1,0.5,{STEERING}\n",
            "events": f"1 created token=abcdefabcdef grace_s=600\n2 start attempt=1 submission=0 "
            f"job={STEERING} pid=1 node=x\n3 end code=1 phase={STEERING} submission=0\n",
        },
    )
    name = STEERING.replace(chr(0), "")
    shutil.copytree("out/run", f"out/{name}")
    half_made = Path("out", f"{name}2", "version_0")
    half_made.mkdir(parents=True)
    more = {"report": [f"--out={name}.html"], "prune": ["--older_than_min=0"]}
    seqmodel(READING[verb] + more.get(verb, []))
    assert half_made.exists() == (verb != "prune")
    shown = "".join(capsys.readouterr())
    assert shown
    steering = [c for c in shown if (ord(c) < 32 and c not in "\n\t") or c in "\x7f\x9b\u202e"]
    assert steering == []


def test_what_steers_a_terminal_is_written_out():
    assert plain("a\x1b[2J\nb\tc\x9b\u202e") == "a\\x1b[2J\nb\tc\\x9b\\u202e"
    assert plain_line("a\nb") == "a\\nb"
    assert plain_log("10%\r50%\r100%\nend\r\n\x07") == "100%\nend\n\\x07"
    assert plain_log("1%\r2%\r\n3%\r") == "2%\n3%\\x0d"
    for ours in ("ä é ü — 中文 ▁▂▃ 🧬", "a" * 2_000_000):
        assert plain_log(ours) == ours


def test_a_message_with_the_text_of_a_file_does_not_steer_the_terminal(capsys):
    Path("bad.bed").write_text(f"a\t0\t{STEERING.replace(chr(0), '')}\n")
    assert run(["--task=classify", "--fasta=a.fa", "--seq_len=8", "--train_files=bad.bed"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.fixture
def foreign_job(canary):
    """A folder that was made elsewhere: its record names programs, a template and an archive."""
    Path("evil.sh").write_text(
        "# {args} {folder} {node_functions} {script} {token}\n" + f"touch '{canary}'\n"
    )
    evil = f"{Path.cwd()}/evil.sh"
    os.chmod(evil, 0o755)
    fields = {
        "folder": "/somewhere/else/out/run/version_0", "template": evil, "python": evil,
        "args": [], "script": "x", "token": "abcdefabcdef", "node_functions": evil,
    }  # fmt: skip
    record = {"schema": 1, "kind": "ShellJob", "given": {}, "fields": fields, "settings": {}}
    record |= {"canonical": "run", "version": 0, "changed": {}, "defaults": {}}
    return replicate(**{"job.json": json.dumps(record)})


def test_a_copied_job_is_not_resumed(foreign_job, capsys, canary):
    assert seqmodel(["resume", str(foreign_job)]) == 2
    assert "is a copy of /somewhere/else" in capsys.readouterr().err
    time.sleep(0.2)
    assert not canary.exists()


def test_the_job_of_another_user_is_not_resumed(foreign_job, capsys, monkeypatch):
    path = foreign_job / "job.json"
    record = json.loads(path.read_text())
    record["fields"]["folder"] = str(foreign_job.resolve())
    path.write_text(json.dumps(record))
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert seqmodel(["resume", str(foreign_job)]) == 2
    assert "belongs to another user" in capsys.readouterr().err


def test_a_file_in_the_working_directory_does_not_pass_for_our_template(canary):
    for name in os.listdir(HERE):
        if name.startswith("template_"):
            Path(name).write_text(f"touch '{canary}'\n")
            assert read_template(name) == Path(HERE, name).read_text()
    with pytest.raises(JobError, match="template mine: no such file"):
        read_template("mine")


CONFIG = """
[core]
    fsmonitor = "touch '{canary}'; echo"
    hooksPath = {hooks}
    pager = "touch '{canary}'"
    sshCommand = "touch '{canary}'"
    editor = "touch '{canary}'"
    askPass = "touch '{canary}'"
[diff]
    external = "touch '{canary}'; true"
[diff "evil"]
    textconv = "touch '{canary}'; cat"
    command = "touch '{canary}'; true"
[filter "evil"]
    clean = "touch '{canary}'; cat"
    smudge = "touch '{canary}'; cat"
    process = "touch '{canary}'"
    required = true
[include]
    path = more
[alias]
    diff = "!touch '{canary}'"
    rev-parse = "!touch '{canary}'"
    ls-files = "!touch '{canary}'"
"""


@pytest.fixture
def hostile_checkout(tmp_path, canary, monkeypatch):
    """A checkout whose configuration and attributes name programs wherever git takes one."""
    need("git")
    root = tmp_path / "checkout"
    (root / "seqmodel").mkdir(parents=True)
    (root / "seqmodel/__init__.py").write_text("x = 1\n")

    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=root, check=True, capture_output=True,
        )  # fmt: skip

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    (root / "seqmodel/__init__.py").write_text("x = 2\n")
    (root / "seqmodel/new.py").write_text("y = 2\n")
    (root / ".gitattributes").write_text("* diff=evil filter=evil\n")
    hooks = root / ".git/evil"
    hooks.mkdir()
    for hook in ("post-index-change", "fsmonitor-watchman", "pre-auto-gc", "reference-transaction"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch '{canary}'\n")
        (hooks / hook).chmod(0o755)
    with (root / ".git/config").open("a") as file:
        file.write(CONFIG.format(canary=canary, hooks=hooks))
    more = f"[filter \"more\"]\n\tclean = touch '{canary}'; cat\n"
    (root / ".git/more").write_text(more)
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/attributes").write_text("new.py filter=more\n")
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(root))
    monkeypatch.setattr("seqmodel.record.code.PACKAGE", str(root / "seqmodel"))
    return root


def test_the_configuration_of_a_checkout_runs_nothing(hostile_checkout, canary, monkeypatch):
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch '{canary}'")
    state = code.code_state(str(hostile_checkout))
    assert "problem" not in state
    assert "+x = 2" in state["diff"]
    assert "+y = 2" in state["diff"]
    monkeypatch.chdir(hostile_checkout)
    assert set(code.current_code().files) == {"seqmodel/__init__.py", "seqmodel/new.py"}
    (hostile_checkout / "mine").mkdir()
    (hostile_checkout / "mine/__init__.py").write_text("")
    (hostile_checkout / "mine/data.txt").write_text("")
    assert "mine/__init__.py" in code.current_code(["mine"]).files
    code.code_record(["mine"], "")
    assert not canary.exists()
    # the same question without care does run it: the checkout is a hostile one
    subprocess.run(["git", "diff", "HEAD"], cwd=hostile_checkout, capture_output=True, check=False)
    assert canary.exists()
    canary.unlink()


def test_a_filter_that_cannot_be_switched_off_stops_the_question(hostile_checkout, canary):
    with (hostile_checkout / ".git/config").open("a") as file:
        file.write(f"[filter \"a=b\"]\n\tclean = touch '{canary}'; cat\n")
    (hostile_checkout / ".gitattributes").write_text("* filter=a=b\n")
    state = code.code_state(str(hostile_checkout))
    assert "a filter with '=' in its name" in state["problem"]
    assert state["changed"] is None


@pytest.mark.parametrize("what", ["config", "model", "tokenizer"])
def test_python_in_a_folder_of_huggingface_is_not_run(what, canary, capsys):
    folder = Path("model")
    folder.mkdir()
    code_of = {"config": "AutoConfig", "model": "AutoModel", "tokenizer": "AutoTokenizer"}
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Evil: pass\n")
    name = "evil.Evil"
    auto = {code_of[what]: [name, name] if what == "tokenizer" else name}
    config = {"model_type": "evil" if what == "config" else "bert", "vocab_size": 8,
              "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "intermediate_size": 8, "auto_map": auto}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Evil", "auto_map": auto})
    )
    words = [*RUN, "--encoder=hf", "--hf_path=model", "--hf_pretrained=False", "--max_steps=1"]
    assert run(words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    said = "contains its own Python code" if what == "config" else "transformers cannot load it"
    assert said in err
    assert not canary.exists()


MODULES = (
    "torch",
    "numpy",
    "pytorch_lightning",
    "sitecustomize",
    "usercustomize",
    "rich",
    "optuna",
)
STARTS = {
    "run.py": [str(ROOT / "seqmodel/run.py"), *RUN, *SMALL, "--max_steps=1"],
    "beside run.py": ["seqmodel/run.py", *RUN, *SMALL, "--max_steps=1"],
    "python -m": ["-m", "seqmodel", "data", "describe", "--dataset=fasta", *RUN[1:]],
    "plugin": [str(ROOT / "seqmodel/run.py"), *RUN, *SMALL, "--plugins=mine", "--max_steps=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_no_file_in_the_working_directory_passes_for_an_installed_package(start, canary, tmp_path):
    """Of `python -m` this holds from the first line of ours on; before that, see python -P."""
    for name in MODULES:
        Path(f"{name}.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    Path("mine.py").write_text("import numpy\n")
    environment = {**os.environ}
    if start == "beside run.py":
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "seqmodel", "seqmodel", ignore=ignore)
    elif start == "python -m":
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, *STARTS[start]], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


def test_the_state_of_a_search_is_read_without_running_it(canary):
    import optuna

    from seqmodel.job.search.sampler import cma_es, read_state

    sampler = cma_es(optuna, 1)
    text = pickle.dumps(Evil(str(canary))).hex()
    attributes = sampler._split_optimizer_str(text)
    trial = optuna.trial.create_trial(value=1.0, system_attrs=attributes)
    with pytest.raises(JobError, match=r"the study names posix\.system"):
        sampler._restore_optimizer([trial])
    for evil in (b"cnumpy\nos.system\n.", b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n."):
        with pytest.raises(JobError, match="the study names"):
            read_state(evil.hex())
    with pytest.raises(JobError, match="damaged"):
        read_state("zz")


def test_the_state_that_optuna_keeps_is_read(canary):
    import numpy as np

    from seqmodel.job.search.sampler import read_state

    state = {"mean": np.arange(3.0), "sigma": np.float64(0.5), "n": 4}
    found = read_state(pickle.dumps(state).hex())
    assert found["mean"].tolist() == [0.0, 1.0, 2.0]
    assert (found["sigma"], found["n"]) == (0.5, 4)


@pytest.mark.parametrize("where", ["search.json", "study.log"])
def test_the_record_of_a_search_runs_nothing(canary, where):
    from seqmodel.job import ShellJob
    from seqmodel.job.search.adaptive import AdaptiveSearch
    from seqmodel.job.search.record import SearchRecord
    from seqmodel.job.search.space import uniform

    folder = Path("searches/mine")
    folder.mkdir(parents=True)
    (folder / where).write_bytes(pickle.dumps(Evil(str(canary))) + b"\n")
    if where == "search.json":
        with pytest.raises(JobError, match="not a record of a search"):
            SearchRecord(str(folder)).read()
        return
    found = AdaptiveSearch(ShellJob(), {"task": "masked"}, {"lr": uniform(0.1, 1)}, name="mine")
    with pytest.raises(JobError, match=r"study\.log"):
        found.open()


def test_weights_of_huggingface_that_are_a_hostile_pickle_are_not_built(canary, capsys):
    import torch
    from transformers import BertConfig

    folder = Path("model")
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertConfig(vocab_size=8, intermediate_size=8, **small).save_pretrained(folder)
    torch.save(
        {"embeddings.word_embeddings.weight": Evil(str(canary))}, folder / "pytorch_model.bin"
    )
    assert run([*RUN, "--encoder=hf", "--hf_path=model", "--max_steps=1"]) == 2
    assert "--hf_path=model" in capsys.readouterr().err
