"""Which of 84 factors bind a yeast sequence: a DeepSEA-like multi-label set, end to end on a CPU.

    python examples/yeast_chipexo.py --data DIR         about ten minutes on two cores

DIR holds sacCer3.fa.gz and chipexo_rossi2021_peaks.bed.gz: the ChIP-exo peaks of Rossi et al. 2021
(Nature, PMID 33692541), the factor in column 4. Unless given it is $SEQMODEL_SHARED_DATA/
yeast_sacCer3, or ../shared/data/yeast_sacCer3 beside this checkout.

The genome is cut in bins of 200 bp; a bin has the labels of the factors with at least 500 peaks
whose peak, 200 bp wide, covers at least half of it (Zhou and Troyanskaya 2015, DeepSEA). The model
sees 600 bp around the bin. Half as many empty bins as there are bound ones are added. chrXIV is
for validation, chrXV and chrXVI are for the test. Settings were chosen on chrXIV, from four
trainings there (one of them broken off) that did not use the test contigs.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from seqmodel.hparam.resolve import resolve  # noqa: E402
from seqmodel.training.execute import execute  # noqa: E402

RUN = {
    "task": "multilabel",
    "dataset": "peaks",
    "factor_column": "4",
    "min_peaks": 500,
    "peak_len": 200,
    "bin_len": 200,
    "seq_len": 600,
    "empty_per_positive": 0.5,
    "incomplete": "pad",
    "valid_contigs": ["chrXIV"],
    "rc_prob": 0.5,
    "jitter": 20,
    "encoder": "cnn",
    "n_layers": 2,
    "n_dims": 64,
    "first_kernel_size": 19,
    "pool_size": 4,
    "dropout": 0.1,
    "decoder": "binned",
    "n_bins": 12,
    "decoder_dropout": 0.5,
    "batch_size": 64,
    "lr": 1e-3,
    "ema_decay": 0.995,
    "schedule": "cosine",
    "warmup_steps": 100,
    "max_epochs": 10,
    "monitor": "valid_auroc",
}
TEST = {"test_contigs": ["chrXV", "chrXVI"]}


def main() -> None:
    """Trains, tests, and prints the scores of each factor and their means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the data")
    parser.add_argument("--out", type=Path, help="run folder; a new one below out/ unless set")
    parser.add_argument("--max_epochs", type=int, default=RUN["max_epochs"])
    args = parser.parse_args()
    files = {
        "fasta": [str(args.data / "sacCer3.fa.gz")],
        "peaks": [str(args.data / "chipexo_rossi2021_peaks.bed.gz")],
    }
    values = {**RUN, **TEST, **files, "max_epochs": args.max_epochs}
    start = time.monotonic()
    if args.out is not None:
        values["default_root_dir"] = str(args.out)
    metrics = execute(resolve(values)).metrics
    print_scores(metrics)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")


def default_data() -> Path:
    """Where the data are looked for."""
    shared = os.environ.get("SEQMODEL_SHARED_DATA") or ROOT.parent / "shared" / "data"
    return Path(shared) / "yeast_sacCer3"


def print_scores(metrics: dict[str, float]) -> None:
    """The test scores of each factor, the best first, and their means."""
    prefix = "test_auroc/"
    factors = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
    print(f"\n{'factor':20} AUROC  AUPRC")
    for factor in sorted(factors, key=lambda f: -metrics[prefix + f]):
        print(f"{factor:20} {metrics[prefix + factor]:.3f}  {metrics[f'test_auprc/{factor}']:.3f}")
    mean = f"mean of {len(factors)}"
    print(f"{mean:20} {metrics['test_auroc']:.3f}  {metrics['test_auprc']:.3f}")


if __name__ == "__main__":
    main()
