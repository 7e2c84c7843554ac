"""`seqmodel data describe`: the data of a run. Light until the data are opened."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seqmodel.heavy import heavy_imports
from seqmodel.hparam.help import asked_help, help_text
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.resolve import read_given, resolve_data
from seqmodel.hparam.value import str2bool
from seqmodel.hparam.words import refuse_stray
from seqmodel.terminal import plain

OWN = {
    name: Hparam(name, str2bool, False, help, False, Hparams)
    for name, help in (
        ("json", "Print one JSON object."),
        ("check", "Read all bytes of the files."),
    )
}
USAGE = "usage: seqmodel data describe --dataset=... [--name=value ...] [--check] [--json]"


def data(argv: Sequence[str]) -> int:
    """Describe the data of a run: `seqmodel data describe --dataset=... [--check] [--json]`."""
    if not argv or argv[0] != "describe":
        print(USAGE)
        return 2 if asked_help(argv) is None else 0
    if asked_help(argv) is not None:
        print(f"{USAGE}\n\n{help_text(argv[1:], own=OWN)}", end="")
        return 0
    words = read_given(argv[1:], {name: hparam.takes for name, hparam in OWN.items()})
    own = {n: h.value(words.values.pop(n, h.default)) for n, h in OWN.items()}
    refuse_stray(words.free, [*words.values, *OWN])
    run = resolve_data({**words.values, **words.unknown})
    if run.guessed:
        print(plain(str(run.guessed)), file=sys.stderr)
    with heavy_imports(freeze=True):
        from seqmodel.dataset.build import build_data
        from seqmodel.dataset.describe import as_text, describe

    found = build_data(run)
    checked = {}
    if own["check"]:
        from seqmodel.dataset.check import check

        checked = {"checked": check(found)}
    description = describe(found) | checked
    if own["json"]:
        import json

        print(json.dumps(description))
        return 0
    sizes = checked.get("checked", {}).items()
    lines = [f"checked: {path}, {n:,} blocks of 1 MiB" for path, n in sizes]
    print(plain("\n".join([as_text(description), *lines])))
    return 0
