"""What `seqmodel audit` is given beside the hyperparameters of the data. Light."""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import FOLDER, OUTPUT, integer, path, str2bool

FINDINGS = {
    "same_split": "two splits have the same sequences",
    "duplicates": "a row of valid or test is in another split, on either strand",
    "conflicts": "such a row has another label",
    "similar": "over 1 % of the test rows have a containment of 0.5 or more in a training row",
    "overlap": "an interval of valid or test lies on bases of another split",
    "base": "a test interval lies where the model of --base_checkpoint was trained",
    "one_class": "the test rows have one class, or one number",
    "order": "the order of the rows, their file or their position alone predicts the label",
    "baseline": "the model is not better than the best baseline, at 95 %",
}
FAIL_ON = tuple(FINDINGS)
"""The findings of an audit."""
FAILED = 3
"""The exit code where a finding of --fail_on was made."""


class AuditHparams(Hparams):
    """What is audited, and what is done with the report."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--run",
            type=path(FOLDER),
            help="run folder: its data, and its test predictions",
        )
        add(
            "--predictions",
            type=path(),
            help="file like test_predictions.tsv, whose scores are audited; default: that of --run",
        )
        add(
            "--fail_on",
            nargs="*",
            help=f"findings that make the exit code {FAILED}: {', '.join(FAIL_ON)}; or all",
        )
        add(
            "--out",
            type=path(OUTPUT),
            help="JSON file of the report; default: audit.json in the folder of --run, else none",
        )
        add(
            "--base_checkpoint",
            type=path(),
            help="checkpoint that the model started from: say which test intervals lie where it "
            "was trained",
        )
        add(
            "--align",
            type=str2bool,
            default=False,
            help="align the ten most similar rows with their training rows: strand, offset, "
            "identity (needs the extra 'audit')",
        )
        add("--json", type=str2bool, default=False, help="print the report as one JSON object")
        add(
            "--max_letters",
            type=integer(1),
            default=400_000_000,
            help="letters of a split that are read; of a larger one, rows are drawn",
        )
        add(
            "--baseline_rows",
            type=integer(1),
            default=100_000,
            help="training rows that baselines are fitted on; of more, rows are drawn",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses findings that there are not."""
        for name in fail_on(values.fail_on):
            if name not in FAIL_ON:
                raise HparamError(
                    f"--fail_on={name}: no such finding; choose from {', '.join(FAIL_ON)}, or all"
                )


def fail_on(words: list[str] | None) -> list[str]:
    """The findings that are named, in words that may have commas; `all` means each of them."""
    names = [x for word in words or () for x in word.split(",") if x]
    return list(FAIL_ON) if "all" in names else names
