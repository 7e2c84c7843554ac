"""Hyperparameters of data that are intervals or windows of FASTA files. Light."""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.dataset import (
    SPLIT_FILES,
    SPLITS,
    FilesHparams,
    LabelledHparams,
    repeated,
)
from seqmodel.hparam.hparams import PLACE, READING, SPLIT, TARGET, HparamParser
from seqmodel.hparam.value import integer, number, path, str2bool


class StoreHparams(FilesHparams):
    """Hyperparameters of all data that are intervals of FASTA files."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_intervals(parser)
        for split, what in (("valid", "validation"), ("test", "test"), ("train", "training")):
            default = "all that are in no other split" if split == "train" else "none"
            parser.add_argument(
                f"--{split}_contigs",
                group=SPLIT,
                nargs="*",
                help=f"Contigs of the {what} split. If unset: {default}.",
            )
        parser.add_argument(
            "--fold_json",
            group=PLACE,
            type=path(),
            help='JSON file with the contigs of each split: {"train": [...], "valid": [...], '
            '"test": [...]}. If unset: --train_contigs, --valid_contigs and --test_contigs '
            "apply.",
        )
        _add_windows(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse splits that overlap or are defined in two ways."""
        files = [name for name in SPLIT_FILES if getattr(values, name)]
        lists = [f"{s}_contigs" for s in SPLITS if getattr(values, f"{s}_contigs")]
        ways = [*lists, *(["fold_json"] if values.fold_json else [])]
        if lists and values.fold_json:
            raise HparamError(f"--{lists[0]} and --fold_json are both set; give one of them")
        other = "intervals" if values.intervals else ways[0] if ways else None
        if files and other:
            raise HparamError(
                f"--{files[0]} and --{other} are both set; split by file or by contig, not by both"
            )
        if values.anchor == "five_prime" and values.seq_len is None:
            raise HparamError("--anchor=five_prime needs --seq_len, the length of the windows")
        twice = repeated([x for name in lists for x in getattr(values, name)])
        if twice is not None:
            raise HparamError(f"contig {twice!r} is in two splits (--{', --'.join(lists)})")


def _add_intervals(parser: HparamParser) -> None:
    parser.add_argument(
        "--intervals",
        group=PLACE,
        type=path(),
        nargs="*",
        help="BED, narrowPeak (centered on the summit), GFF3 or GTF files that are split by "
        "contig. To split by file, use --train_files, --valid_files and --test_files. If "
        "unset: no intervals.",
    )
    parser.add_argument(
        "--feature",
        group=READING,
        help="Type of the GFF or GTF lines that are read, such as gene. If unset: all types.",
    )
    parser.add_argument(
        "--strand_column",
        group=READING,
        help="Column of the interval files with the strand, by name or by number from 1, or none. "
        "If unset: the column that the header line names strand, otherwise column 6 of BED "
        "files and column 7 of GFF and GTF files.",
    )
    parser.add_argument(
        "--bad_intervals",
        group=READING,
        choices=["error", "skip"],
        default="error",
        help="Intervals on a contig that the FASTA files do not have, without length, or beyond "
        "the end of their contig. error: the first one ends the run. skip: they are left out, and "
        "a warning says how many there are.",
    )
    parser.add_argument(
        "--contig_aliases",
        group=PLACE,
        type=path(),
        help="File that lists the names of one contig on each line, for interval files or tracks "
        "that use other names than the FASTA files (such as UCSC's chromAlias.txt). If "
        "unset: names must match.",
    )
    parser.add_argument(
        "--blacklist",
        group=PLACE,
        type=path(),
        nargs="*",
        help="Interval files: windows that overlap one of their intervals are excluded. If unset: "
        "none.",
    )
    parser.add_argument(
        "--anchor",
        group=READING,
        choices=["middle", "five_prime", "summit"],
        help="Base of an interval or peak that is at index seq_len // 2 (peak_len // 2) of the "
        "window, on either strand: its middle, its 5' end, or the summit of a narrowPeak "
        "line. If unset: the summit in narrowPeak files, otherwise the middle.",
    )


def _add_windows(parser: HparamParser) -> None:
    parser.add_argument(
        "--min_len",
        group=READING,
        type=integer(1),
        default=1,
        help="Minimum length of an interval, in bp. Shorter intervals are excluded.",
    )
    parser.add_argument(
        "--incomplete",
        group=READING,
        choices=["drop", "pad"],
        default="drop",
        help="Windows that extend beyond their contig: drop excludes them, pad fills them up.",
    )
    parser.add_argument(
        "--max_unknown_prop",
        group=READING,
        type=number(0, 1),
        default=1.0,
        help="Maximum proportion of unknown bases (N) in a window. Windows with more are excluded.",
    )
    parser.add_argument(
        "--jitter",
        group=READING,
        type=integer(0),
        default=0,
        help="Maximum shift of a training window and its tracks, in bp, to either side.",
    )
    parser.add_argument(
        "--soft_mask_weight",
        group=READING,
        type=number(0, 1),
        default=1.0,
        help="Weight of lower-case bases, such as repeats, in the loss.",
    )


class TilesHparams(StoreHparams):
    """Options for tiling whole contigs into windows."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--stride",
            group=READING,
            type=integer(1),
            help="Distance between the starts of consecutive windows, in bp. If unset: seq_len + "
            "skip_len.",
        )
        parser.add_argument(
            "--skip_len",
            group=READING,
            type=integer(0),
            default=0,
            help="Distance from the end of a window to the start of the next one, in bp.",
        )
        parser.add_argument(
            "--random_offset",
            group=READING,
            type=str2bool,
            default=False,
            help="Shift each training window by a random distance below the stride, drawn anew in "
            "every epoch.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse windows without a length."""
        has_intervals = values.intervals or any(getattr(values, x) for x in SPLIT_FILES)
        if values.anchor and not has_intervals:
            raise HparamError(
                "--anchor needs --intervals; windows over whole contigs have no anchor"
            )
        if not has_intervals and values.seq_len is None:
            raise HparamError("--seq_len is not set; windows over whole contigs need a length")
        if values.stride and values.skip_len:
            raise HparamError("--stride and --skip_len are both set; give one of them")


class FastaHparams(TilesHparams):
    """Sequences without labels: windows over whole contigs, or intervals in files."""

    name = "fasta"
    target = "seqmodel.dataset.store_data:FastaData"


class BedHparams(StoreHparams, LabelledHparams):
    """Intervals of FASTA files, with labels in columns of the interval files."""

    name = "bed"
    target = "seqmodel.dataset.store_data:BedData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--negatives_per_positive",
            group=READING,
            type=number(0, 1_000_000),
            default=0.0,
            help="Number of negative windows for each interval. All intervals become class 1; "
            "class 0 is drawn from the same split, away from the intervals and with a "
            "similar GC content (within 2 %). 0: the labels are those of the files.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a dataset without intervals."""
        if not values.intervals and not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError("--intervals or --train_files is not set; give BED files with labels")
        if values.negatives_per_positive and (values.label_columns or values.weight_column):
            raise HparamError(
                "--negatives_per_positive creates the labels; leave out --label_columns and "
                "--weight_column"
            )
        if values.negatives_per_positive and values.split_by == "homology":
            raise HparamError(
                "--negatives_per_positive draws from the contigs of a split, but --split_by="
                "homology divides contigs; give the negatives as intervals with labels"
            )


class BinnedHparams(StoreHparams):
    """Hyperparameters of data whose targets are bins of the genome."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--bin_len",
            group=TARGET,
            type=integer(1),
            default=200,
            help="Length of a target bin, in bp.",
        )


class PeaksHparams(BinnedHparams):
    """Bins of the genome, labelled with the factors that have a peak there (as in DeepSEA)."""

    name = "peaks"
    target = "seqmodel.dataset.peak_data:PeakData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--peaks",
            group=PLACE,
            type=path(),
            nargs="*",
            help="Interval files with peaks. --factor_column says which factor a peak belongs to.",
        )
        parser.add_argument(
            "--factor_column",
            group=READING,
            help="Column of the peak files that names the factor. If unset: each file is one "
            "factor.",
        )
        parser.add_argument(
            "--peak_len",
            group=TARGET,
            type=integer(1),
            help="Length to which each peak is set around its --anchor, in bp. If unset: peaks "
            "keep their length.",
        )
        parser.add_argument(
            "--min_covered_prop",
            group=TARGET,
            type=number(0, 1, open_lo=True),
            default=0.5,
            help="Minimum proportion of a bin that peaks must cover for the bin to be positive.",
        )
        parser.add_argument(
            "--min_peaks",
            group=READING,
            type=integer(1),
            default=1,
            help="Minimum number of peaks of a factor. Factors with fewer are excluded.",
        )
        parser.add_argument(
            "--empty_per_positive",
            group=READING,
            type=number(0),
            default=0.0,
            help="Number of bins without any peak that are kept for each bin with a peak.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a dataset without peaks, and intervals, which have no effect."""
        if not values.peaks:
            raise HparamError("--peaks is not set; give interval files with peaks")
        if values.anchor and not values.peak_len:
            raise HparamError(
                "--anchor has no effect without --peak_len, because peaks keep their length"
            )
        unused = next((x for x in ("intervals", *SPLIT_FILES) if getattr(values, x)), None)
        if unused:
            raise HparamError(
                f"--{unused} has no effect with --dataset=peaks, which makes its own bins"
            )


class TracksHparams(BinnedHparams, TilesHparams):
    """Windows of the genome, with the values of bigWig tracks in their bins."""

    name = "tracks"
    target = "seqmodel.dataset.track_data:TrackData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument("--tracks", group=PLACE, type=path(), nargs="*", help="bigWig files.")
        parser.add_argument(
            "--track_names",
            group=SPLIT,
            nargs="*",
            help="Names of the tracks, one for each file of --tracks. If unset: the names of the "
            "files.",
        )
        parser.add_argument(
            "--track_strands",
            group=SPLIT,
            nargs="*",
            help="Strand of each track: +, - or . (no strand). The first + and the first - are "
            "partners, then the second ones, and so on; partners are exchanged in a reverse "
            "complement. If unset: no strands.",
        )
        parser.add_argument(
            "--target_len",
            group=READING,
            type=integer(1),
            help="Length of the middle part of a window whose bins are predicted, in bp. If "
            "unset: seq_len.",
        )
        parser.add_argument(
            "--bin_value",
            group=TARGET,
            choices=["sum", "mean"],
            default="sum",
            help="Value of a bin, computed from its bases. Bases without data count as 0.",
        )
        parser.add_argument(
            "--track_abs",
            group=TARGET,
            type=str2bool,
            default=False,
            help="Take the absolute value at each base. Tracks of the minus strand often contain "
            "negative values, and counts cannot be negative.",
        )
        parser.add_argument(
            "--clip",
            group=TARGET,
            type=number(0, open_lo=True),
            help="Maximum value of a bin. Larger values are set to it. If unset: no maximum.",
        )
        parser.add_argument(
            "--log1p",
            group=TARGET,
            type=str2bool,
            default=False,
            help="Transform the value of each bin to log(1 + value), after all other steps.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse tracks that do not fit the names, strands or bins."""
        if not values.tracks:
            raise HparamError("--tracks is not set; give bigWig files")
        for name in ("track_names", "track_strands"):
            given = getattr(values, name)
            if given and len(given) != len(values.tracks):
                raise HparamError(
                    f"--{name}: {len(given)} values for {len(values.tracks)} tracks; "
                    "give one for each"
                )
        strands = values.track_strands
        if any(x not in ("+", "-", ".") for x in strands) or strands.count("+") != strands.count(
            "-"
        ):
            raise HparamError(
                f"--track_strands {' '.join(strands)}: give as many + as -, and . for no strand"
            )
        length = values.target_len or values.seq_len
        if length and length % values.bin_len:
            raise HparamError(
                f"--bin_len={values.bin_len} does not divide the {length} bp of the targets"
            )
        if values.target_len and values.seq_len and values.target_len > values.seq_len:
            raise HparamError(
                f"--target_len={values.target_len} is larger than "
                f"--seq_len={values.seq_len}; lower it"
            )
