"""Data that are intervals or windows of FASTA files: their hyperparameters. Light."""

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
    """What all data have that are intervals of FASTA files."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_intervals(parser)
        for split, what in (("valid", "validation"), ("test", "test"), ("train", "training")):
            default = "; default: all that are in no other split" if split == "train" else ""
            parser.add_argument(
                f"--{split}_contigs",
                group=SPLIT,
                nargs="*",
                help=f"contigs of the {what} split{default}",
            )
        parser.add_argument(
            "--fold_json",
            group=PLACE,
            type=path(),
            help='contigs of the splits as JSON: {"train": [...], "valid": [...], "test": [...]}',
        )
        _add_windows(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses splits that overlap, or are made in two ways."""
        files = [name for name in SPLIT_FILES if getattr(values, name)]
        lists = [f"{s}_contigs" for s in SPLITS if getattr(values, f"{s}_contigs")]
        ways = [*lists, *(["fold_json"] if values.fold_json else [])]
        if lists and values.fold_json:
            raise HparamError(f"--{lists[0]} and --fold_json are both set; give one of them")
        other = "intervals" if values.intervals else ways[0] if ways else None
        if files and other:
            raise HparamError(
                f"--{files[0]} and --{other} are both set: split by file or by contig, not by both"
            )
        if values.anchor == "five_prime" and values.seq_len is None:
            raise HparamError("--anchor=five_prime needs --seq_len, the length of the windows")
        twice = repeated([x for name in lists for x in getattr(values, name)])
        if twice is not None:
            raise HparamError(f"contig {twice!r} stands in two splits (--{', --'.join(lists)})")


def _add_intervals(parser: HparamParser) -> None:
    parser.add_argument(
        "--intervals",
        group=PLACE,
        type=path(),
        nargs="*",
        help="BED, narrowPeak (read around the summit), GFF3, GTF files that are split by contig; "
        "to split by file use --train_files and so on",
    )
    parser.add_argument(
        "--feature", group=READING, help="type of the GFF or GTF lines that are read, as gene"
    )
    parser.add_argument(
        "--strand_column",
        group=READING,
        help="column of the interval files with the strand, by name or by number from 1, or none; "
        "default: the column that the header line names strand, else column 6 of BED files and "
        "column 7 of GFF and GTF files",
    )
    parser.add_argument(
        "--contig_aliases",
        group=PLACE,
        type=path(),
        help="file with the names of one contig in each line, where interval files or tracks use "
        "other names than the FASTA files (as UCSC's chromAlias.txt)",
    )
    parser.add_argument(
        "--blacklist",
        group=PLACE,
        type=path(),
        nargs="*",
        help="interval files; windows that touch one are left out",
    )
    parser.add_argument(
        "--anchor",
        group=READING,
        choices=["middle", "five_prime", "summit"],
        help="base of an interval or peak that is at index seq_len // 2 (peak_len // 2) of the "
        "window, on either strand: its middle, its 5' end, or the summit of a narrowPeak line; "
        "default: summit in narrowPeak files, else middle",
    )


def _add_windows(parser: HparamParser) -> None:
    parser.add_argument(
        "--min_len",
        group=READING,
        type=integer(1),
        default=1,
        help="intervals shorter than this are left out",
    )
    parser.add_argument(
        "--incomplete",
        group=READING,
        choices=["drop", "pad"],
        default="drop",
        help="windows that reach beyond their contig: left out, or padded",
    )
    parser.add_argument(
        "--max_unknown_prop",
        group=READING,
        type=number(0, 1),
        default=1.0,
        help="windows with a larger proportion of unknown letters (N) are left out",
    )
    parser.add_argument(
        "--jitter",
        group=READING,
        type=integer(0),
        default=0,
        help="training windows and their tracks are moved by up to so many letters to either side",
    )
    parser.add_argument(
        "--soft_mask_weight",
        group=READING,
        type=number(0, 1),
        default=1.0,
        help="weight in the loss of letters in lower case, such as repeats",
    )


class TilesHparams(StoreHparams):
    """What the data have that may be windows over whole contigs."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--stride",
            group=READING,
            type=integer(1),
            help="letters from the start of a window to the start of the next; default: "
            "seq_len + skip_len",
        )
        parser.add_argument(
            "--skip_len",
            group=READING,
            type=integer(0),
            default=0,
            help="letters between the end of a window and the start of the next",
        )
        parser.add_argument(
            "--random_offset",
            group=READING,
            type=str2bool,
            default=False,
            help="move each training window on by a random number of letters below the stride, "
            "anew in every epoch",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses windows without a length."""
        has_intervals = values.intervals or any(getattr(values, x) for x in SPLIT_FILES)
        if values.anchor and not has_intervals:
            raise HparamError("--anchor needs intervals; windows over whole contigs have no anchor")
        if not has_intervals and values.seq_len is None:
            raise HparamError("--seq_len is not set; windows over whole contigs need a length")
        if values.stride and values.skip_len:
            raise HparamError("--stride and --skip_len are both set; give one of them")


class FastaHparams(TilesHparams):
    """Sequences without labels: windows over whole contigs, or intervals of files."""

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
            type=number(0),
            default=0.0,
            help="take all intervals as class 1, and for each so many windows of the same split, "
            "of like GC content (within 2 %%) and apart from them, as class 0",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses a set without intervals."""
        if not values.intervals and not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError("--intervals or --train_files is not set; give BED files with labels")
        if values.negatives_per_positive and (values.label_columns or values.weight_column):
            raise HparamError(
                "--negatives_per_positive makes the labels; leave out --label_columns and "
                "--weight_column"
            )
        if values.negatives_per_positive and values.split_by == "homology":
            raise HparamError(
                "--negatives_per_positive draws from the contigs of a split, and --split_by="
                "homology divides contigs; give the negatives as intervals with labels"
            )


class BinnedHparams(StoreHparams):
    """What the data have whose targets are bins of the genome."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--bin_len",
            group=TARGET,
            type=integer(1),
            default=200,
            help="letters in a bin of the targets",
        )


class PeaksHparams(BinnedHparams):
    """Bins of the genome, and which of many factors have a peak in each (as DeepSEA's data)."""

    name = "peaks"
    target = "seqmodel.dataset.peak_data:PeakData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--peaks",
            group=PLACE,
            type=path(),
            nargs="*",
            help="interval files of peaks; see --factor_column",
        )
        parser.add_argument(
            "--factor_column",
            group=READING,
            help="column of the peak files that names the factor; default: each file is a factor",
        )
        parser.add_argument(
            "--peak_len",
            group=TARGET,
            type=integer(1),
            help="take each peak as a window of this length around its --anchor; default: as it is",
        )
        parser.add_argument(
            "--min_covered_prop",
            group=TARGET,
            type=number(0, 1, open_lo=True),
            default=0.5,
            help="a bin is positive if at least this proportion of it is covered by peaks",
        )
        parser.add_argument(
            "--min_peaks",
            group=READING,
            type=integer(1),
            default=1,
            help="factors with fewer peaks are left out",
        )
        parser.add_argument(
            "--empty_per_positive",
            group=READING,
            type=number(0),
            default=0.0,
            help="bins without any peak that are kept, for each bin with one",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses a set without peaks, and intervals, which are not used."""
        if not values.peaks:
            raise HparamError("--peaks is not set; give interval files with peaks")
        if values.anchor and not values.peak_len:
            raise HparamError("--anchor has no use without --peak_len; peaks are taken as they are")
        unused = next((x for x in ("intervals", *SPLIT_FILES) if getattr(values, x)), None)
        if unused:
            raise HparamError(f"--{unused} has no use with --dataset=peaks, which makes bins")


class TracksHparams(BinnedHparams, TilesHparams):
    """Windows of the genome, and the values of bigWig tracks in the bins of each."""

    name = "tracks"
    target = "seqmodel.dataset.track_data:TrackData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument("--tracks", group=PLACE, type=path(), nargs="*", help="bigWig files")
        parser.add_argument(
            "--track_names",
            group=SPLIT,
            nargs="*",
            help="names of the tracks; default: those of the files",
        )
        parser.add_argument(
            "--track_strands",
            group=SPLIT,
            nargs="*",
            help="strand of each track, + - or . for none; the first + is the partner of the first "
            "-, and so on: they change places in a reverse complement",
        )
        parser.add_argument(
            "--target_len",
            group=READING,
            type=integer(1),
            help="letters in the middle of a window whose bins are predicted; default: seq_len",
        )
        parser.add_argument(
            "--bin_value",
            group=TARGET,
            choices=["sum", "mean"],
            default="sum",
            help="value of a bin, of its letters; letters without data are 0",
        )
        parser.add_argument(
            "--track_abs",
            group=TARGET,
            type=str2bool,
            default=False,
            help="take the absolute value of each letter: tracks of the minus strand are often "
            "written with negative values, and counts cannot be negative",
        )
        parser.add_argument(
            "--clip",
            group=TARGET,
            type=number(0, open_lo=True),
            help="values of bins above this are set to it",
        )
        parser.add_argument(
            "--log1p",
            group=TARGET,
            type=str2bool,
            default=False,
            help="take log(1 + value) of each bin, at last",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses tracks that do not fit the names, strands or bins."""
        if not values.tracks:
            raise HparamError("--tracks is not set; give bigWig files")
        for name in ("track_names", "track_strands"):
            given = getattr(values, name)
            if given and len(given) != len(values.tracks):
                raise HparamError(f"--{name}: {len(given)} for {len(values.tracks)} tracks")
        strands = values.track_strands
        if any(x not in ("+", "-", ".") for x in strands) or strands.count("+") != strands.count(
            "-"
        ):
            raise HparamError(f"--track_strands {' '.join(strands)}: give + and - in pairs, or .")
        length = values.target_len or values.seq_len
        if length and length % values.bin_len:
            raise HparamError(
                f"--bin_len={values.bin_len} does not divide the {length} letters of the targets"
            )
        if values.target_len and values.seq_len and values.target_len > values.seq_len:
            raise HparamError("--target_len is larger than --seq_len")
