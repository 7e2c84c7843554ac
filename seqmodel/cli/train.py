"""`seqmodel train my.csv`: one file to a tested model; what is not given is guessed. Light."""

from __future__ import annotations

from collections.abc import Sequence

from seqmodel.cli.given import wants_help
from seqmodel.errors import HparamError
from seqmodel.hparam.resolve import read_given
from seqmodel.run import main


def train(argv: Sequence[str]) -> int:
    """Does what `seqmodel run --table=FILE` does; the file stands where a folder may stand."""
    argv = list(argv)
    if wants_help(argv):
        return main(argv)
    files = read_given(argv, {}).free
    if len(files) > 1:
        raise HparamError(
            f"train takes one file or folder, got {' '.join(map(repr, files))}; name files of "
            "several splits train, valid and test in one folder, or give them by --train_files, "
            "--valid_files and --test_files"
        )
    if files:
        at = argv.index("--") if "--" in argv else argv.index(files[0])
        argv = [*argv[:at], *[x for x in argv[at:] if x not in ("--", files[0])]]
    return main([*(f"--table={x}" for x in files), *argv])
