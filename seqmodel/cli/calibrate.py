"""`seqmodel calibrate`: its options, and the data of a run. Light until the data are opened."""

from __future__ import annotations

import json
from collections.abc import Sequence

from seqmodel.cli.given import only
from seqmodel.heavy import heavy_imports
from seqmodel.hparam.help import asked_help, page
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.resolve import read_given
from seqmodel.hparam.value import path, str2bool
from seqmodel.terminal import plain

OWN = {
    "run": Hparam("run", path(), "", "Run folder, instead of its best.ckpt.", False, Hparams),
    "json": Hparam("json", str2bool, False, "Print one JSON object.", False, Hparams),
}


def calibrate(argv: Sequence[str]) -> int:
    """Calibrate a checkpoint on the valid split of its data and print the result."""
    if (asked := asked_help(argv)) is not None:
        print(f"\n{page(OWN, asked, '')}")
        print(
            "The data are those that the checkpoint names. Options of the data replace them, such"
        )
        print("as --train_files=... and --valid_files=... (seqmodel run --help=data).")
        return 0
    words = read_given(argv, {name: hparam.takes for name, hparam in OWN.items()})
    own = {n: words.values.pop(n, None) for n in OWN}
    own = {n: OWN[n].default if x is None else OWN[n].value(x) for n, x in own.items()}
    given = {**words.values, **words.unknown}
    checkpoint = only(words.free, "calibrate") if words.free or not own["run"] else None
    with heavy_imports(freeze=True):
        from seqmodel.trust.calibration import calibrate as fit

    found = fit(checkpoint, run=own["run"] or None, **given)
    print(json.dumps({"path": found.path, **found.about}) if own["json"] else plain(str(found)))
    return 0
