"""`seqmodel run ...` and its other verbs. Light: each verb imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from seqmodel import VERSION
from seqmodel.errors import SeqmodelError
from seqmodel.hparam.value import did_you_mean
from seqmodel.terminal import plain


def _run(argv: Sequence[str]) -> int:
    """Train a model, or test one: the same as `python seqmodel/run.py`."""
    from seqmodel.run import main

    return main(argv)


def _data(argv: Sequence[str]) -> int:
    """Tell what a run would read: `seqmodel data describe --dataset=... [--check] [--json]`."""
    if not argv or argv[0] != "describe":
        print("usage: seqmodel data describe --dataset=... [--name=value ...] [--check] [--json]")
        return 0 if argv[:1] in (["--help"], ["-h"]) else 2
    if "--help" in argv:
        from seqmodel.hparam.resolve import help_text

        print(help_text(argv[1:]), end="")
        return 0
    from seqmodel.hparam.resolve import resolve_data

    run = resolve_data([word for word in argv[1:] if word not in ("--json", "--check")])
    from seqmodel.dataset.build import build_data
    from seqmodel.dataset.describe import as_text, describe

    data = build_data(run)
    checked = {}
    if "--check" in argv:
        from seqmodel.dataset.check import check

        checked = {"checked": check(data)}
    description = describe(data) | checked
    if "--json" in argv:
        import json

        print(json.dumps(description))
    else:
        found = checked.get("checked", {}).items()
        lines = [f"checked: {path}, {n:,} blocks of 1 MiB" for path, n in found]
        print("\n".join([as_text(description), *lines]))
    return 0


def _results(argv: Sequence[str]) -> int:
    """Table of runs: `seqmodel results [FOLDER] [--where lr=0.001] [--sort=best] [--grouped]`."""
    from seqmodel.cli.runs import results_verb

    return results_verb(argv)


def _report(argv: Sequence[str]) -> int:
    """One HTML page about a folder of runs: `seqmodel report [FOLDER] -o report.html`."""
    from seqmodel.cli.runs import report_verb

    return report_verb(argv)


def _search(argv: Sequence[str]) -> int:
    """Submit a search, or go on with it: `seqmodel search FILE.toml`."""
    from seqmodel.cli.runs import search_verb

    return search_verb(argv)


def _advise(argv: Sequence[str]) -> int:
    """What time, memory and CPUs to ask for, from what runs took: `seqmodel advise [FOLDER]`."""
    from seqmodel.cli.runs import advise_verb

    return advise_verb(argv)


def _watch(argv: Sequence[str]) -> int:
    """A live page of all runs with their curves: `seqmodel watch [FOLDER]`."""
    from seqmodel.cli.runs import watch_verb

    return watch_verb(argv)


def _submit(argv: Sequence[str]) -> int:
    """Submit a run as a job, here or on a cluster."""
    from seqmodel.cli.jobs import submit

    return submit(argv)


def _status(argv: Sequence[str]) -> int:
    """Tell the states of runs, from their folders and the scheduler."""
    from seqmodel.cli.jobs import status

    return status(argv)


def _logs(argv: Sequence[str]) -> int:
    """Show the end of what jobs wrote."""
    from seqmodel.cli.jobs import logs

    return logs(argv)


def _cancel(argv: Sequence[str]) -> int:
    """End jobs that wait or run."""
    from seqmodel.cli.jobs import cancel

    return cancel(argv)


def _resume(argv: Sequence[str]) -> int:
    """Go on with runs that timed out or failed."""
    from seqmodel.cli.jobs import resume

    return resume(argv)


def _pull(argv: Sequence[str]) -> int:
    """Copy results from a cluster to here."""
    from seqmodel.cli.jobs import pull

    return pull(argv)


def _prune(argv: Sequence[str]) -> int:
    """Remove half-made folders of submits that were cut off: `seqmodel prune FOLDER`."""
    from seqmodel.cli.jobs import prune

    return prune(argv)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": _run,
    "submit": _submit,
    "status": _status,
    "logs": _logs,
    "cancel": _cancel,
    "resume": _resume,
    "pull": _pull,
    "prune": _prune,
    "data": _data,
    "search": _search,
    "results": _results,
    "report": _report,
    "advise": _advise,
    "watch": _watch,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program's name) and returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    verb = argv[0] if argv else "--help"
    if verb == "--version":
        print(f"seqmodel {VERSION}")
        return 0
    if verb in ("--help", "-h"):
        print(_help())
        return 0
    if verb not in VERBS:
        hint = did_you_mean(verb, list(VERBS))
        print(f"seqmodel: no verb {verb!r}; one of {', '.join(VERBS)}{hint}", file=sys.stderr)
        return 2
    # a folder may have a name that is no UTF-8
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = VERBS[verb](argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # by `| head`: nobody reads what is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SeqmodelError as e:
        print(plain(f"{type(e).__name__}: {e}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _help() -> str:
    lines = [f"seqmodel {VERSION}: deep models of biological sequences", ""]
    for verb, function in VERBS.items():
        lines.append(f"  seqmodel {verb:8} {(function.__doc__ or '').strip()}")
    return "\n".join([*lines, "", "`seqmodel VERB --help` tells more."])


if __name__ == "__main__":
    sys.exit(main())
