"""The fuzzer over every format and every verb, and that it leaves out no reader."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.kinds import KINDS

import seqmodel
from seqmodel.formats import FORMATS

HERE = Path(__file__).parent
PACKAGE = Path(seqmodel.__file__).parent
COVERED = {x for kind in KINDS for x in kind.readers}
OPENS = {"open", "open_binary", "open_unpacked", "lines", "read_text", "read_bytes", "reading"}
OPENS |= {"load", "loads", "loadmat", "File", "read_table", "read_schema"}
OTHERS = {
    "seqmodel.files": "what all of them open through",
    "seqmodel.training.usage": "reads /proc",
    "seqmodel.training.threads": "reads /proc and /sys",
    "seqmodel.training.waiting": "reads /proc",
    "seqmodel.training.trainer": "opens checkpoints through seqmodel.record.checkpoint",
    "seqmodel.training.execute": "opens checkpoints through seqmodel.record.checkpoint",
    "seqmodel.job.status_table": "takes the names of runs from hparams.json, or leaves them out",
    "seqmodel.report.outputs": "what cannot be read is a line on the page",
    "seqmodel.training.build": "opens checkpoints through seqmodel.record.checkpoint",
    "seqmodel.infer.trained": "opens records through seqmodel.record.folder",
    "seqmodel.infer.model": "opens checkpoints through seqmodel.record.checkpoint",
    "seqmodel.infer.command": "opens checkpoints through seqmodel.infer.model",
    "seqmodel.infer.effects": "opens sequences through seqmodel.dataset.seq, variants through vcf",
    "seqmodel.infer.variants": "opens sequences through seqmodel.dataset.seq, variants through vcf",
    "seqmodel.infer.formats": "reads pieces that it made itself",
    "seqmodel.infer.frame": "opens sequences through seqmodel.dataset.seq",
    "seqmodel.infer.arrays": "reads pieces that it made itself",
    "seqmodel.infer.named": "reads pieces that it made itself",
    "seqmodel.infer.attribute_files": "reads files that this command wrote",
    "seqmodel.infer.export": "reads what it wrote, to check it",
    "seqmodel.infer.parts": "reads parts with checksums, which it made itself",
    "seqmodel.job.agent": "reads what seqmodel.record.run_files reads, on the machine of the jobs",
    "seqmodel.job.launch": "reads its own programs, writes",
    "seqmodel.cli.verbs": "writes to /dev/null",
    "seqmodel.job.search.sampler": "reads what the record of an adaptive search holds",
    "seqmodel.record.code": "reads the code of this package and its checkout",
    "seqmodel.record.code_files": "reads the code of this package and its checkout",
    "seqmodel.job.worker": "reads its own queue",
    "seqmodel.job.search.adaptive": "cuts the journal that Optuna reads",
    "seqmodel.report.page": "reads parts of the package",
    "seqmodel.job.contents": "reads parts of the package",
    "seqmodel.job.shell": "reads parts of the package, appends to events",
    "seqmodel.job.os_interface": "writes",
}


def modules_that_open():
    """Modules of the package with a call that opens or parses a file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls = (x.func for x in ast.walk(tree) if isinstance(x, ast.Call))
        names = {x.id if isinstance(x, ast.Name) else getattr(x, "attr", "") for x in calls}
        if names & OPENS:
            yield ".".join(("seqmodel", *path.relative_to(PACKAGE).with_suffix("").parts))


def test_every_format_is_damaged():
    assert {x.name for x in FORMATS} <= COVERED
    assert len({x.name for x in KINDS}) == len(KINDS) >= 30


def test_every_module_that_reads_a_file_is_damaged_or_said_not_to_be():
    modules = set(modules_that_open())
    readers = {x.reader.partition(":")[0] for x in FORMATS}
    missing = modules - COVERED - readers - set(OTHERS)
    assert not missing, f"add a kind of file to tests/hostile/kinds.py for {sorted(missing)}"
    assert set(OTHERS) <= modules


@pytest.mark.slow
def test_planted_faults_are_found():
    done = subprocess.run(
        [sys.executable, str(HERE / "planted.py")], capture_output=True, text=True, check=True
    )
    expected = {
        "_traceback": "finding traceback: RecursionError: too deep",
        "_two_lines": r"finding exit 2 with 2 lines on stderr: .*",
        "_no_line": r"finding exit 2 with 0 lines on stderr: .*",
        "_other_values": "finding success with other values",
        "_no_json": r"finding success with no JSON on stdout \(NaN is no JSON\)",
        "_left_file": r"finding left behind: x\.fa\.tmp",
        "_left_in_tmp": r"finding left behind: tmp/\S+",
        "_left_process": r"finding left behind: process \d+ of case \d+",
        "_waits": "finding took over 2 s",
        "_computes": "finding took over 2 s",
        "_is_killed": "finding exit -11:.*",
        "_reads_all": "refused",
        "_refused": "refused",
    }
    found = json.loads(done.stdout)
    assert found.keys() == expected.keys()
    wrong = {k: v for k, v in found.items() if not re.fullmatch(expected[k], v)}
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", ["1/2", "2/2"])
def test_damaged_files_give_right_values_or_one_line(part):
    command = [sys.executable, str(HERE / "fuzz.py"), "--cases=2000", "--seed=1", f"--part={part}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout[-300:])
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "1000 cases: " in done.stdout
