"""A live table of all runs on a terminal, with sparklines (needs rich, extra `report`)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from seqmodel.errors import JobError
from seqmodel.extras import optional
from seqmodel.job.results.result import Result
from seqmodel.job.results.table import Results
from seqmodel.job.results.text import cell
from seqmodel.report.content import shown_state
from seqmodel.terminal import plain_line

BARS = "▁▂▃▄▅▆▇█"
COLOURS = {
    "complete": "green",
    "running": "blue",
    "error": "red",
    "timeout": "yellow",
    "diverged": "yellow",
    "damaged": "magenta",
}
_FIRST = {"running": 0, "created": 1, "error": 2, "timeout": 2, "damaged": 2, "complete": 3}
WIDE = 110
LEFT_OUT = ("score", "epochs")
"""Columns that a terminal of fewer than WIDE characters leaves to the names."""
COLUMNS = ("state", "curve", "score", "last", "best", "epochs", "time")
HOUR_S = 3600


def watch(
    look: Callable[[], Results],
    *,
    every_s: float = 5.0,
    once: bool = False,
    n_rows: int | None = None,
    file: Any = None,
) -> None:
    """Shows the runs that `look` returns, until Ctrl-C or until all of them have ended.

    Args:
        look: returns the runs.
        every_s: seconds between two updates.
        once: whether to show the runs once and return.
        n_rows: number of runs to show; if unset, as many as fit.
        file: where to write; if unset, the terminal.

    Raises:
        JobError: rich is missing.
    """
    live = optional("rich.live", "watch", "report", JobError)
    console = optional("rich.console", "watch", "report", JobError).Console(file=file or sys.stdout)
    if once or not console.is_terminal:
        console.print(page(look(), n_rows or 1000, console.width))
        return
    with live.Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            found = look()
            height = n_rows or max(3, console.height - 5)
            screen.update(page(found, height, console.width), refresh=True)
            if found and all(r.status.is_final for r in found):
                break
            time.sleep(every_s)
    console.print(page(found, n_rows or 1000, console.width))


def page(found: Results, n_rows: int, width: int = WIDE) -> Any:
    """The runs as a table of rich: running ones first, then waiting ones, then the others."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_counts(found), title_justify="left", box=None, expand=True)
    table.add_column("run", ratio=1, min_width=12, overflow="fold")
    columns = [name for name in COLUMNS if width >= WIDE or name not in LEFT_OUT]
    for name in columns:
        right = name in ("last", "best", "epochs", "time")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    pairs = zip(found, found.names, strict=True)
    for result, name in sorted(pairs, key=lambda x: _FIRST[x[0].status.state])[:n_rows]:
        status = result.status
        shown, reason = shown_state(result)
        why = "" if shown == "damaged" else reason
        words = " ".join(filter(None, [shown, why]))
        state = Text(plain_line(words[:30]), style=COLOURS.get(shown, "default"))
        named = name if found.varying else f"{result.canonical}, {name}"
        if status.state == "damaged":
            named = f"{result.canonical}: {status.reason}"
        scores = dict(zip(COLUMNS[1:], _scores(result), strict=True))
        cells = [Text(plain_line(scores[name])) for name in columns[1:]]
        table.add_row(Text(plain_line(named)), state, *cells)
    if len(found) > n_rows:
        table.caption = f"{len(found) - n_rows} more"
    return table


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """A curve in `width` characters: the mean of each part, from the lowest to the highest bar."""
    there = [value for value in values if math.isfinite(value)]
    if not there:
        return ""
    n = min(width, len(there))
    edges = [len(there) * i // n for i in range(n + 1)]
    parts = [there[a:b] for a, b in pairwise(edges)]
    means = [math.fsum(part) / len(part) for part in parts]
    lo, hi = min(means), max(means)
    scale = (len(BARS) - 1) / (hi - lo) if hi > lo else 0.0
    return "".join(BARS[round((mean - lo) * scale)] for mean in means)


def _scores(result: Result) -> list[str]:
    monitor = result.monitor
    name = monitor if result.last(monitor) is not None else "train_loss"
    seconds = result.elapsed_s
    time_text = f"{seconds / HOUR_S:.1f} h" if seconds >= HOUR_S else f"{seconds / 60:.1f} min"
    return [
        sparkline([value for _, value in result.curve(name)]),
        name if result.summary.n_rows else "",
        cell(result.last(name)),
        cell(result.best(name)),
        str(result.n_epochs or ""),
        time_text if seconds else "",
    ]


def _counts(found: Results) -> str:
    states: dict[str, int] = {}
    for result in found:
        state, _ = shown_state(result)
        states[state] = states.get(state, 0) + 1
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    return f"{len(found)} runs: {counts}" if found else "no runs yet"
