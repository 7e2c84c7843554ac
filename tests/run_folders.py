"""Folders of runs as run.py and the jobs leave them, without any run."""

import json
import math
from pathlib import Path

HOSTILE = "<script>window.hacked=1</script> \"quoted\" 'too' & <img src=x onerror=window.hacked=1>"
T0 = 1_700_000_000
TOKEN = "5f0e7c2ab914"  # no other process of this machine has it among its arguments


def write_run(
    root,
    *,
    name=None,
    version=0,
    state="complete",
    n_epochs=5,
    level=0.5,
    rate=0.3,
    usage=True,
    curves=None,
    audit=None,
    stderr="",
    job=True,
    test=True,
    **hparams,
):
    """One run folder in `state`; returns its path. `level` is where its valid_loss goes."""
    values = {"task": "classify", "dataset": "bed", "encoder": "cnn", "seed": 0, "max_epochs": 5}
    values |= {
        "lr": 1e-3,
        "n_layers": 2,
        "monitor": None,
        "n_workers": 0,
        "fasta": ["g.fa"],
        **hparams,
    }
    changed = {n: v for n, v in hparams.items() if v is not None}
    name = name or ",".join(f"{n}={v}" for n, v in sorted(changed.items())) or "default"
    folder = Path(root, name.replace("/", "%2F")[:150], f"version_{version}")
    folder.mkdir(parents=True)
    if state == "half-made":
        return folder
    began = state not in ("created", "queued")
    record = {**values}
    if began:
        code = {"path": "/x", "commit": "0123456789abcdef", "changed": True}
        record["_run"] = {"name": name, "host": "node1", "seqmodel": "0.1", "code": code}
        record["_run"]["started"] = "2026-11-01T10:00:00+0000"
    (folder / "hparams.json").write_text(json.dumps(record))
    if job:
        _write_job(folder, name, changed, state, stderr)
    if began and n_epochs:
        _write_metrics(folder, n_epochs, level, rate, state == "complete" and test)
    if usage and state in ("complete", "timeout"):
        used = {"schema": 1, "peak_rss_bytes": int((1 + level) * 2**30), "peak_gpu_bytes": None}
        used |= {"wall_s": 100.0, "cpu_s": 150.0, "n_weights": 1234, "ended": state == "complete"}
        (folder / "usage.json").write_text(json.dumps(used))
    if curves:
        (folder / "test_curves.json").write_text(json.dumps(curves))
    if audit:
        (folder / "audit.json").write_text(json.dumps(audit))
    return folder


def _write_job(folder, name, changed, state, stderr):
    settings = {"slurm_time_min": 60, "slurm_mem": "4G", "slurm_cpus": 2, "job_out_dir": "out"}
    job = {"schema": 1, "kind": "SlurmJob", "canonical": name, "version": 0, "changed": changed}
    (folder / "job.json").write_text(json.dumps(job | {"settings": settings, "interface": "cedar"}))
    lines = [f"{T0} created token={TOKEN} grace_s=600"]
    if state != "created":
        lines += [
            f"{T0} submitting submission=0 token={TOKEN}",
            f"{T0 + 1} submitted submission=0 job=77",
        ]
    if state not in ("created", "queued"):
        lines += [
            f"{T0 + 5} start attempt=1 submission=0 job=77 pid=1 node=node1",
            f"{T0 + 7} step phase=environment seconds=2",
            f"{T0 + 12} step phase=staging seconds=5",
            f"{T0 + 12} run",
        ]
    ends = {"complete": "end code=0 phase=run", "error": "end code=1 phase=run"}
    ends["timeout"] = "end code=75 phase=run signal=USR1"
    if state in ends:
        lines.append(f"{T0 + 305} {ends[state]}")
    (folder / "events").write_text("\n".join(lines) + "\n")
    if state == "running":
        import time

        (folder / "heartbeat").write_text(f"{time.time():.0f}\n")
    text = stderr or (
        "Traceback (most recent call last):\nValueError: bad" if state == "error" else ""
    )
    (folder / "stderr").write_text(f"seqmodel: attempt 1\n{text}\n")
    (folder / "stdout").write_text("run folder: x\n")


def _write_metrics(folder, n_epochs, level, rate, test):
    names = ["epoch", "step", "train_loss", "lr", "valid_loss", "valid_auroc"]
    names += ["test_loss", "test_auroc"] if test else []
    rows = []
    for epoch in range(n_epochs):
        loss = level + math.exp(-rate * epoch)
        blank = [""] * (len(names) - 4)
        rows.append([epoch, 10 * epoch + 9, loss * 0.9, 1e-3, *blank])
        rows.append([epoch, 10 * epoch + 9, "", "", loss, 1 / (1 + loss), *blank[2:]])
    if test:
        rows.append([n_epochs, 10 * n_epochs, "", "", "", "", level + 0.1, 1 / (1.1 + level)])
    text = "\n".join(",".join(map(str, row)) for row in [names, *rows])
    (folder / "metrics.csv").write_text(text + "\n")


def class_curves(names=("neg", "pos"), good=0.8):
    """A test_curves.json of two classes."""
    n = 100
    right = round(n * good)
    x = [i / 20 for i in range(21)]
    points = {"fpr": x, "tpr": [v ** (1 - good) if v else 0.0 for v in x]}
    pr = {"recall": x, "precision": [1 - v * (1 - good) for v in x]}
    reliability = {"predicted": [0.1, 0.5, 0.9], "observed": [0.2, 0.5, 0.8], "n": [70, 60, 70]}
    return {
        "schema": 1,
        "kind": "class",
        "n": 2 * n,
        "names": list(names),
        "confusion": [[right, n - right], [n - right, right]],
        "roc": dict.fromkeys(names, points),
        "pr": dict.fromkeys(names, pr),
        "reliability": dict.fromkeys(names, reliability),
    }


def write_many(root, n):
    """`n` complete runs of a random-like search over four hyperparameters, three seeds each."""
    for i in range(n):
        k = i // 3
        lr = 10 ** (-4 + (k * 37 % 100) / 50)
        layers = 1 + k % 6
        level = 0.2 + 0.1 * (math.log10(lr) + 3) ** 2 + 0.03 * layers + 0.01 * (i % 3)
        write_run(
            root,
            lr=float(f"{lr:.4g}"),
            n_layers=layers,
            seed=i % 3,
            encoder=["cnn", "transformer", "hyena"][k % 3],
            dropout=round(0.05 * (k % 7), 2),
            level=level,
            n_epochs=20,
            curves=class_curves(good=1 - level / 4) if i < 40 else None,
            name=f"point_{k},seed={i % 3}",
        )


def write_every_state(root):
    """One run of each state, another task, a run without a job, and hostile texts."""
    for state in ("created", "queued", "running", "timeout", "error", "complete", "half-made"):
        write_run(root, state=state, lr=1e-4, n_layers=len(state), name=f"{state}_run")
    oom = "slurmstepd: error: Detected 1 oom_kill event in StepId=77.batch. Some of the step tasks"
    write_run(root, state="error", lr=2e-4, stderr=oom, name="oom_run")
    write_run(root, task="regress", monitor="valid_auroc", lr=1e-2, level=0.1, name="regression")
    write_run(root, task="regress", monitor="valid_auroc", lr=2e-2, level=0.2, name="regression2")
    write_run(root, state="complete", job=False, name="by_hand", lr=3e-4, level=0.3)
    write_run(
        root,
        state="error",
        lr=5e-4,
        class_names=[HOSTILE, "b"],
        encoder=HOSTILE,
        name="hostile",
        stderr=f"{HOSTILE}\nValueError: {HOSTILE}",
        curves=class_curves(names=(HOSTILE, "b")),
    )


def audit_report(value=0.5):
    """An audit.json of a file of predictions."""
    score = {"value": value, "low": value - 0.1, "high": value + 0.1}
    model = {"metric": "mcc", "rows": 80, "metrics": {"mcc": score}}
    model |= {"by_containment": [], "without": {}}
    finding = {"name": "duplicates", "text": "test in train: 4 of 80 rows are duplicates"}
    names = ("splits", "within", "duplicates", "similarity", "coordinates")
    report = {"schema": "seqmodel.audit", "version": 1, **{name: {} for name in names}}
    return report | {"model": model, "findings": [finding]}
