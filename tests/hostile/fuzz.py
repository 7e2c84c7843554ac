"""Damages files of every kind and looks at how each command takes it.

python tests/hostile/fuzz.py --cases=20000 --seed=1
python tests/hostile/fuzz.py --seed=1 --only=123      one case again, with what it printed
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # no threads that a fork would lose
os.environ.setdefault("MKL_NUM_THREADS", "1")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile.cases import Corpus, become_subreaper, draw, try_case  # noqa: E402
from hostile.kinds import KINDS  # noqa: E402


def warm() -> None:
    """Imports once what the children need."""
    import tomllib  # noqa: F401

    import h5py  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pybigtools  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import scipy.io  # noqa: F401
    import torch

    import seqmodel.cli.jobs
    import seqmodel.cli.runs
    import seqmodel.dataset.array_data
    import seqmodel.dataset.check
    import seqmodel.dataset.describe
    import seqmodel.dataset.peak_data
    import seqmodel.dataset.store_data
    import seqmodel.dataset.table_data
    import seqmodel.dataset.track_data
    import seqmodel.infer.predict
    import seqmodel.infer.variants
    import seqmodel.model.cnn
    import seqmodel.record.checkpoint
    import seqmodel.task.classify
    import seqmodel.training.build
    import seqmodel.training.trainer  # noqa: F401
    from seqmodel.hparam.resolve import run_parser

    choices = ("--task=", "--dataset=", "--encoder=")
    of_runs = (c for kind in KINDS for c in kind.commands if c[0] not in ("predict", "variants"))
    for words in map(tuple, of_runs):  # definitions are cached
        run_parser([word for word in words if word.startswith(choices)])
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # or each child would copy every page in which an object is counted


def fuzz(numbers: Sequence[int], seed: int, *, loud: bool = False) -> Counter:
    """Runs the cases `numbers` of a seed, prints the findings, returns the verdicts' counts."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its folder is removed then too
    warm()
    become_subreaper()
    counts: Counter = Counter()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.chmod(0o777)
    try:
        corpus = Corpus(folder)
        for number in numbers:
            case, verdict, end = try_case(corpus, seed, number)
            counts[verdict.word] += 1
            if verdict.word == "finding" or loud:
                command = " ".join(case.kind.commands[case.command])
                print(
                    f"#{number} {case.kind.name} | {case.mutation} | {command} | {verdict.word} "
                    f"{verdict.why}",
                    flush=True,
                )
            if loud:
                print(f"exit {end.code}\n{end.out[-2000:]}\n{end.err[-4000:]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000, help="number of cases")
    parser.add_argument("--seed", type=int, default=1, help="seed of all cases")
    parser.add_argument("--part", default="1/1", help="2/2: the second half of the cases")
    parser.add_argument("--only", type=int, help="one case, with what it printed")
    parser.add_argument("--kind", help="only the cases of this kind of file")
    chosen = parser.parse_args(argv)
    part, n_parts = map(int, chosen.part.split("/"))
    numbers = range(part - 1, chosen.cases, n_parts)
    numbers = numbers if chosen.only is None else [chosen.only]
    if chosen.kind:
        numbers = [n for n in numbers if draw(chosen.seed, n)[0].kind.name == chosen.kind]
    start = time.monotonic()
    counts = fuzz(numbers, chosen.seed, loud=chosen.only is not None)
    print(
        f"{sum(counts.values())} cases: {counts['right']} right, {counts['refused']} refused, "
        f"{counts['finding']} findings; seed {chosen.seed}, {time.monotonic() - start:.0f} s"
    )
    return int(counts["finding"] > 0)


if __name__ == "__main__":
    sys.exit(main())
