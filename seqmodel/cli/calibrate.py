"""`seqmodel calibrate`: its settings, and the data of a run. Light until the data are opened."""

from __future__ import annotations

import json
from collections.abc import Sequence

from seqmodel.cli.given import only, wants_help
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.resolve import read_given
from seqmodel.hparam.value import path, str2bool
from seqmodel.terminal import plain

OWN = {
    "run": Hparam("run", path(), "", "run folder, in place of its best.ckpt", False, Hparams),
    "json": Hparam("json", str2bool, False, "print one JSON object", False, Hparams),
}


def calibrate(argv: Sequence[str]) -> int:
    """Calibrates a checkpoint on the valid split of its data, and shows what was found."""
    if wants_help(argv):
        print("\n".join(f"  --{name:20} {hparam.help}" for name, hparam in OWN.items()))
        print("\nThe data are those that the checkpoint names. Hyperparameters of the data, as of")
        print("seqmodel run, replace them: --train_files=..., --valid_files=...")
        return 0
    words = read_given(argv, {name: hparam.takes for name, hparam in OWN.items()})
    own = {n: words.values.pop(n, None) for n in OWN}
    own = {n: OWN[n].default if x is None else OWN[n].value(x) for n, x in own.items()}
    given = {**words.values, **words.unknown}
    checkpoint = only(words.free, "calibrate") if words.free or not own["run"] else None
    from seqmodel.trust.calibration import calibrate as fit

    found = fit(checkpoint, run=own["run"] or None, **given)
    print(json.dumps({"path": found.path, **found.about}) if own["json"] else plain(str(found)))
    return 0
