"""`python seqmodel/run.py --task=...`: from command-line arguments to an exit code.

A user error prints one line and exits with code 2. Heavy packages are imported only after the
hyperparameters have been checked; seqmodel/training/execute.py does the run.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):  # started as a script: its own folder would shadow other modules
    _here = os.path.dirname(os.path.abspath(__file__))
    if sys.path[0] in (_here, os.path.realpath(_here)):
        del sys.path[0]
    # the parent folder: first for this package, then last, so none of its files shadows torch
    sys.path.insert(0, os.path.dirname(_here))
    import seqmodel  # noqa: F401

    sys.path.append(sys.path.pop(0))

from seqmodel.errors import DivergedError, SeqmodelError
from seqmodel.heavy import heavy_imports
from seqmodel.hparam.help import asked_help, help_text
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.verb import PARTED
from seqmodel.record.folder import is_other_rank
from seqmodel.terminal import plain, show_warning
from seqmodel.trials import after_trials

if TYPE_CHECKING:
    from seqmodel.training.execute import AfterTest

USAGE = """usage: seqmodel train FILE [--name=value ...]
       seqmodel run --task=TASK --dataset=KIND [--name=value ...]  (or python seqmodel/run.py ...)

FILE is a table, BED or FASTA file, or a folder of them; options that you leave out are guessed.
example: seqmodel run --task=classify --dataset=table --train_files=train.csv --test_prop=0.2"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program name) and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    warnings.showwarning = show_warning
    try:
        if argv[:1] == ["after_trials"]:  # of a job
            return after_trials(argv[1:], main, _heavy)
        if "--mode=predict" in argv or ("--mode", "predict") in pairwise(argv):
            from seqmodel.cli.infer import predict_as_run

            return predict_as_run(argv)
        if argv and argv[0] in PARTED:  # a job of a verb
            from seqmodel.cli import infer

            code: int = getattr(infer, argv[0])(argv[1:])
            return code
        if asked_help(argv) is not None:
            print(f"{USAGE}\n\n{help_text(argv)}", end="")
            return 0
        run = resolve(argv)
        if run.guessed and not is_other_rank():
            print(plain(str(run.guessed)), flush=True)
        execute, after_test = _heavy()
        execute(run, after_test)
    except SeqmodelError as e:
        if not (isinstance(e, DivergedError) and is_other_rank()):  # all ranks see it at once
            print(plain(f"{type(e).__name__}: {e}"), file=sys.stderr)
        return e.exit_code
    return 0


def _heavy() -> tuple[Callable[..., Any], AfterTest]:
    """Return the functions that need torch: the run, and what it shows after its test."""
    with heavy_imports(freeze=True):
        from seqmodel.training.execute import execute
        from seqmodel.trust.short import after_test
    return execute, after_test


if __name__ == "__main__":
    sys.exit(main())
