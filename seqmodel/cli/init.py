"""`seqmodel init classify -o config.toml`: a config file for a task, with comments. Light."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.files import create
from seqmodel.hparam.help import asked_help, help_text
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.registry import known_hparams, role_choices
from seqmodel.hparam.resolve import read_given, resolve, run_parser
from seqmodel.hparam.table import NAME as TABLE
from seqmodel.hparam.trust import TRUST
from seqmodel.hparam.value import did_you_mean
from seqmodel.hparam.words import VALUE
from seqmodel.terminal import plain

_TABLE = {
    "dataset": "table",
    "train_files": ["train.csv"],
    "valid_files": ["valid.csv"],
    "test_files": ["test.csv"],
    "sequence_column": "sequence",
}
_GENOME = {"fasta": ["genome.fa"], "valid_contigs": ["chr2"], "test_contigs": ["chr3"]}
_INTERVALS = {"dataset": "bed", **_GENOME, "intervals": ["peaks.bed"], "seq_len": 200}
_SHORT = {"max_epochs": 20, "patience": 5}
STARTS: dict[str, dict[str, Any]] = {
    "classify": {**_TABLE, "label_columns": ["label"], "class_names": ["negative", "positive"]},
    "multilabel": {**_TABLE, "label_columns": ["label_1", "label_2"], "label_kind": "multilabel"},
    "regress": {**_TABLE, "label_columns": ["label"], "label_kind": "real"},
    "masked": {"dataset": "fasta", **_GENOME, "seq_len": 512},
    "causal": {"dataset": "fasta", **_GENOME, "seq_len": 512, "causal": True},
    "profile": {"dataset": "tracks", **_GENOME, "tracks": ["counts.bw"], "seq_len": 1000},
}
"""What is set in the file for each task; the names of files and columns are to be replaced."""
LEFT_OUT = {*TRUST, TABLE, "config", "resume_from_checkpoint", "allow_changed_data"}
DEFAULT_FILE = "config.toml"


def init(argv: Sequence[str]) -> int:
    """Write a config file for a task, or for a file with --table; never over another file."""
    if asked_help(argv) is not None:
        print(f"tasks: {', '.join(STARTS)} (default: classify)\n")
        print("Options of the run that you give are set in the file:\n")
        print(help_text(argv), end="")
        return 0
    short = [f"--out{x[2:]}" if x.partition("=")[0] == "-o" else x for x in argv]
    words = read_given(short, {"out": VALUE})
    given = {**words.values, **words.unknown}
    out = given.pop("out", DEFAULT_FILE)
    values, parser = _values(words.free, given)
    text = "\n".join([*_head(values, out), *_lines(parser.declared, values)]) + "\n"
    try:
        is_new = create(out, text)
    except OSError as e:
        raise HparamError(f"--out={out}: cannot be written ({e.strerror})") from e
    if not is_new:
        raise HparamError(f"{out} exists already; choose another file with -o, or remove it")
    print(f"{out}: edit it, then: seqmodel run --config={out}")
    return 0


def _values(free: Sequence[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return what is set in the file, by name, and the parser of the run."""
    if len(free) > 1:
        raise HparamError(f"init takes one task, got {' '.join(map(repr, free))}")
    task = free[0] if free else given.get("task")
    if given.get(TABLE):
        run = resolve({**given, **({"task": task} if task else {})})
        print(plain(str(run.guessed)))
        changed = run.guessed.values if run.guessed else {}
        return {**changed, **{n: getattr(run.values, n) for n in given if n != TABLE}}, run.parser
    task = task or "classify"
    if task not in STARTS:
        hint = did_you_mean(task, list(STARTS))
        raise HparamError(f"init: no task {task!r}; choose one of {', '.join(STARTS)}{hint}")
    start = {**STARTS[task], **_SHORT}
    if given.get("dataset") == "bed":
        start = {**{n: x for n, x in start.items() if n not in _TABLE}, **_INTERVALS}
    values = {"task": task, **start, **given}
    parser = run_parser(values)
    return {n: parser.hparam(n).value(x) for n, x in values.items()}, parser


def _head(values: Mapping[str, Any], out: str) -> list[str]:
    task = role_choices(known_hparams())["task"].get(str(values.get("task")))
    about = (task.__doc__ or "").strip().split("\n")[0] if task else ""
    lines = [f"# {values.get('task')}: {about}", f"# Run it: seqmodel run --config={out}", "#"]
    return [
        *lines,
        "# Options on the command line override this file. An option behind # has its default.",
        "",
    ]


def _lines(declared: Mapping[str, Hparam], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield first what is set, then all other options by class; each with its help text."""
    for name, value in values.items():
        yield from _entry(declared[name], value)
    owners = dict.fromkeys(h.owner for h in declared.values())
    for owner in owners:
        rest = [h for h in declared.values() if h.owner is owner]
        rest = [h for h in rest if h.name not in values and h.name not in LEFT_OUT]
        if rest:
            yield from ("", f"## {owner.__name__}: {(owner.__doc__ or '').strip().splitlines()[0]}")
            yield ""
        for hparam in rest:
            yield from _entry(hparam)


def _entry(hparam: Hparam, value: Any = None) -> Iterator[str]:
    yield from (f"# {line}" for line in wrap(hparam.help, 94))
    if hparam.type.described.startswith("one of"):
        yield f"# {hparam.type.described}"
    if value is not None:
        yield f"{hparam.name} = {_toml(value)}"
    elif hparam.default is None:
        yield f"# {hparam.name} ="
    else:
        yield f"# {hparam.name} = {_toml(hparam.default)}"


def _toml(value: Any) -> str:
    """Return a value in TOML: its texts are those of JSON, but for DEL, which is escaped."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value).replace("\x7f", "\\u007f")
