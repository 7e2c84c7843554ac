"""What is read: the kinds of data and their hyperparameters. Light."""

from __future__ import annotations

import os
from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import integer, number

SPLIT_FILES = ("train_files", "valid_files", "test_files")


class DatasetHparams(Hparams):
    """What is read, and in which batches."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--alphabet",
            default="dna",
            help="letters of the sequences: dna, rna, protein, or letters:XYZ for your own",
        )
        parser.add_argument(
            "--unknown",
            choices=["uniform", "zeros"],
            default="uniform",
            help="one-hot of an unknown letter such as N: 1/n for each letter, or zeros",
        )
        parser.add_argument(
            "--seq_len",
            type=integer(1),
            help="length of the sequences given to the model; longer than an interval: its "
            "surroundings too; default: the length of the intervals, or of the longest sequence",
        )
        parser.add_argument(
            "--batch_size", type=integer(1), default=64, help="samples a batch and device"
        )
        parser.add_argument(
            "--rc_prob",
            type=number(0, 1),
            default=0.0,
            help="probability that a training sample is read as its reverse complement",
        )
        for split in ("train", "valid", "test"):
            parser.add_argument(
                f"--{split}_files",
                nargs="*",
                help=f"files of the {split} split: interval files, or tables for --dataset=table",
            )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses what can be told without reading the data."""
        for name in SPLIT_FILES:
            check_files(f"--{name}", getattr(values, name))
        paths = [os.path.realpath(x) for name in SPLIT_FILES for x in getattr(values, name)]
        twice = next((x for i, x in enumerate(paths) if x in paths[:i]), None)
        if twice is not None:
            raise HparamError(
                f"{twice} is given twice among --train_files, --valid_files, --test_files"
            )
        if values.alphabet == "protein" and values.rc_prob > 0:
            raise HparamError("--rc_prob: proteins have no reverse complement; set it to 0")


class StoreHparams(DatasetHparams):
    """What all data have that are intervals on FASTA files."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--fasta",
            nargs="*",
            help="FASTA files (plain, gzip, bgzip); names must be unique over all of them",
        )
        parser.add_argument(
            "--intervals",
            nargs="*",
            help="BED files that are split by contig; use --train_files and so on to split by file",
        )
        for split, what in (("valid", "validation"), ("test", "test"), ("train", "training")):
            default = "; default: all that are in no other split" if split == "train" else ""
            parser.add_argument(
                f"--{split}_contigs", nargs="*", help=f"contigs of the {what} split{default}"
            )
        parser.add_argument(
            "--incomplete",
            choices=["drop", "pad"],
            default="drop",
            help="windows that reach beyond their contig: left out, or padded",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses missing files and splits that overlap."""
        if not values.fasta:
            raise HparamError("--fasta is not set; give one or more FASTA files")
        check_files("--fasta", values.fasta)
        check_files("--intervals", values.intervals)
        given = [name for name in SPLIT_FILES if getattr(values, name)]
        contigs = [
            f"{s}_contigs" for s in ("train", "valid", "test") if getattr(values, f"{s}_contigs")
        ]
        if given and (values.intervals or contigs):
            other = "intervals" if values.intervals else contigs[0]
            raise HparamError(
                f"--{given[0]} and --{other} are both set: split by file or by contig, not by both"
            )
        names = [x for name in contigs for x in getattr(values, name)]
        twice = next((x for i, x in enumerate(names) if x in names[:i]), None)
        if twice is not None:
            raise HparamError(f"contig {twice!r} stands in two splits (--{', --'.join(contigs)})")


class FastaHparams(StoreHparams):
    """Sequences without labels: windows over whole contigs, or intervals of BED files."""

    name = "fasta"
    target = "seqmodel.dataset.data:FastaData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--stride",
            type=integer(1),
            help="letters from the start of a window to the start of the next; default: seq_len",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses windows without a length."""
        has_intervals = values.intervals or any(getattr(values, x) for x in SPLIT_FILES)
        if not has_intervals and values.seq_len is None:
            raise HparamError("--seq_len is not set; windows over whole contigs need a length")


class LabelledHparams(DatasetHparams):
    """What all data with labels have."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--label_columns",
            nargs="*",
            help="columns with the labels, by name or by number from 1; default: label in tables, "
            "column 4 in BED files",
        )
        parser.add_argument(
            "--class_names",
            nargs="*",
            help="names of the classes, in order, if the labels are not the numbers 0, 1, ...",
        )


class BedHparams(StoreHparams, LabelledHparams):
    """Intervals of BED files on FASTA files, with a class in one of the columns."""

    name = "bed"
    target = "seqmodel.dataset.data:BedData"

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses a set without intervals."""
        if not values.intervals and not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError("--intervals or --train_files is not set; give BED files with labels")


class TableHparams(LabelledHparams):
    """Tables (CSV, TSV) with a column of sequences and one of labels, a file for each split."""

    name = "table"
    target = "seqmodel.dataset.data:TableData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--sequence_column",
            default="sequence",
            help="column with the sequences, by name or by number from 1",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses a set without files."""
        if not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError(
                "--train_files is not set; give a table with the columns sequence,label"
            )


def check_files(flag: str, paths: list[str]) -> None:
    """Refuses paths that are no files.

    Raises:
        HparamError: one is missing; it is named with its absolute path.
    """
    for path in paths or []:
        if not os.path.isfile(path):
            where = "" if os.path.isabs(path) else f" (looked in {os.getcwd()})"
            what = "is a folder" if os.path.isdir(path) else "no such file"
            raise HparamError(f"{flag}: {path}: {what}{where}")
