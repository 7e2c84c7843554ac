"""Checkpoints of small untrained models, one for each encoder, exported in every way.

    python tests/export_cases.py FOLDER CASE...

writes CASE.ckpt, CASE.onnx, CASE.pt2 and the folder CASE.folder of each, and prints the warnings.
It is a program of its own, because torch cannot trace the checks of shapes that tests have.
"""

import sys
from pathlib import Path

import torch
from model_cases import PLUGINS

import seqmodel
from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.hparam.resolve import resolve
from seqmodel.record import checkpoint
from seqmodel.task.build import build_task

SEQ_LEN = 24
KINDS = ("folder", "onnx", "pt2")
OPTIONS = {"": {}, "rc": {"rc_equivariant": True}, "causal": {"causal": True}}
OWN = {"transformer": {"n_heads": 2}, "hyena": {"filter_length": 8}}
DATA = {"dataset": "table", "train_files": ["unknown"], "task": "classify", "seq_len": SEQ_LEN}


def save(path: Path, encoder: str, **options: object) -> None:
    """Writes the checkpoint of a newly initialised model, the same at each call."""
    given = {**DATA, "n_dims": 8, "n_layers": 1, "plugins": list(PLUGINS), "encoder": encoder}
    run = resolve({**given, **options}, files_here=False)
    alphabet, targets = alphabet_from_name("dna"), Targets("class", ("a", "b"))
    torch.manual_seed(0)
    task = build_task(run, alphabet, targets)
    entry = checkpoint.stamp(
        vars(run.values),
        alphabet=alphabet.to_dict(),
        targets=targets.to_dict(),
        splits={},
        data={},
        seq_len=SEQ_LEN,
    )
    checkpoint.save({"state_dict": task.state_dict(), "seqmodel": entry}, path)


def export(folder: Path, case: str) -> None:
    """Writes a checkpoint and what is exported of it."""
    encoder, _, option = case.partition("-")
    path = folder / f"{case}.ckpt"
    save(path, encoder, **{**OWN.get(encoder, {}), **OPTIONS[option]})
    model = seqmodel.load(path, plugins=PLUGINS)
    for kind in KINDS:
        seqmodel.export(model, folder / f"{case}.{kind}")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        export(Path(sys.argv[1]), name)
