"""The command `seqmodel`: one table of verbs, and one file for each group of verbs. Light."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (default: the command line) names and return the exit code."""
    from seqmodel.cli.verbs import main

    return main(argv)
