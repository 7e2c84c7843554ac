"""Hyperparameters of the verbs that apply a trained model: predict, variants, embed, ... Light.

They have a namespace of their own: they do not name a run, and a run does not have them. If a name
has the same meaning in a run, the class of the run declares it (`same`).
"""

from __future__ import annotations

from argparse import Namespace
from typing import ClassVar

from seqmodel.errors import HparamError
from seqmodel.hparam.dataset import FilesHparams, TableHparams
from seqmodel.hparam.genome import FastaHparams
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.trainer import RunHparams, TrainerHparams, TrainingHparams
from seqmodel.hparam.value import OUTPUT, integer, path, str2bool

TOO_LONG = ("center", "tile_mean", "tile_max")
POOLS = ("mean", "max", "first", "none")
TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet")
"""Suffixes of files with one row for each input."""
TRACKS = (".bw", ".bedgraph.gz")
"""Suffixes of files with one target along contigs."""
ENSEMBLE_OF = ("logit", "probability")
REF_MISMATCHES = ("skip", "error", "swap", "use_vcf")
EDGES = ("pad", "skip")
INDEL_ALIGNS = ("both", "left", "right")
STRANDS = ("both", "plus")


class ApplyHparams(Hparams):
    """Hyperparameters of every verb that applies a trained model.

    Class attributes:
        not_in_stamp: names of hyperparameters that do not change what is written. All others are
            compared when a command is repeated; files are compared by their content.
        formats: suffixes of the files that the verb can write; empty for all formats.
    """

    tracked = False
    formats: ClassVar[tuple[str, ...]] = ()
    not_in_stamp: ClassVar[tuple[str, ...]] = (
        "out",
        "part",
        "overwrite",
        "accelerator",
        "n_threads",
        "plugins",
        "trust_plugins",
        "json",
    )

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--checkpoints",
            type=path(),
            nargs="*",
            help="Checkpoints of trained models. The predictions of several are averaged.",
        )
        add(
            "--out",
            type=path(OUTPUT),
            nargs="*",
            help="Output files. The suffix of each selects its format.",
        )
        add(
            "--ensemble_of",
            choices=list(ENSEMBLE_OF),
            default="logit",
            help="Quantity that is averaged over several checkpoints.",
        )
        add(
            "--seq_len",
            type=integer(1),
            help="Length of the model's input, in bp or residues, for a checkpoint that does not "
            "record it. If unset: the length in the checkpoint.",
        )
        _add_work(parser)
        _add_machine(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a command without a model or an output, and a part that does not exist."""
        if not values.checkpoints:
            raise HparamError("--checkpoints is not set; give one or more .ckpt files")
        if not values.out:
            raise HparamError("--out is not set; give one or more files, such as --out=out.tsv")
        other = next((x for x in values.out if not x.lower().endswith(cls.formats)), None)
        if cls.formats and other is not None:
            raise HparamError(
                f"--out={other}: unknown suffix; choose one of {', '.join(cls.formats)}"
            )
        part_of(values.part)


def _add_work(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--batch_size",
        type=integer(1),
        help="Number of sequences in a batch. If unset: the batch size of the training.",
    )
    add(
        "--chunk_rows",
        type=integer(1),
        help="Number of inputs that are written to disk together; a process that is killed loses "
        "at most one chunk. If unset: 8192, fewer for sequences longer than 2048 or long VCF "
        "records.",
    )
    add(
        "--part",
        default="1/1",
        help="Share of the inputs that this process computes, such as 3/32. The process that ends "
        "last joins all parts.",
    )
    add(
        "--overwrite",
        type=str2bool,
        default=False,
        help="Replace outputs that exist, and start again.",
    )
    add("--json", type=str2bool, default=False, help="Print one JSON object on stdout at the end.")


def _add_machine(parser: HparamParser) -> None:
    same(parser, TrainerHparams, "accelerator", "n_threads")
    same(parser, TrainingHparams, "precision")
    same(parser, RunHparams, "plugins")
    parser.add_argument(
        "--trust_plugins",
        type=str2bool,
        default=False,
        help="Import the plugins that the checkpoints name. They are code: set it only if you "
        "have read them.",
    )


class InputHparams(ApplyHparams):
    """Hyperparameters of the verbs that read FASTA files, intervals or tables."""

    not_in_stamp = (*ApplyHparams.not_in_stamp, "cache_dir")
    formats: ClassVar[tuple[str, ...]] = (*TABLES, ".npz", ".h5", ".h5ad", *TRACKS)

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_inputs(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations of inputs that cannot work."""
        if values.table and (values.fasta or values.intervals or values.tiles):
            raise HparamError(
                "--table is set, and also --fasta, --intervals or --tiles; give one input"
            )
        if not values.table and not values.fasta:
            raise HparamError(
                "no input is set; give --table, or --fasta, alone or with --intervals or --tiles"
            )
        if values.intervals and values.tiles:
            raise HparamError("--intervals and --tiles are both set; give one of them")
        for name in ("stride", "contigs"):
            if getattr(values, name) and not values.tiles:
                raise HparamError(f"--{name} has no effect without --tiles")


class PredictHparams(InputHparams):
    """Hyperparameters of predict."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--too_long",
            choices=list(TOO_LONG),
            help="Handling of a sequence that is longer than the model's input: use its center, "
            "or the mean or the maximum over adjacent windows. If unset: such a sequence is "
            "an error.",
        )
        add(
            "--keep_columns",
            nargs="*",
            help="Columns of the input that are copied to the output, or all. If unset: none.",
        )
        add(
            "--logits",
            type=str2bool,
            default=False,
            help="Also write the logits, which are the values before the softmax or sigmoid.",
        )
        add(
            "--calibrated",
            type=str2bool,
            default=False,
            help="Apply the calibration that `seqmodel calibrate` wrote next to the checkpoint.",
        )
        add(
            "--scale",
            choices=["linear", "log1p"],
            default="linear",
            help="Scale of the values in .bw and .bedgraph.gz files.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse --keep_columns for inputs without columns."""
        if values.keep_columns and not (values.table or values.intervals):
            raise HparamError("--keep_columns has no effect without --table or --intervals")


class EmbedHparams(ApplyHparams):
    """Hyperparameters of embed."""

    not_in_stamp = (*ApplyHparams.not_in_stamp, "cache_dir")

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_inputs(parser)
        same(parser, PredictHparams, "too_long", "keep_columns")
        parser.add_argument(
            "--layer",
            help="Layer whose output is written: 0 for the embedding, k for block k, or the name "
            "of a submodule. If unset: the output of the encoder.",
        )
        parser.add_argument(
            "--pool",
            choices=list(POOLS),
            default="mean",
            help="How the positions are pooled into one vector: their mean, their maximum, or the "
            "first one alone. none: all positions are written.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations of inputs that cannot work, and formats without embeddings."""
        PredictHparams.check(values)
        known = (".npz", ".h5") if values.pool == "none" else (".npz", ".h5", ".h5ad", ".parquet")
        for out in values.out:
            if not out.lower().endswith(known):
                raise HparamError(
                    f"--out={out}: embeddings with --pool={values.pool} are written as "
                    f"{', '.join(known)}"
                )
        if len(values.checkpoints) > 1:
            raise HparamError(
                f"--checkpoints={' '.join(values.checkpoints)}: give one model; embeddings of "
                "different models are not comparable"
            )


def _add_inputs(parser: HparamParser) -> None:
    add = parser.add_argument
    same(parser, FilesHparams, "fasta")
    add(
        "--intervals",
        type=path(),
        help="Intervals of the FASTA files: BED, narrowPeak, GFF or GTF, plain or gzip. If unset: "
        "whole records, or --tiles.",
    )
    add(
        "--table",
        type=path(),
        help="CSV, TSV or Parquet file with a column of sequences. If unset: --fasta is the input.",
    )
    add(
        "--tiles",
        type=str2bool,
        default=False,
        help="Apply the model to windows that cover the whole FASTA files.",
    )
    add(
        "--stride",
        type=integer(1),
        help="Distance between the starts of consecutive tiles, in bp. If unset: tiles do not "
        "overlap.",
    )
    add("--contigs", nargs="*", help="Contigs that are tiled. If unset: all.")
    same(parser, TableHparams, "sequence_column", "quotes")
    same(parser, FastaHparams, "feature", "strand_column", "contig_aliases", "incomplete")
    add(
        "--anchor",
        choices=["middle", "five_prime", "summit"],
        help="Base of an interval that is at index seq_len // 2 of its window. If unset: the "
        "anchor of the training.",
    )
    same(parser, TrainerHparams, "cache_dir")


def same(parser: HparamParser, owner: type[Hparams], *names: str) -> None:
    """Declare hyperparameters of another class, with their types, defaults and help texts."""
    for name in names:
        hparam = owner.default_hparams().declared[name]
        parser.add_argument(
            f"--{name}",
            type=hparam.type,
            default=hparam.default,
            help=hparam.help,
            nargs="*" if hparam.is_list else None,
        )


def part_of(text: str) -> tuple[int, int]:
    """Return the share (k, n) that `k/n` means.

    Raises:
        HparamError: the text has another form, or k is not from 1 to n.
    """
    first, slash, last = text.partition("/")
    if slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise HparamError(f"--part={text}: give k/n with k from 1 to n, such as 3/32")


class VariantsHparams(ApplyHparams):
    """Hyperparameters of variants."""

    not_in_stamp = (*ApplyHparams.not_in_stamp, "cache_dir")
    formats: ClassVar[tuple[str, ...]] = (*TABLES, ".npz", ".h5", ".vcf", ".vcf.gz", ".bcf")

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--variants",
            type=path(),
            help="VCF, BCF, or a CSV, TSV or Parquet table with the columns contig, pos (from 1), "
            "ref and alt. -: VCF on stdin. If unset: --variant is the input.",
        )
        add(
            "--variant",
            nargs="*",
            help="Variants given directly, such as 20:42984264:G:A. If unset: --variants is the "
            "input.",
        )
        same(parser, FilesHparams, "fasta")
        same(parser, FastaHparams, "contig_aliases")
        add(
            "--scores",
            nargs="*",
            help="Scores that compare REF and ALT: diff, logit_diff, log2fc, jsd, llr, ref, alt, "
            "abs, cosine, l2. If unset: diff and logit_diff for classes and labels, diff for "
            "numbers, log2fc and jsd for profiles, llr for language models.",
        )
        add(
            "--ref_mismatch",
            choices=list(REF_MISMATCHES),
            default="skip",
            help="Handling of a REF that differs from the genome: skip the allele, stop with an "
            "error, swap the alleles (if the genome has ALT), or use_vcf to write REF into "
            "the genome.",
        )
        add(
            "--edge",
            choices=list(EDGES),
            default="pad",
            help="Handling of a window that extends beyond its contig: pad it, or skip the "
            "variant.",
        )
        _add_windows(parser)
        add(
            "--vcf_targets",
            nargs="*",
            help="Targets that are written as fields of VCF files. If unset: all, if they make at "
            "most 32 fields.",
        )
        same(parser, TrainerHparams, "cache_dir")

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a command without variants or a genome."""
        if bool(values.variants) == bool(values.variant):
            raise HparamError("give the variants either as --variants=FILE or as --variant=...")
        if not values.fasta:
            raise HparamError("--fasta is not set; give the genome of the variants")


def _add_windows(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--indel_align",
        choices=list(INDEL_ALIGNS),
        default="both",
        help="Flank of an insertion or deletion that keeps its position in the window of REF. "
        "both: the mean of the two.",
    )
    add(
        "--strands",
        choices=list(STRANDS),
        default="both",
        help="Strands that are read. both: the mean of the two, if the alphabet has a complement.",
    )
    add(
        "--variant_index",
        type=integer(0),
        help="Index of the first changed base in the window. If unset: (seq_len - 1) // 2.",
    )
    add(
        "--max_indel",
        type=integer(0),
        default=0,
        help="Maximum length of a symbolic deletion (<DEL> with END or SVLEN) that is scored, in "
        "bp.",
    )
    add(
        "--background",
        type=integer(0),
        default=0,
        help="Number of random SNVs, with the sequence contexts of those in the file, whose "
        "scores give the columns <score>_quantile. 0: no such columns.",
    )


class ExportHparams(Hparams):
    """Hyperparameters of export."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        same(parser, ApplyHparams, "checkpoints", "ensemble_of", "seq_len")
        add(
            "--to",
            type=path(OUTPUT),
            nargs="*",
            help="Outputs: a folder for weights and model card, a .onnx file, or a .pt2 file. "
            "Required.",
        )
        add(
            "--layout",
            choices=["NAL", "NLA", "NL"],
            default="NAL",
            help="Input of .onnx and .pt2 models: one-hot [N, A, L], one-hot [N, L, A], or ids "
            "[N, L].",
        )
        add(
            "--logits",
            type=str2bool,
            default=False,
            help="Write models whose outputs are the logits, in .onnx and .pt2 files.",
        )
        same(parser, ApplyHparams, "overwrite", "accelerator", "n_threads", "precision")
        same(parser, ApplyHparams, "plugins", "trust_plugins", "json")

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a command without a model or an output."""
        if not values.checkpoints:
            raise HparamError("--checkpoints is not set; give a .ckpt file")
        if not values.to:
            raise HparamError("--to is not set; give a folder, a .onnx or a .pt2 file")


class MergeHparams(Hparams):
    """Hyperparameters of merge."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        same(parser, ApplyHparams, "json")


class DescribeHparams(Hparams):
    """Hyperparameters of describe."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        same(parser, ApplyHparams, "json")
