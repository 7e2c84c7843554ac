"""prune removes what a submitter left that was cut off, and nothing that a run or a job wrote."""

import json
import os
from pathlib import Path

import pytest
import run_folders
from cluster.sshd import HOST

from seqmodel.cli.verbs import main
from seqmodel.job.os_interface import LocalInterface
from seqmodel.job.prune import prune

LEFT = {  # by a submitter that was cut off after so many files
    "x_version_0.sh": "#!/bin/bash\n",
    "hparams.json": json.dumps({"lr": 1e-3}),
    "job.json": '{"schema": 1, "ki',
    "stdout": "",
    "stderr": "",
    "events": "17000",
    "submit.0": "",
}


def half_made(root, n_files, more=()):
    folder = Path(root, f"it's {n_files}{''.join(dict(more))}", "version_0")
    folder.mkdir(parents=True)
    for name, text in [*list(LEFT.items())[:n_files], *dict(more).items()]:
        (folder / name).write_text(text)
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (run_folders.T0, run_folders.T0))
    return str(folder)


KEPT = {
    "metrics.csv": "epoch,step\n",
    "before_attempt_2": "",
    "notes.txt": "mine",
    "hparams.json": json.dumps({"lr": 1, "_run": {}}),
    "stderr": "seqmodel: attempt 1\n",
    ".hidden": "",
}


@pytest.fixture(params=["here", "over ssh"])
def interface(request):
    return LocalInterface() if request.param == "here" else request.getfixturevalue("ssh")


def test_half_made_folders_go_and_all_others_stay(interface, tmp_path):
    run_folders.write_every_state(tmp_path)  # one that is half-made, made just now
    before = {str(path) for path in tmp_path.rglob("version_*/*")}
    gone = [half_made(tmp_path, n) for n in range(len(LEFT) + 1)]
    kept = [half_made(tmp_path, 2, {name: text}) for name, text in KEPT.items()]
    pruned = prune(interface, str(tmp_path))
    assert sorted(pruned.removed) == sorted(gone)
    assert not any(os.path.exists(folder) for folder in gone)
    young = f"{tmp_path}/half-made_run/version_0"
    by_hand = f"{tmp_path}/by_hand/version_0"
    assert set(pruned.kept) == {*kept, young, by_hand}
    assert "within the last 5 minutes" in pruned.kept[young]
    assert pruned.kept[kept[2]] == "it holds notes.txt, which no submitter writes"
    assert {str(path) for path in tmp_path.rglob("version_*/*")} >= before


def test_links_are_not_followed(interface, tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "stdout").write_text("")
    folder = Path(half_made(tmp_path / "out", 2))
    (folder / "job.json").symlink_to(target / "stdout")
    (tmp_path / "out/x").mkdir()
    (tmp_path / "out/x/version_0").symlink_to(target)
    pruned = prune(interface, f"{tmp_path}/out", 0)
    assert pruned.removed == []
    assert (target / "stdout").exists()


def test_the_verb_says_what_it_removed(tmp_path, capsys, sshd):
    run_folders.write_run(tmp_path, state="complete")
    folders = [half_made(tmp_path, 1), half_made(tmp_path, 5)]
    there = [f"--host={HOST}", f"--ssh_config={sshd.config}"]
    assert main(["prune", f"{tmp_path}/it's 1", *there]) == 0
    assert capsys.readouterr().out == f"removed  {folders[0]}\n"
    assert main(["prune", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"removed  {folders[1]}\n"
    assert main(["prune", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("nothing to remove")
    assert main(["prune"]) == 2
    assert "prune needs a folder: seqmodel prune out" in capsys.readouterr().err
