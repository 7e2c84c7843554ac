"""All errors that seqmodel raises on purpose, as one tree.

::

    SeqmodelError
    |- HparamError (ValueError)       an unknown, invalid or clashing hyperparameter
    |- SequenceError (ValueError)     sequence files, alphabets, stores
    |- IntervalError (ValueError)     BED and other interval files, coordinates
    |- LabelError (ValueError)        labels, tables, tracks
    |- VariantError (ValueError)      variant files, alleles
    |- SamplerError (ValueError)      the order of samples and their division among processes
    |- ModelError (ValueError)        an encoder, decoder or task that breaks its contract
    |- CheckpointError (ValueError)   a checkpoint that is malicious, foreign, too new or unsuitable
    |- RunError (RuntimeError)        a run that cannot start or continue
    |  `- DivergedError               the loss is not finite
    `- JobError (RuntimeError)        submitting, finding, cancelling jobs
       |- ConnectionLost              the connection to the host broke; repeat the call
       |- MissingError                a folder or file does not exist
       `- BusyError                   another process submits the replicate, or it is queued

A message is one line: what is wrong, where, what was received, and what to do. The command line
prints it and exits with 2, or with 3 for DivergedError; a traceback means a bug in seqmodel. Light:
standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SeqmodelError(Exception):
    """Base of all errors that a user can fix; the command line exits with `exit_code`."""

    exit_code = 2


class HparamError(SeqmodelError, ValueError):
    """An unknown, invalid or clashing hyperparameter."""


class SequenceError(SeqmodelError, ValueError):
    """A sequence file, alphabet or store that cannot be used."""


class IntervalError(SeqmodelError, ValueError):
    """Intervals that are malformed or outside their contig."""


class LabelError(SeqmodelError, ValueError):
    """Labels, tables or tracks that cannot be read as declared."""


class VariantError(SeqmodelError, ValueError):
    """Variants that are malformed or do not belong to the genome."""


class SamplerError(SeqmodelError, ValueError):
    """A sampler that cannot divide its samples among the processes."""


class ModelError(SeqmodelError, ValueError):
    """An encoder, decoder or task that does not implement its interface."""


class CheckpointError(SeqmodelError, ValueError):
    """A checkpoint that is refused, with the reason."""


class RunError(SeqmodelError, RuntimeError):
    """A run that cannot start or continue."""


class DivergedError(RunError):
    """A training run whose loss is no longer finite."""

    exit_code = 3


class JobError(SeqmodelError, RuntimeError):
    """A job that could not be created, submitted, found or cancelled.

    Attributes:
        replicates: Replicates that were created or cancelled before the error.
    """

    replicates: Sequence[Any] = ()


class ConnectionLost(JobError):
    """The connection ended or timed out during an operation."""


class MissingError(JobError):
    """A folder or file that does not exist."""


class BusyError(JobError):
    """A replicate that another process is submitting, or that is waiting or running."""
