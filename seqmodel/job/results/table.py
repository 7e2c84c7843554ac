"""A table of runs: one row per replicate, or mean and standard deviation over replicates.

    from seqmodel.job.results import results
    table = results("out")                       # or job.results()
    table.where("state=complete", "lr<1e-3").sort_by("best")
    table.grouped()                              # over replicates
    table.to_pandas(), table.write("runs.csv")   # also .tsv .md .tex .json .parquet

Runs that differ only in their seed are replicates of each other.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from seqmodel.errors import JobError
from seqmodel.hparam.value import did_you_mean
from seqmodel.job.os_interface import Interface
from seqmodel.job.results.naming import names_of, untracked, varying
from seqmodel.job.results.result import Result, mode, read_results
from seqmodel.trust.student import mean_interval

Row = dict[str, Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def results(root: str = "out", interface: Interface | None = None) -> Results:
    """Return the runs below `root` on this host, or on the host of `interface`."""
    return Results(read_results(root, interface))


class Results(list[Result]):
    """A list of runs that prints as a table."""

    def __init__(self, found: Iterable[Result]) -> None:
        super().__init__(found)

    @cached_property
    def varying(self) -> list[str]:
        """Return the hyperparameters that name a run and vary among the runs, the seed last."""
        return varying([result.hparams for result in self])

    @property
    def names(self) -> list[str]:
        """Return a name for each run, made of what varies among them; see naming.names_of."""
        return names_of([r.hparams for r in self], [r.folder for r in self])

    def rows(self) -> list[Row]:
        """Return one plain dict per replicate; missing values are None."""
        return [dict(row) for row in self._rows]

    @cached_property
    def _rows(self) -> list[Row]:
        tests = self.test_columns()
        return [self._row(result, tests) for result in self]

    def test_columns(self) -> list[str]:
        """Return the test scores that any run has, without the scores of single targets."""
        names: dict[str, None] = {}
        for result in self:
            ending = result.summary.ending
            names |= dict.fromkeys(n for n in ending if n.startswith("test_") and "/" not in n)
        return sorted(names)

    def _row(self, result: Result, tests: Sequence[str]) -> Row:
        monitor = result.monitor
        return {
            "run": result.canonical,
            "version": result.version,
            "state": result.status.state,
            "reason": result.status.reason,
            **{name: plain(result.hparams.get(name)) for name in self.varying},
            "monitor": monitor if result.summary.n_rows else None,
            "best": result.best(monitor),
            "last": result.last(monitor),
            **{name: result.last(name) for name in tests},
            "epochs": result.n_epochs or None,
            "elapsed_s": round(result.elapsed_s, 1) or None,
            "peak_memory_gb": _gb(result.peak_memory),
            "staging_s": result.staging_s,
            "folder": result.folder,
        }

    def grouped(self) -> list[Row]:
        """Return one row per group of runs that differ only in their seed: mean, interval, sd, n.

        `low` and `high` are the ends of the 95 % t interval of the mean over seeds. `n` is the
        number of seeds with a score; repeats with the same seed are equal and count once. `sd`,
        `low` and `high` are None if n < 2.
        """
        groups: dict[str, list[tuple[object, Row]]] = {}
        for result, row in zip(self, self.rows(), strict=True):
            pair = (result.hparams.get("seed", result.folder), row)
            groups.setdefault(group_key(result), []).append(pair)
        names = [name for name in self.varying if name != "seed"]
        tests = self.test_columns()
        return [_group_row(group, names, tests) for group in groups.values()]

    def where(self, *conditions: str) -> Results:
        """Return the runs that satisfy all conditions: `state=complete`, `lr<1e-3`, `best>=0.9`.

        Conditions can also name hyperparameters that are equal in all runs and so have no column.

        Raises:
            JobError: A condition is invalid, or names neither a column nor a hyperparameter.
        """
        if not conditions:
            return Results(self)
        rows = self._wide_rows()
        tests = [_condition(text, rows) for text in conditions]
        kept = [r for r, row in zip(self, rows, strict=True) if all(t(row) for t in tests)]
        return Results(kept)

    def sort_by(self, column: str, *, descending: bool | None = None) -> Results:
        """Sort the runs by a column, runs without a value last; scores start with the best."""
        rows = self._wide_rows()
        if rows and column not in rows[0]:
            raise JobError(_no_column(column, rows[0]))
        if descending is None:
            descending = self._better_high(column)
        pairs = [(row[column], i) for i, row in enumerate(rows)]
        there = [(value, i) for value, i in pairs if value is not None and value == value]
        numbers = all(isinstance(value, (int, float)) for value, _ in there)
        there.sort(key=lambda pair: pair[0] if numbers else str(pair[0]), reverse=descending)
        order = [i for _, i in there]
        rest = sorted(set(range(len(self))).difference(order))
        return Results(self[i] for i in [*order, *rest])

    def _wide_rows(self) -> list[Row]:
        """Return the rows, with all hyperparameters after the other columns."""
        names = dict.fromkeys(name for result in self for name in result.hparams)
        return [
            {**row, **{n: plain(result.hparams.get(n)) for n in names if n not in row}}
            for result, row in zip(self, self.rows(), strict=True)
        ]

    def _better_high(self, column: str) -> bool:
        if column in ("best", "last"):
            return all(mode(result.monitor) == "max" for result in self)
        return column.startswith("test_") and mode(column) == "max"

    def to_pandas(self) -> Any:
        """Return `rows()` as a data frame.

        Raises:
            JobError: Pandas is not installed.
        """
        from seqmodel.job.results.text import frame

        return frame(self.rows())

    def write(self, path: str, *, grouped: bool = False) -> None:
        """Write the table in the format of the suffix: .csv .tsv .md .tex .json .parquet."""
        from seqmodel.job.results.text import write

        write(self.grouped() if grouped else self.rows(), path)

    def text(self, kind: str = "md", *, grouped: bool = False) -> str:
        """Return the table as csv, tsv, md, tex or json."""
        from seqmodel.job.results.text import as_text

        return as_text(self.grouped() if grouped else self.rows(), kind)

    def __repr__(self) -> str:
        from seqmodel.job.results.text import shown, table

        return table(shown(self.rows())) if self else "no runs"

    def _repr_html_(self) -> str:
        from seqmodel.job.results.text import cell, shown
        from seqmodel.terminal import html_table

        rows = shown(self.rows())
        if not rows:
            return "<p>no runs</p>"
        return html_table(rows[0], (map(cell, row.values()) for row in rows))


def group_key(result: Result) -> str:
    """Return a key that is equal for runs that differ only in their seed."""
    names = {n: v for n, v in result.hparams.items() if n not in untracked() and n != "seed"}
    return json.dumps(names, sort_keys=True) if names else result.canonical


def plain(value: object) -> Any:
    """Return a hyperparameter's value for a cell: list items are separated by spaces."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _group_row(group: list[tuple[object, Row]], names: list[str], tests: list[str]) -> Row:
    rows = [row for _, row in group]
    first = rows[0]
    found: Row = {"run": first["run"], **{name: first[name] for name in names}}
    found["monitor"] = next((row["monitor"] for row in rows if row["monitor"]), None)
    found["replicates"] = len(rows)
    found["complete"] = sum(row["state"] == "complete" for row in rows)
    for column in ("best", "last", *tests):
        by_seed: dict[object, list[float]] = {}
        for seed, row in group:
            if row[column] is not None and math.isfinite(row[column]):
                by_seed.setdefault(seed, []).append(row[column])
        values = [math.fsum(each) / len(each) for each in by_seed.values()]
        mean, sd = mean_sd(values)
        low, high = mean_interval(values) or (None, None)
        found |= {f"{column}_mean": mean, f"{column}_low": low, f"{column}_high": high}
        found |= {f"{column}_sd": sd, f"{column}_n": len(values)}
    elapsed = [row["elapsed_s"] for row in rows if row["elapsed_s"] is not None]
    found["elapsed_s_mean"] = mean_sd(elapsed)[0]
    return found


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and sample standard deviation (n - 1); None if there are too few values."""
    if not values:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _condition(text: str, rows: Sequence[Row]) -> Callable[[Row], bool]:
    for sign in _OPERATORS:
        name, found, wanted = text.partition(sign)
        if found and name and not name.endswith(("<", ">", "!")):
            break
    else:
        raise JobError(f"condition {text!r}: write name=value, or use != < <= > >= in place of =")
    compare = _OPERATORS[sign]
    if rows and name.strip() not in rows[0]:
        raise JobError(_no_column(name.strip(), rows[0]))

    def holds(row: Row) -> bool:
        return _compare(compare, row.get(name.strip()), wanted.strip())

    return holds


def _compare(compare: Callable[[Any, Any], bool], value: object, wanted: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return compare is operator.ne
    if compare in (operator.eq, operator.ne):
        return compare("" if value is None else str(value), wanted)
    return value is not None and compare(str(value), wanted)


def _no_column(name: str, row: Row) -> str:
    # the columns, without the other hyperparameters, which follow them
    columns = list(row)[: list(row).index("folder") + 1]
    return f"no column {name!r}; use one of {', '.join(columns)}{did_you_mean(name, list(row))}"


def _gb(n_bytes: float | None) -> float | None:
    return None if n_bytes is None else round(n_bytes / 2**30, 3)
