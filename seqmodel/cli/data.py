"""`seqmodel data describe`: what a run would read. Light until the data are opened."""

from __future__ import annotations

from collections.abc import Sequence

from seqmodel.cli.given import wants_help
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.resolve import help_text, read_given, resolve_data
from seqmodel.hparam.value import str2bool
from seqmodel.hparam.words import refuse_stray

OWN = {
    name: Hparam(name, str2bool, False, help, False, Hparams)
    for name, help in (("json", "print one JSON object"), ("check", "read all bytes of the files"))
}
USAGE = "usage: seqmodel data describe --dataset=... [--name=value ...] [--check] [--json]"


def data(argv: Sequence[str]) -> int:
    """Describes the data of a run: `seqmodel data describe --dataset=... [--check] [--json]`."""
    if not argv or argv[0] != "describe":
        print(USAGE)
        return 0 if wants_help(argv) else 2
    if wants_help(argv):
        print(help_text(argv[1:]), end="")
        print("\n".join(f"  --{name:20} {hparam.help}" for name, hparam in OWN.items()))
        return 0
    words = read_given(argv[1:], {name: hparam.takes for name, hparam in OWN.items()})
    own = {n: h.value(words.values.pop(n, h.default)) for n, h in OWN.items()}
    refuse_stray(words.free, [*words.values, *OWN])
    run = resolve_data({**words.values, **words.unknown})
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
    print("\n".join([as_text(description), *lines]))
    return 0
