"""metrics.csv as columns and as a summary, against the rows that csv.DictReader gives."""

import csv
import io
import math

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from seqmodel.job.results.log import parse_columns, parse_rows, summary_of

CELLS = st.sampled_from(["", "1", "2.5", "-3", "nan", "inf", "x", '"4"', " 5", "1e400", "0"])
NAMES = st.lists(
    st.sampled_from(["epoch", "step", "train_loss", "lr", "valid_auroc", "test_loss", "test_f1"]),
    min_size=1, max_size=5, unique=True,
)  # fmt: skip


@st.composite
def logs(draw):
    names = draw(NAMES)
    width = st.just(len(names)) if draw(st.booleans()) else st.integers(0, 6)
    rows = draw(st.lists(width.flatmap(lambda n: st.lists(CELLS, min_size=n, max_size=n))))
    return "\n".join(",".join(row) for row in [names, *rows]) + draw(st.sampled_from(["", "\n"]))


def rows_of(text):
    """The same, by the standard library: whole lines alone, and of these the sound ones."""
    found = []
    for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
        try:
            if None not in row and None not in row.values():
                found.append({name: float(x) for name, x in row.items() if x})
        except ValueError:
            pass
    return found


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


@given(logs())
@example('step,lr\n1,"2"\n\n3,4\n')
@example("step\n")
@example("step,valid_auroc,epoch\n,,\n,,0\n5,1,\n,nan,7\n")
def test_a_summary_is_that_of_the_rows(text):
    rows = rows_of(text)
    data = text.encode()
    found = [row for row in parse_rows(data) if row]
    wanted = [row for row in rows if row]
    assert list(map(set, found)) == list(map(set, wanted))
    assert all(same(x[n], y[n]) for x, y in zip(found, wanted, strict=True) for n in x)
    assert len({len(x) for x in parse_columns(data).values()}) < 2

    summary = summary_of(data)
    last = {name: value for row in rows for name, value in row.items()}
    assert list(summary.last) == list(last)
    assert all(same(summary.last[n], last[n]) for n in last)
    for name in last:
        finite = [row[name] for row in rows if math.isfinite(row.get(name, math.nan))]
        assert summary.low.get(name) == min(finite, default=None)
        assert summary.high.get(name) == max(finite, default=None)
    if wanted:
        assert set(summary.ending) == set(rows[-1])
        assert summary.n_rows == len(rows)
    epochs = [
        row["epoch"] for row in rows
        if not any(n.startswith("test_") for n in row) and abs(row.get("epoch", math.inf)) < 1e9
    ]  # fmt: skip
    assert summary.n_epochs == int(max(epochs, default=-1)) + 1


@pytest.mark.parametrize("begin", ["", "step,loss\n1,"])
def test_a_line_that_csv_cannot_read_is_skipped(begin):
    end = "2,3\n" if begin else "step,loss\n2,3\n"
    long = '"' + "x" * (csv.field_size_limit() + 1) + '"\n'
    assert parse_rows((begin + long + end).encode()) == [{"step": 2, "loss": 3}]
