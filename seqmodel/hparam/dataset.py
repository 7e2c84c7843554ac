"""Kinds of data and their hyperparameters. Light.

Windows and intervals of FASTA files are in genome.py.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Hashable, Iterable
from typing import TypeVar

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import PLACE, READING, SPLIT, TARGET, HparamParser, Hparams
from seqmodel.hparam.value import integer, number, path, str2bool

_T = TypeVar("_T", bound=Hashable)
SPLITS = ("train", "valid", "test")
HOMOLOGY_MIN = 0.2
SPLIT_FILES = tuple(f"{split}_files" for split in SPLITS)


class DatasetHparams(Hparams):
    """Hyperparameters of every kind of data: sequences, batches, splits and augmentation.

    Each hyperparameter of a dataset declares its `group` (hparams.GROUPS). The group decides which
    values a checkpoint sets when its model is applied to other data.
    """

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--alphabet",
            group=READING,
            default="dna",
            help="Alphabet of the sequences: dna, rna, protein, or letters:XYZ for your own "
            "characters.",
        )
        parser.add_argument(
            "--unknown",
            group=READING,
            choices=["uniform", "zeros"],
            default="uniform",
            help="One-hot encoding of an unknown base or residue such as N. uniform: 1/n for each "
            "of the n channels.",
        )
        parser.add_argument(
            "--seq_len",
            group=READING,
            type=integer(1),
            help="Length of the model's input, in bp or residues. If it is longer than an "
            "interval, the input includes the flanks. If unset: the length of the intervals, "
            "or of the longest sequence.",
        )
        parser.add_argument(
            "--batch_size",
            group=READING,
            type=integer(1),
            default=64,
            help="Number of samples in a batch on each device.",
        )
        _add_splits(parser)
        _add_homology(parser)
        _add_augmentation(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse mistakes that are visible without reading the data."""
        paths = [os.path.realpath(x) for name in SPLIT_FILES for x in getattr(values, name)]
        twice = repeated(paths)
        if twice is not None:
            raise HparamError(
                f"{twice} is given twice in --train_files, --valid_files and --test_files; "
                "give it once"
            )
        if values.valid_prop + values.test_prop >= 1:
            raise HparamError("--valid_prop and --test_prop leave no training data; lower them")
        _check_homology(values)
        if values.alphabet == "protein" and values.rc_prob > 0:
            raise HparamError("--rc_prob: proteins have no reverse complement; set it to 0")


def _add_splits(parser: HparamParser) -> None:
    for split in SPLITS:
        parser.add_argument(
            f"--{split}_files",
            group=PLACE,
            type=path(),
            nargs="*",
            help=f"Files of the {split} split, of the kind that --dataset reads: intervals, tables "
            "or arrays. If unset: none.",
        )
    parser.add_argument(
        "--split_column",
        group=SPLIT,
        help="Column of the training files or intervals with the split of each row: train, valid "
        "(or val, dev) or test. If unset: no column.",
    )
    parser.add_argument(
        "--valid_column",
        group=SPLIT,
        help="Column of the training files or intervals with true or false. Training rows with "
        "true are in the valid split. If unset: no column.",
    )
    for split in ("valid", "test"):
        parser.add_argument(
            f"--{split}_prop",
            group=SPLIT,
            type=number(0, 1, open_hi=True),
            default=0.0,
            help=f"Proportion of the training data that is moved to the {split} split, selected by "
            "a digest of the contig, or of the sequence in tables. The result is the same on every "
            "host.",
        )


def _add_homology(parser: HparamParser) -> None:
    parser.add_argument(
        "--split_by",
        group=SPLIT,
        choices=["digest", "homology"],
        default="digest",
        help="How --valid_prop and --test_prop divide the training data. homology: similar "
        "sequences are in the same split. The run folder contains split.tsv with the split "
        "of each row.",
    )
    parser.add_argument(
        "--homology_min",
        group=SPLIT,
        type=number(0, 1, open_lo=True),
        default=HOMOLOGY_MIN,
        help="Minimum similarity for --split_by=homology: two sequences are similar if one "
        "contains at least this proportion of the distinct k-mers of the other (k is 16, or "
        "6 for proteins).",
    )


def _check_homology(values: Namespace) -> None:
    if values.split_by == "homology" and not values.valid_prop + values.test_prop:
        raise HparamError("--split_by=homology needs --valid_prop or --test_prop; set one")
    if values.split_by != "homology" and values.homology_min != HOMOLOGY_MIN:
        raise HparamError("--homology_min has no effect without --split_by=homology")


def _add_augmentation(parser: HparamParser) -> None:
    parser.add_argument(
        "--rc_prob",
        group=READING,
        type=number(0, 1),
        default=0.0,
        help="Probability that a training sample is replaced by its reverse complement.",
    )
    parser.add_argument(
        "--noise_prop",
        group=READING,
        type=number(0, 1),
        default=0.0,
        help="Proportion of the positions of a training sample that are replaced by a random "
        "character of the alphabet.",
    )


class FilesHparams(DatasetHparams):
    """Hyperparameters of all data in FASTA files."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--fasta",
            group=PLACE,
            type=path(),
            nargs="*",
            help="FASTA files (plain, gzip, bgzip) or 2bit files. Contig names must be unique "
            "across all files.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a dataset without files."""
        if not values.fasta:
            raise HparamError("--fasta is not set; give one or more FASTA files")


class KindHparams(DatasetHparams):
    """Hyperparameters of all data with labels."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--label_kind",
            group=TARGET,
            choices=["class", "multilabel", "real"],
            help="Kind of the labels. class: one class; multilabel: several columns of 0 and 1; "
            "real: numbers. In multilabel and real, values may be missing. If unset: the kind that "
            "--task predicts.",
        )


class LabelledHparams(KindHparams):
    """Hyperparameters of all data with columns of labels."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.set_defaults(label_kind="class")
        parser.add_argument(
            "--label_columns",
            group=READING,
            nargs="*",
            help="Columns with the labels, by name or by number from 1. If unset: `label` in "
            "tables, column 4 in BED files.",
        )
        parser.add_argument(
            "--class_names",
            group=READING,
            nargs="*",
            help="Names of the classes, in order. If unset: the labels are the numbers 0, 1, ...",
        )
        parser.add_argument(
            "--balanced",
            group=READING,
            type=str2bool,
            default=False,
            help="Draw the training samples with replacement, with equal probability for each "
            "class.",
        )
        parser.add_argument(
            "--weight_column",
            group=READING,
            help="Column with weights: training samples are drawn with replacement, in proportion "
            "to their weight. If unset: each sample is used once in an epoch.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse combinations that cannot work."""
        if values.balanced and values.weight_column:
            raise HparamError("--balanced and --weight_column are both set; give one of them")
        twice = repeated(values.class_names)
        if twice is not None:
            raise HparamError(f"--class_names: {twice!r} occurs twice; name each class once")
        if values.label_kind != "class" and (values.balanced or values.class_names):
            name = "balanced" if values.balanced else "class_names"
            raise HparamError(f"--{name} needs --label_kind=class, not {values.label_kind}")
        if values.label_kind == "class" and len(values.label_columns) > 1:
            raise HparamError(
                "--label_columns: only one column can hold the class; for several, set --label_kind"
            )


class SequencesHparams(LabelledHparams):
    """Hyperparameters of the data whose items are whole sequences."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--sequence_column",
            group=READING,
            default="sequence",
            help="Column with the sequences, or with their names for --dataset=records, by name, "
            "or by number from 1 in a file without a header line.",
        )
        parser.add_argument(
            "--length_buckets",
            group=READING,
            type=str2bool,
            default=False,
            help="Make batches of sequences of similar length, padded to the longest sequence of "
            "the batch.",
        )
        parser.add_argument(
            "--quotes",
            group=READING,
            choices=["auto", "none", "fields", "lines"],
            default="auto",
            help="Meaning of double quotes in CSV and TSV files. none: an ordinary character; "
            "fields: they enclose a field; lines: they enclose a field that may contain line "
            "breaks; auto: fields in CSV files, none in TSV files.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a dataset without files."""
        if not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError("--train_files is not set; give a table with sequences and labels")


class TableHparams(SequencesHparams):
    """Tables (CSV, TSV or Parquet) with a column of sequences and columns of labels."""

    name = "table"
    target = "seqmodel.dataset.table_data:TableData"


class RecordsHparams(SequencesHparams, FilesHparams):
    """Whole records of FASTA files, with tables of their names and labels."""

    name = "records"
    target = "seqmodel.dataset.table_data:RecordsData"


class ArraysHparams(KindHparams):
    """Arrays of one-hot sequences and labels: .mat of DeepSEA (v5 and v7.3), .h5 or .npz."""

    name = "arrays"
    target = "seqmodel.dataset.array_data:ArrayData"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--array_names",
            group=READING,
            nargs="*",
            help="Names of two arrays: the sequences and the labels. If unset: the names that "
            "DeepSEA and similar data use (trainxdata traindata, x y, ...).",
        )
        parser.add_argument(
            "--onehot_letters",
            group=READING,
            help="Order of the one-hot channels in the arrays. If unset: AGCT in .mat files "
            "(DeepSEA), otherwise ACGT.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a dataset without files."""
        if not any(getattr(values, x) for x in SPLIT_FILES):
            raise HparamError("--train_files is not set; give .mat, .h5 or .npz files")
        dividing = ("split_column", "valid_column", "valid_prop", "test_prop")
        unused = next((x for x in dividing if getattr(values, x)), None)
        if unused:
            raise HparamError(
                f"--{unused} has no effect with --dataset=arrays; give a file for each split"
            )
        if values.array_names and len(values.array_names) != 2:
            raise HparamError("--array_names: give two names, of the sequences and of the labels")


def repeated(items: Iterable[_T]) -> _T | None:
    """Return the first item that occurs twice in `items`."""
    seen: set[_T] = set()
    for x in items:
        if x in seen:
            return x
        seen.add(x)
    return None
