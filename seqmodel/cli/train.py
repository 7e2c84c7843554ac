"""`seqmodel train my.csv`: one file to a tested model; what is not given is guessed. Light."""

from __future__ import annotations

from collections.abc import Sequence

from seqmodel.errors import HparamError
from seqmodel.hparam.help import asked_help
from seqmodel.hparam.resolve import read_given
from seqmodel.run import main


def train(argv: Sequence[str]) -> int:
    """Run `seqmodel run --table=FILE`; the file is the word without a name."""
    argv = list(argv)
    if not argv:
        raise HparamError("train needs a file or folder; give it as in: seqmodel train my.csv")
    if asked_help(argv) is not None:
        return main(argv)
    files = read_given(argv, {}).free
    if len(files) > 1:
        raise HparamError(
            f"train takes one file or folder, got {' '.join(map(repr, files))}; put the files "
            "of several splits into one folder as train, valid and test, or give them as "
            "--train_files, --valid_files and --test_files"
        )
    if files:
        at = argv.index("--") if "--" in argv else argv.index(files[0])
        argv = [*argv[:at], *[x for x in argv[at:] if x not in ("--", files[0])]]
    return main([*(f"--table={x}" for x in files), *argv])
