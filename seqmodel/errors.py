"""Every error that seqmodel raises on purpose, in one tree.

::

    SeqmodelError
    |- HparamError (ValueError)       a hyperparameter: unknown, badly valued, clashing
    |- SequenceError (ValueError)     sequence files, alphabets, stores
    |- IntervalError (ValueError)     BED and other interval files, coordinates
    |- LabelError (ValueError)        labels, tables, tracks
    |- VariantError (ValueError)      files of variants, alleles
    |- SamplerError (ValueError)      the order and the shares in which samples are read
    |- ModelError (ValueError)        an encoder, decoder or task that breaks its contract
    |- CheckpointError (ValueError)   a checkpoint that is hostile, foreign, too new or does not fit
    |- RunError (RuntimeError)        a run that cannot start or continue, with what to change
    |  `- DivergedError               its loss is not finite any more
    `- JobError (RuntimeError)        submitting, finding, ending jobs
       |- ConnectionLost              the connection to the other host was lost; repeat the call
       |- MissingError                a folder or file is not there
       `- BusyError                   a replicate is somebody else's to submit, or in the queue

A message is one line that says what, where, what came and what to do. The command line prints it
and exits with 2, or with 3 for DivergedError; a traceback is for our own bugs only. Light: standard
library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SeqmodelError(Exception):
    """Base of all errors that a user can fix; `exit_code` is that of the command line."""

    exit_code = 2


class HparamError(SeqmodelError, ValueError):
    """An unknown, clashing or badly valued hyperparameter."""


class SequenceError(SeqmodelError, ValueError):
    """A sequence file, alphabet or store that cannot be used."""


class IntervalError(SeqmodelError, ValueError):
    """Intervals that are malformed or outside of their contig."""


class LabelError(SeqmodelError, ValueError):
    """Labels, tables or tracks that cannot be read as declared."""


class VariantError(SeqmodelError, ValueError):
    """Variants that are malformed or do not belong to the genome."""


class SamplerError(SeqmodelError, ValueError):
    """A sampler that cannot share out its samples as asked."""


class ModelError(SeqmodelError, ValueError):
    """A class of an encoder, decoder or task that lacks what others rely on."""


class CheckpointError(SeqmodelError, ValueError):
    """A checkpoint that is refused, with the reason."""


class RunError(SeqmodelError, RuntimeError):
    """A run that cannot start or continue."""


class DivergedError(RunError):
    """A training whose loss is not a finite number any more."""

    exit_code = 3


class JobError(SeqmodelError, RuntimeError):
    """A job that could not be made, submitted, found or ended.

    Attributes:
        replicates: the Replicates that were made or ended before.
    """

    replicates: Sequence[Any] = ()


class ConnectionLost(JobError):
    """The connection ended, or did not answer in time, while an operation was under way."""


class MissingError(JobError):
    """A folder or file that is not there."""


class BusyError(JobError):
    """A replicate that somebody else is submitting, or that waits or runs."""
