"""Format an audit as text, one line for each check. Light: the standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seqmodel.record.run_files import Damaged

SCHEMA, VERSION = "seqmodel.audit", 1
NAME = "audit.json"
"""Of the report in the folder of a run."""


def as_text(report: Mapping[str, Any]) -> str:
    """Format the report of an audit as lines of text."""
    return "\n".join(
        [
            *_splits(report),
            *_pairs(report),
            *_base(report),
            *_baselines(report),
            *_model(report),
            *_markov(report),
            *_findings(report),
        ]
    )


def check_audit(record: Mapping[str, Any]) -> None:
    """Check that audit.json can be shown.

    Raises:
        Damaged: The file is not a report of this version.
    """
    if not record:
        return
    if (record.get("schema"), record.get("version")) != (SCHEMA, VERSION):
        raise Damaged(f"audit.json is not version {VERSION} of {SCHEMA}")
    try:
        as_text(record)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as e:
        raise Damaged(f"audit.json is not the report of an audit ({type(e).__name__}: {e})") from e


def number(x: float | None, digits: int = 3) -> str:
    """Format a number with a fixed number of digits; a dash for None."""
    return "-" if x is None else f"{x:.{digits}f}"


def span(x: Mapping[str, Any]) -> str:
    """Format a value and its 95 % interval."""
    if x["low"] is None:
        return number(x["value"])
    return f"{number(x['value'])} ({number(x['low'])} to {number(x['high'])})"


def _splits(report: Mapping[str, Any]) -> Iterator[str]:
    for name, x in report["splits"].items():
        drawn = f" ({x['examined']:,} drawn)" if x["examined"] < x["rows"] else ""
        classes = x.get("classes")
        more = ""
        if classes:
            most = list(classes.items())[:5]
            more = "; " + ", ".join(f"{n:,} of class {label}" for label, n in most)
        size = f"{x['shortest']} to {x['longest']} positions"
        yield f"{name}: {x['rows']:,} rows{drawn} of {size}{more}"
    for name, x in report["within"].items():
        parts = [f"{x['same']:,} duplicates"]
        parts += _if(x["other_label"], "with another label")
        parts += _if(x["reverse_complement"], "reverse complements")
        parts += _if(x["same_name"], "repeated names")
        parts += _if(x["unknown_letters"], "with unknown symbols")
        yield f"within {name}: {', '.join(parts)}"


def _pairs(report: Mapping[str, Any]) -> Iterator[str]:
    for key, x in report["duplicates"].items():
        parts = [f"{x['same']:,} duplicates"]
        parts += _if(x["other_label"], "with another label")
        parts += _if(x["reverse_complement"], "reverse complements")
        parts += _if(x["same_name"], "with the same name")
        near = report["similarity"].get(key)
        if near:
            shares = ", ".join(f"{v:.1%} at {at}" for at, v in near["share_at"].items())
            parts.append(f"containment of {near['k']}-mers: {shares}")
        there = report["coordinates"].get(key)
        if there:
            parts.append(f"{there['overlapping']:,} overlap ({there['bp']:,} bp)")
        yield f"{key}: {', '.join(parts)}"
        for row in (near or {"worst": []})["worst"][:3]:
            if row["containment"] < 1:
                names = [x or "" for x in (row["name"], row["train_name"])]
                yield (
                    f"  row {row['row']} {names[0]}: {row['containment']:.0%} of its k-mers are in "
                    f"training row {row['train_row']} {names[1]}".rstrip()
                    + _aligned(row)
                )


def _aligned(row: Mapping[str, Any]) -> str:
    """Format the alignment of a row, if it has one."""
    if "identity" not in row:
        return ""
    return (
        f", strand {row['strand']} at offset {row['offset']}, "
        f"{row['identity']:.1%} identity over {row['overlap']} positions"
    )


def _base(report: Mapping[str, Any]) -> Iterator[str]:
    x = report.get("base")
    if x is None:
        return
    if x["known"]:
        where = (
            f"contigs of {x['on_seen_contigs']:,} test rows, around {x['in_seen_range']:,} of them"
        )
        yield f"{x['checkpoint']} was trained on the {where}"
    else:
        yield f"{x['checkpoint']}: its header names no contig that it was trained on"


def _if(n: int | None, what: str) -> list[str]:
    return [f"{n:,} {what}"] if n else []


def _baselines(report: Mapping[str, Any]) -> Iterator[str]:
    x = report.get("baselines")
    if x is None:
        return
    yield f"baselines, test {x['metric']} (95 % interval; groups: {x['groups']}):"
    for name, score in x["scores"].items():
        best = "  best" if name == x["best"] else ""
        unseen = "  not seen by a model" if name in x["unseen"] else ""
        yield f"  {name:16} {span(score)}{best}{unseen}"
    if not x["scores"]:
        yield "  none: nothing in train varies"


def _model(report: Mapping[str, Any]) -> Iterator[str]:
    x = report.get("model")
    if x is None:
        return
    yield f"model, {x['rows']:,} test rows (95 % interval):"
    for name, score in x["metrics"].items():
        yield f"  {name:16} {span(score)}"
    if better := x.get("better_than"):
        yield f"  {x['metric']} less that of {better['name']}: {span(better)}"
    for row in x["by_containment"]:
        yield f"  {x['metric']} at containment {row['band']:8} {span(row)}, {row['n']:,} rows"
    for name, row in x["without"].items():
        yield f"  {x['metric']} without {name}: {span(row)}, {row['n']:,} rows"


def _markov(report: Mapping[str, Any]) -> Iterator[str]:
    for name, nats in report.get("markov", {}).items():
        yield f"Markov chain, {name}: {number(nats, 4)} nats a letter"


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    found, looks = report["findings"], report.get("looks", 0)
    if looks > 1:
        yield f"{looks:,} runs have scored these test rows: the best of them is too good"
    if not found:
        yield "nothing was found that is wrong"
    for x in found:
        yield f"{x['name']}: {x['text']}"
