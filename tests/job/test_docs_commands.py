"""The commands and Python of jobs.md, howto-cluster.md and search.md, on a real Slurm behind sshd.

They are read out of the pages and run as they are; `cedar` is the sshd of the tests, by the
configuration of ssh, and a run takes no time.
"""

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.sshd import Sshd
from job_helpers import wait_for
from programs import need

from seqmodel.cli.verbs import main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FAKE_RUN = Path(__file__).parent / "fake_run.py"
# what is no command to be typed as it is, but names a verb
MENTIONS = {
    "seqmodel run ...", "seqmodel submit FOLDER", "seqmodel status results", "seqmodel prune",
    "seqmodel resume FOLDER --slurm_account=def-me",
    "seqmodel results", "seqmodel variants ... --part=k/4",
    "seqmodel merge out/scores.vcf.gz.parts",
    "seqmodel attribute --plot", "seqmodel attribute", "seqmodel predict",
}  # fmt: skip


def page(name):
    return (ROOT / "docs" / name).read_text()


def blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


def commands(name):
    """All commands that a page shows: in blocks, in lines of their own, and in code font."""
    text = page(name)
    found = [line for block in blocks(name, "sh") for line in block.splitlines()]
    found += re.findall(r"^    (ssh .*)$", text, re.MULTILINE)
    found += re.findall(r"(?<!`)`(seqmodel [^`]+)`", text)
    return [shlex.join(shlex.split(line, comments=True)) for line in found]


@pytest.fixture
def cedar(slurm, tmp_path, monkeypatch):
    """The host of the pages: its home folder has dna/ with data, and env/ with a Python."""
    need("sshd")
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "dna/data").mkdir(parents=True)
    (home / "dna/data/hg38.fa").write_text(">c1\n" + "ACGT" * 50 + "\n")
    (home / "dna/data/in.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=c1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "c1\t100\t.\tT\tG\t.\t.\t.\nc1\t101\t.\tA\tC\t.\t.\t.\n"
    )
    (here / "data/demo").mkdir(parents=True)
    shutil.copy(home / "dna/data/hg38.fa", here / "few.fa")
    for folder in (home / "dna", here):
        shutil.copy(ROOT / "tests/archive/0.2.0/classify.ckpt", folder / "best.ckpt")
    shutil.copy(ROOT / "data/demo/umaydis.fa.gz", here / "data/demo")
    fake = f"""#!/bin/bash
case $3 in [!-]*) exec {sys.executable} "$@" ;; esac  # a verb
if [ "$1" != -u ]; then exec {sys.executable} "$@"; fi
if [ -e "$HOME/fail" ]; then echo "ValueError: as asked" >&2; exit 1; fi
exec {sys.executable} -I -S {FAKE_RUN} "$@"
"""
    for path in (home / "env/bin/python", home / "bin/python3"):
        path.parent.mkdir(parents=True)
        path.write_text(fake)
        path.chmod(0o755)
    login = (
        f"export HOME={home} PATH={home}/bin:$PATH; cd\n"
        'module() { echo "$*" >> "$HOME/modules"; }; export -f module'
    )
    with Sshd(env={"SLURM_CONF": str(slurm.conf)}, login=login) as server:
        server.config.write_text(server.config.read_text().replace("Host ", "Host cedar ", 1))
        real = shutil.which("ssh")
        wrapper = tmp_path / "bin/ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {real} -F {server.config} "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{wrapper.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
        monkeypatch.setattr("sys.executable", str(home / "env/bin/python"))
        monkeypatch.chdir(here)
        yield home
        server.close_master()


class Shell:
    """Types the commands of a page, and knows which have been typed."""

    def __init__(self, name, capsys):
        self.all, self.typed, self.capsys = commands(name), set(), capsys

    def type(self, begin, *more, **places):
        """The command of the page that begins so; with further words, and `<run>` filled in."""
        command = next(c for c in self.all if c.startswith(begin))
        self.typed.add(command)
        for name, value in places.items():
            command = command.replace(f"<{name}>", value)
        words = [*shlex.split(command), *more]
        self.capsys.readouterr()
        if words[0] == "ssh":
            quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            subprocess.run(words, check=True, timeout=60, **quiet)
            return ""
        code = main(words[1:])
        out, err = self.capsys.readouterr()
        assert code == 0, f"{command}: {err}"
        return out

    def left(self):
        return [c for c in self.all if c not in self.typed and c not in MENTIONS]


def states(shell):
    return [json.loads(line) for line in shell.type("seqmodel status", "--json").splitlines()]


def test_the_commands_of_the_page_on_jobs(cedar, capsys):
    shell = Shell("jobs.md", capsys)
    shell.type("ssh -fNM")
    (cedar / "fail").touch()
    assert f"{cedar}/dna/out/" in shell.type("seqmodel submit --host")
    [row] = wait_for(lambda: [r for r in states(shell) if r["state"] == "error"], 120, 0.5)
    assert row["reason"] == "exception"
    assert "1 error" in shell.type("seqmodel status", "--watch")
    name = row["folder"].split("/")[-2]
    assert "ValueError: as asked" in shell.type("seqmodel logs", run=shlex.quote(name))
    (cedar / "fail").unlink()
    assert "  resumed  " in shell.type("seqmodel resume")
    [row] = wait_for(lambda: [r for r in states(shell) if r["state"] == "complete"], 120, 0.5)
    assert row["attempts"] == 2
    script = next(Path(row["folder"]).glob("*.sh")).read_text()
    assert "#SBATCH --time=600\n" in script
    assert shell.type("seqmodel pull") == "results\n"
    assert Path("results", name, "version_0/metrics.csv").read_text().startswith("epoch,step")
    assert main(["status", "results"]) == 0
    assert "1 complete" in capsys.readouterr().out
    assert shell.type("seqmodel submit --verb=variants").count("variants-scores.vcf.gz-") == 4
    wait_for(lambda: [r["state"] for r in states(shell)] == ["complete"] * 5, 180, 0.5)
    shell.type("seqmodel pull")
    with gzip.open("results/scores.vcf.gz", "rt") as file:
        assert [x.split("\t")[1] for x in file if not x.startswith("#")] == ["100", "101"]
    assert shell.type("seqmodel submit --verb=predict").count("predict-few.tsv-") == 2
    wait_for(Path("few.tsv").exists, 120, 0.2)
    assert Path("few.tsv").read_text().count("\n") == 2
    half = cedar / "dna/out/x/version_0"
    half.mkdir(parents=True)
    words = ["--host=cedar", "--older_than_min=0"]
    assert shell.type("seqmodel prune dna/out", *words) == f"removed  {half}\n"
    assert "--slurm_time_min" in shell.type("seqmodel submit --help")
    assert shell.left() == []


def test_the_commands_of_the_page_on_clusters(cedar, capsys):
    """Each way to provide Python; the container's program runs what is behind its image."""
    shell = Shell("howto-cluster.md", capsys)
    shell.type("ssh -fNM")
    bin_ = cedar / "bin"
    [program] = [b for b in blocks("howto-cluster.md", "sh") if b.startswith("#!")]
    (bin_ / "container-python").write_text(program)
    (bin_ / "apptainer").write_text(
        '#!/bin/sh\necho "$*" >> "$HOME/containers"; shift 5; exec "$@"\n'
    )
    (bin_ / "python").symlink_to("python3")
    (cedar / "envs/dna/bin").mkdir(parents=True)
    (cedar / "envs/dna/bin/python").symlink_to(bin_ / "python3")
    for path in ("container-python", "apptainer"):
        (bin_ / path).chmod(0o755)
    for words in ("--modules", "--python=~/envs", "--python=~/bin"):
        [command] = [c for c in shell.all if words in c.replace("'", "")]
        assert f"{cedar}/dna/out/" in shell.type(command)
    wait_for(lambda: [r["state"] for r in states(shell)] == ["complete"] * 3, 180, 0.5)
    assert (cedar / "modules").read_text() == "load python/3.11\n"
    assert "exec --nv --bind /project,/scratch," in (cedar / "containers").read_text()
    assert shell.type("seqmodel pull") == "results\n"
    assert len(list(Path("results").glob("*/version_0/metrics.csv"))) == 3


def test_the_python_of_the_page_on_jobs(cedar, capsys):
    Shell("jobs.md", capsys).type("ssh -fNM")
    code, parts = blocks("jobs.md", "python")
    space = {}
    submit, pull = code.split("job.pull(")
    exec(compile(submit, "jobs.md", "exec"), space)  # as a reader pastes it
    job = space["job"]
    wait_for(lambda: all(s.state == "complete" for s in job.status()), 120, 0.5)
    assert len(job.status()) == 6
    assert (cedar / "modules").read_text() == "load python/3.11\n" * 6
    exec(compile(f"job.pull({pull}", "jobs.md", "exec"), space)
    assert len(list(Path("results").glob("*/version_0/metrics.csv"))) == 6
    exec(compile(parts, "jobs.md", "exec"), space)
    wait_for(lambda: all(s.state == "complete" for s in job.status(space["made"])), 120, 0.5)
    assert (cedar / "dna/out/predictions.tsv").read_text().count("\n") == 1 + 200 // 64
    local = space["ShellJob"]()
    wait_for(lambda: all(s.state == "complete" for s in local.status()), 120, 0.2)


def test_the_commands_and_the_toml_of_the_page_on_searching(cedar, capsys):
    Shell("jobs.md", capsys).type("ssh -fNM")
    shell = Shell("search.md", capsys)
    [text] = blocks("search.md", "toml")
    assert "/project/me/dna" in text
    Path("depth.toml").write_text(text.replace("/project/me/dna", f"{cedar}/dna"))
    assert "20 new" in shell.type("seqmodel search depth.toml --dry_run")
    assert not (cedar / "dna/out").exists()
    assert main(["search", "depth.toml"]) == 0

    def ended():
        capsys.readouterr()
        assert main(["status", "--host=cedar", "dna/out", "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return len(rows) == 20 and all(row["state"] == "complete" for row in rows)

    wait_for(ended, 180, 0.5)
    assert main(["pull", "--host=cedar", "dna/out", "--to=out"]) == 0
    shown = shell.type("seqmodel results")
    assert shown.splitlines()[0].startswith("| run ")
    assert shell.type("seqmodel report").strip() == str(Path("report.html").resolve())
    assert "20 complete" in shell.type("seqmodel watch")
    assert "40 runs like them" in shell.type("seqmodel advise")
    assert shell.left() == []


def test_the_python_of_the_page_on_searching(cedar, capsys):
    pytest.importorskip("optuna")
    space = {}
    for code in blocks("search.md", "python"):
        exec(compile(code.replace("n=60", "n=4"), "search.md", "exec"), space)
        if "search.grid" in code:
            assert len(space["found"].results()) == 12
    assert Path("runs.csv").read_text().count("\n") == 17
