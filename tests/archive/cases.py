"""The small runs whose checkpoints tests/archive/<version>/ keeps, one for each task.

    python tests/archive/cases.py            # writes tests/archive/<VERSION>/

It refuses to change the folder of a version that is released (tagged): what a released version
wrote must stay as it was written.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from seqmodel import VERSION  # noqa: E402
from seqmodel.hparam.digest import definition_digests  # noqa: E402
from seqmodel.hparam.resolve import resolve  # noqa: E402

SMALL = {
    "encoder": "dilated_conv",
    "n_layers": 1,
    "n_dims": 8,
    "batch_size": 8,
    "max_epochs": 1,
    "accelerator": "cpu",
    "progress": "none",
}
FASTA = {"fasta": ["g.fa"], "seq_len": 64, "valid_contigs": ["b"], "test_contigs": ["c"]}
TABLE = {"dataset": "table", **{f"{s}_files": [f"{s}.csv"] for s in ("train", "valid", "test")}}
CASES = {
    "masked": {"task": "masked", **FASTA},
    "causal": {"task": "causal", "encoder": "transformer", "n_heads": 2, "causal": True, **FASTA},
    "classify": {"task": "classify", "dataset": "bed", "intervals": ["g.bed"], **FASTA},
    "multilabel": {
        "task": "multilabel",
        "label_kind": "multilabel",
        "label_columns": ["one", "two"],
        **TABLE,
    },
    "regress": {"task": "regress", "label_kind": "real", "label_columns": ["value"], **TABLE},
    "profile": {
        "task": "profile",
        "dataset": "tracks",
        "intervals": ["g.bed"],
        "tracks": ["t.bw"],
        "bin_len": 8,
        "bin_positions": 8,
        **FASTA,
    },
}


def write_data(folder: Path) -> None:
    """The data of all cases: a genome of three contigs, windows, tables and a track."""
    import pybigtools

    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 1024)) for name in "abc"}
    (folder / "g.fa").write_text("".join(f">{n}\n{s}\n" for n, s in contigs.items()))
    windows = [(c, s, i % 2) for c in "abc" for i, s in enumerate(range(0, 1024, 64))]
    (folder / "g.bed").write_text("".join(f"{c}\t{s}\t{s + 64}\t{x}\n" for c, s, x in windows))
    for split, contig in (("train", "a"), ("valid", "b"), ("test", "c")):
        lines = ["sequence,one,two,value"]
        lines += [
            f"{contigs[c][s : s + 64]},{x},{1 - x},{s / 99}" for c, s, x in windows if c == contig
        ]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    values = [(c, s, s + 32, float(s % 7)) for c in "abc" for s in range(0, 1024, 32)]
    file = pybigtools.open(str(folder / "t.bw"), "w")
    file.write(dict.fromkeys(contigs, 1024), iter(values))


def outputs(task: torch.nn.Module) -> list[float]:
    """What a model gives for a fixed input: the first numbers, and the sum of all."""
    tokens = torch.arange(128, dtype=torch.uint8).view(2, 64) % 4
    with torch.no_grad():
        flat = task.eval()(tokens).double().flatten()
    return [*flat[:4].tolist(), float(flat.sum())]


def main() -> None:
    """Trains each case and keeps its checkpoint, hyperparameters and outputs."""
    from seqmodel.training.build import build
    from seqmodel.training.execute import execute

    tag = subprocess.run(["git", "tag", "--list", f"v{VERSION}"], capture_output=True, text=True)
    if tag.stdout.strip():
        sys.exit(f"v{VERSION} is released; its archive stays as it is")
    target = HERE / VERSION
    target.mkdir(exist_ok=True)
    expected = {}
    with tempfile.TemporaryDirectory() as name, chdir(name):
        write_data(Path(name))
        for case, values in CASES.items():
            execute(resolve({**SMALL, **values, "default_root_dir": case}))
            path = Path(case, "checkpoints/last.ckpt")
            (target / f"{case}.ckpt").write_bytes(path.read_bytes())
            loaded = build(resolve({"mode": "test", "load_checkpoint_path": str(path)}))
            expected[case] = outputs(loaded.task)
    (target / "outputs.json").write_text(json.dumps(expected, indent=1) + "\n")
    digests = HERE / "definitions.json"
    known = json.loads(digests.read_text()) if digests.exists() else {}
    digests.write_text(json.dumps({**known, VERSION: definition_digests()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
