"""A step's gradient is that of the weighted mean over all its batches and ranks, however divided.

The oracle is one batch that holds all samples of a step.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from step_cases import TASKS, flat, new_task, trained

HERE = Path(__file__).parent.parent

# 22 samples: an accumulation of 4 batches of 2 ends an epoch with 3 of them, one of 3 of 3 with
# 2 whole batches and one of a single sample
DIVISIONS = [(8, 2, 4), (9, 3, 3), (22, 4, 6)]


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=1e-12)
    assert one[1] == pytest.approx(other[1], rel=1e-6)  # Lightning keeps what is logged in float32


@pytest.mark.parametrize("clip", [None, 0.05], ids=["", "clipped"])
@pytest.mark.parametrize(
    "division",
    [DIVISIONS[0], *(pytest.param(x, marks=pytest.mark.slow) for x in DIVISIONS[1:])],
    ids=str,
)
@pytest.mark.parametrize("kind", TASKS)
def test_accumulated_batches_are_one_large_batch(kind, division, clip, tmp_path):
    large, small, accumulate = division
    whole = trained(kind, tmp_path, large, gradient_clip_val=clip)
    parts = trained(kind, tmp_path, small, accumulate, gradient_clip_val=clip)
    assert_same(parts, whole)


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-5), ("bf16-mixed", 0.02)])
@pytest.mark.parametrize("kind", ["masked", "classify", "regress", "poisson"])
def test_accumulated_batches_are_one_large_batch_in_other_precisions(
    kind, precision, tolerance, tmp_path
):
    whole, loss = trained(kind, tmp_path, 8, precision=precision)
    parts, loss_of_parts = trained(kind, tmp_path, 2, 4, precision=precision)
    moved = (whole - flat(new_task(kind))).norm()
    assert (parts - whole).norm() < tolerance * moved
    assert loss_of_parts == pytest.approx(loss, rel=tolerance)


PROGRAM = textwrap.dedent(
    """
    import json, logging, os, sys, warnings
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch
    torch.set_num_threads(1)
    from step_cases import TASKS, trained

    folder, rank = sys.argv[1], int(os.environ.get("LOCAL_RANK", 0))
    found = {}
    for kind in TASKS:
        for clip in (None, 0.05):
            for size, accumulate in ((4, 1), (1, 4), (2, 3)):
                found[kind, clip, size * accumulate, accumulate] = trained(
                    kind, folder, size, accumulate, n_ranks=2, rank=rank, gradient_clip_val=clip
                )
    if rank == 0:
        torch.save([[*key, *value] for key, value in found.items()], folder + "/found.pt")
    """
)


@pytest.mark.slow
def test_ranks_that_accumulate_are_one_rank_with_one_large_batch(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = {"PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env=path,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert len(found) == len(TASKS) * 2 * 3
    whole = {}
    for kind, clip, size, _, *two_ranks in found:
        if (kind, clip, size) not in whole:
            whole[kind, clip, size] = trained(kind, tmp_path, 2 * size, gradient_clip_val=clip)
        assert_same(two_ranks, whole[kind, clip, size])
