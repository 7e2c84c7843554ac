"""Hyperparameters of `seqmodel audit`, in addition to those of the data. Light."""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import FOLDER, OUTPUT, integer, path, str2bool

FINDINGS = {
    "same_split": "two splits have the same sequences",
    "duplicates": "a row of valid or test is also in another split, on either strand",
    "conflicts": "such a row has a different label there",
    "similar": "over 1 % of the test rows have a containment of 0.5 or more in a training row",
    "overlap": "an interval of valid or test overlaps an interval of another split",
    "base": "a test interval overlaps a training interval of --base_checkpoint",
    "one_class": "all test rows have the same class, or the same number",
    "order": "the order of the rows, their file or their position alone predicts the label",
    "baseline": "the model is not better than the best baseline, at 95 %",
}
FAIL_ON = tuple(FINDINGS)
"""The findings of an audit."""
FAILED = 3
"""The exit code if the audit makes a finding that --fail_on names."""


class AuditHparams(Hparams):
    """Data and scores to audit, and the output of the report."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--run",
            type=path(FOLDER),
            help="Run folder whose data and test predictions are audited. If unset: give "
            "--predictions or the options of the data.",
        )
        add(
            "--predictions",
            type=path(),
            help="File in the format of test_predictions.tsv whose scores are audited. If unset: "
            "the predictions of --run.",
        )
        add(
            "--fail_on",
            nargs="*",
            help=f"Findings that set the exit code to {FAILED}: "
            f"{', '.join(FAIL_ON)}; or all. If unset: none.",
        )
        add(
            "--out",
            type=path(OUTPUT),
            help="JSON file for the report. If unset: audit.json in the folder of --run; no file "
            "without --run.",
        )
        add(
            "--base_checkpoint",
            type=path(),
            help="Checkpoint from which the model started: the audit reports the test intervals "
            "that overlap its training intervals. If unset: not checked.",
        )
        add(
            "--align",
            type=str2bool,
            default=False,
            help="Align the ten most similar rows with their training rows and show strand, "
            "offset and identity. Requires the extra 'audit'.",
        )
        add("--json", type=str2bool, default=False, help="Print the report as one JSON object.")
        add(
            "--max_letters",
            type=integer(1),
            default=400_000_000,
            help="Maximum number of bases or residues that are read from a split. Rows of a "
            "larger split are sampled.",
        )
        add(
            "--baseline_rows",
            type=integer(1),
            default=100_000,
            help="Maximum number of training rows to which baselines are fitted. If there are "
            "more, rows are sampled.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse findings that do not exist."""
        for name in fail_on(values.fail_on):
            if name not in FAIL_ON:
                raise HparamError(
                    f"--fail_on={name}: no such finding; choose from {', '.join(FAIL_ON)}, or all"
                )


def fail_on(words: list[str] | None) -> list[str]:
    """Return the findings named in words that may contain commas; `all` means all findings."""
    names = [x for word in words or () for x in word.split(",") if x]
    return list(FAIL_ON) if "all" in names else names
