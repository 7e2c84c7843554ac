"""What is refused of a run before its folder is made: data and a task that do not make one.

A trial (`--fast_dev_run`) is refused for the same reasons.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from seqmodel.errors import HparamError, LabelError, RunError
from seqmodel.hparam.value import did_you_mean

if TYPE_CHECKING:
    from seqmodel.hparam.resolve import Run
    from seqmodel.training.build import Parts


def check_monitor(run: Run, parts: Parts) -> None:
    """Refuses a monitor that is never logged; warns of settings that need a validation split.

    Raises:
        HparamError: `--monitor` is no value of the task.
    """
    v = run.values
    if v.mode != "train":
        return
    names = parts.task.logged_names()
    if v.monitor and names is not None and v.monitor not in names:
        raise HparamError(
            f"--monitor={v.monitor}: the task {v.task} logs no such value; choose one of "
            f"{', '.join(names)}{did_you_mean(v.monitor, list(names))}"
        )
    if "valid" not in parts.data.splits:
        settings = {"--monitor": v.monitor, "--patience": v.patience}
        settings["--schedule=plateau"] = v.schedule == "plateau"
        for name in [name for name, value in settings.items() if value]:
            warnings.warn(f"{name} has no effect without a validation split", stacklevel=2)


def check_contents(run: Run, parts: Parts) -> None:
    """Refuses a split in which nothing can be predicted; as a rule one batch is read of each.

    Raises:
        LabelError: all labels of a split are missing, or all letters unknown.
    """
    used = ("test",) if run.values.mode == "test" else parts.data.splits
    for split in used:
        loader = parts.data.loader(split, train=False)
        if not any(parts.task.has_something_to_predict(batch) for batch in loader):
            what = (
                "every label is missing"
                if parts.task.predicts_targets
                else "every letter is unknown (N) or has no weight"
            )
            raise LabelError(
                f"the {split} split ({', '.join(parts.data.files_of(split))}) has nothing to "
                f"predict: {what} in all {len(parts.data.readers[split]):,} items; check its files"
            )


def check_test_split(run: Run, parts: Parts) -> None:
    """Refuses a test split that is the valid split, from which the best checkpoint is chosen.

    Raises:
        RunError: files of the same content, under other names, are given for both.
    """
    data = parts.data
    files = [list(getattr(data.hparams, f"{split}_files", ())) for split in ("valid", "test")]
    if run.values.mode != "train" or not all(files):
        return
    digests = data.digests()
    sums = [sorted(str(digests[x]["sha256"]) for x in paths if x in digests) for paths in files]
    intervals = [data.readers[split].intervals for split in ("valid", "test")]
    names = ("contig", "start", "end")
    same = all(np.array_equal(*(getattr(x, name) for x in intervals)) for name in names)
    if sums[0] == sums[1] != [] and same:
        raise RunError(
            f"--test_files={', '.join(files[1])} has the content of --valid_files="
            f"{', '.join(files[0])}: the best checkpoint is chosen by it, so that its test score "
            "would be too good; give other data for the test, or none"
        )
