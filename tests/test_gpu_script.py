"""tools/gpu.sh: what it runs on one card, prints, refuses and leaves behind; here on the CPU."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Stands for a Python: what its tests and its benchmark do is given, all else is done by this one.
STUB = """#!/bin/sh
case "$*" in
    "- "*) ls "${{PYTHONPATH##*:}}" >packages 2>/dev/null; cat >/dev/null; {check} ;;
    "-m pip"*) exec {python} "$@" ;;
    "-m pytest"*) echo '{{"case": "a", "result": "passed"}}' >&3; {tests} ;;
    *benchmarks/*) echo "$@" >>options; {benchmark} ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (tmp_path / "scratch").mkdir()  # without a space, which g++ cannot read as torch calls it
    return folder


def gpu(folder, *args, python=sys.executable, device="cpu"):
    done = subprocess.run(
        [ROOT / "tools/gpu.sh", "--python", python, *args],
        cwd=folder,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "SEQMODEL_GPU_TEST_DEVICE": device,
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(folder.parent / "scratch"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert list((folder.parent / "scratch").glob("tmp.*")) == []
    return done


def stub(folder, *, check="exit 0", tests="exit 0", benchmark="exit 0"):
    path = folder / "python"
    path.write_text(
        STUB.format(check=check, tests=tests, benchmark=benchmark, python=sys.executable)
    )
    path.chmod(0o755)
    return path


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_it_tests_and_times_on_the_device(folder):
    cases = "masks or memory or accumulated or (each_task and masked) or is_as_on_the_cpu[cnn"
    done = gpu(folder, "--limit", "3000", "--cases", cases, "--tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    machine, *rest = lines(done)
    assert machine["case"] == "machine"
    assert {line["card"] for line in (machine, *rest)} == {"cpu"}
    tested = {line["case"]: line for line in rest if "result" in line}
    assert {line["result"] for line in tested.values()} == {"passed"}
    assert tested["test_each_encoder_is_as_on_the_cpu[cnn]"]["gradient_error"] < 1e-3
    assert {name.split("[")[0] for name in tested} >= {
        "test_masks_are_bit_for_bit_those_of_the_cpu",
        "test_memory_that_runs_out_is_one_line",
        "test_accumulated_batches_are_one_large_batch",
        "test_each_task_is_as_on_the_cpu",
        "test_each_task_trains_and_is_scored_as_on_the_cpu",
    }
    timed = {(line["case"], line["peer"]): line["ratio"] for line in rest if "ratio" in line}
    assert min(timed.values()) > 0
    half = "transformer_masked bf16-mixed d="
    for case, peers in {
        "transformer_masked": {"bare", "bf16", "ddp", "fsdp"},
        "transformer_masked_flops": {"matmul"},
        "cnn": {"bare", "bf16", "kept"},
        **{f"{half}{x}": {"bare", "hf_bert"} for x in ("16", "16 compiled")},
        f"{half}16 compiled_flops": {"matmul"},
        "predict cnn": {"bare forward"},
        "ism cnn, plain": {"3 L forwards"},
    }.items():
        assert {peer for name, peer in timed if name == case} >= peers, case


def test_options_reach_the_benchmark_and_a_pass_is_exit_code_0(folder):
    done = gpu(folder, "--", "--sizes", "n_layers=1", python=stub(folder))
    assert (done.returncode, lines(done)) == (0, [{"case": "a", "result": "passed"}])
    training, transformer, applying = (folder / "options").read_text().splitlines()
    words = ("--device cpu", "--peers bare bf16 ddp fsdp kept", "--rounds 3", "--steps 20")
    assert training.endswith(" ".join((*words, "--sizes n_layers=1")))
    assert "--precision bf16-mixed --widths 256 1024 --compiled" in transformer
    assert "infer.py predict ism embed variants --device cpu" in applying


def test_a_part_without_time_is_a_line(folder):
    done = gpu(folder, "--limit", "1", python=stub(folder, benchmark="exec sleep 1000"))
    assert done.returncode == 1
    said = {line["case"]: line["error"] for line in lines(done)}
    for case in ("tests", "training", "transformer"):
        assert said[case] == "no time was left of 1 s"


def test_a_failure_is_a_line_and_exit_code_1_and_the_rest_still_runs(folder):
    python = stub(folder, tests="echo 'E  1 != 2'; exit 1", benchmark="echo oh >&2; exit 3")
    done = gpu(folder, python=python)
    assert done.returncode == 1
    failed = [line for line in lines(done) if line["result"] == "failed"]
    assert [line["case"] for line in failed] == ["tests", "training", "transformer", "applying"]
    assert [line["error"] for line in failed] == ["exit code 1", *["exit code 3"] * 3]
    assert "E  1 != 2" in done.stderr
    assert "oh" in done.stderr


def test_it_ends_at_its_limit(folder):
    done = gpu(folder, "--limit", "12", python=stub(folder, tests="exec sleep 1000"))
    assert done.returncode == 1
    assert "did not end within" in lines(done)[1]["error"]


def test_what_is_missing_is_one_line(folder):
    python = folder / "bare"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    done = gpu(folder, python=python)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gpu: missing: torch pytorch-lightning torchmetrics")
    assert "pytest" in done.stderr
    assert "pip download" in done.stderr


def test_a_machine_without_a_card_is_one_line(folder):
    done = gpu(folder, device="cuda")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "sees no card" in done.stderr


def wheel(folder, name):
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def test_wheels_are_unpacked_for_this_run_and_never_torch(folder):
    for name in ("a_package", "torch", "torchmetrics", "nvidia_cublas", "pytorch_lightning"):
        wheel(folder / "some wheels", name)
    stub(folder)
    done = gpu(folder, "--wheels", "some wheels", python="./python")
    assert done.returncode == 0, done.stderr
    unpacked = [x for x in (folder / "packages").read_text().split() if "dist-info" not in x]
    assert unpacked == ["a_package", "torchmetrics"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--wheel=x",), "unknown option --wheel=x"),
        (("--wheels",), "--wheels needs a value"),
        (("--wheels", "nowhere"), "no wheel in nowhere"),
        (("--python", "no/python"), "no/python is not Python 3.11 or later"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(folder, args, said):
    done = gpu(folder, *args)
    assert done.returncode == 2
    assert said in done.stderr
