"""Two ranks against one: the same losses, the same weights, the same scores of a split."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent.parent

PROGRAM = textwrap.dedent(
    """
    import json, logging, sys, warnings
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch
    torch.set_num_threads(1)
    from task_cases import *
    from seqmodel.hparam.task import *

    kind, n_ranks, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]

    def whole(seed, n=16):
        batch = batch_of(n, 24, seed=seed)
        letters = batch["tokens"]
        letters[: n // 2, 4:20] = DNA.unknown_id  # ranks with unequal numbers of known letters
        if kind == "classify":
            batch["target"] = (letters == 0).sum(1) % 2
        if kind == "multilabel":
            batch["target"] = torch.stack([(letters == i).sum(1) % 2 for i in range(3)], 1).float()
            batch["target"][:5, 1] = float("nan")
        return batch

    class Shared(Batches):
        # each rank has a half of each batch
        def __iter__(self):
            for batch in self.batches:
                rank = trainer.global_rank
                size = len(batch["index"]) // n_ranks
                yield {k: v[rank * size : (rank + 1) * size] for k, v in batch.items()}

    hparams, targets = {
        "masked": (MaskedHparams(mask_prop=0.3), NO_TARGETS),
        "classify": (ClassifyHparams(class_weights=[1, 3]), TWO_CLASSES),
        "multilabel": (MultilabelHparams(), Targets("multilabel", ("a", "b", "c"))),
    }[kind]
    task = task_of(hparams, targets)
    trainer = trainer_of(
        folder, devices=n_ranks, strategy="ddp" if n_ranks > 1 else "auto", log_every_n_steps=1,
        use_distributed_sampler=False,
    )
    trainer.fit(task, Shared([whole(i) for i in range(6)]), Shared([whole(i) for i in (7, 8)]))
    values = {k: float(v) for k, v in trainer.callback_metrics.items() if k != "lr"}
    if trainer.global_rank == 0:
        torch.save(task.state_dict(), folder + "/weights.pt")
        open(folder + "/values.json", "w").write(json.dumps(values))
    """
)


def trained(kind, n_ranks, folder):
    program = folder / "program.py"
    program.write_text(PROGRAM)
    path = {"PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(program), kind, str(n_ranks), str(folder)],
        env=path,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads((folder / "values.json").read_text())
    return values, torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["masked", "classify", "multilabel"])
def test_two_ranks_with_half_batches_are_one_with_whole_ones(kind, tmp_path):
    runs = []
    for n_ranks in (1, 2):
        folder = tmp_path / str(n_ranks)
        folder.mkdir()
        runs.append(trained(kind, n_ranks, folder))
    (one, weights_of_one), (two, weights_of_two) = runs
    assert one.keys() == two.keys()
    assert {"train_loss", "valid_loss"} < one.keys()
    assert two == pytest.approx(one, rel=1e-4)
    for name, weight in weights_of_one.items():
        torch.testing.assert_close(weights_of_two[name], weight, rtol=1e-3, atol=2e-5)
