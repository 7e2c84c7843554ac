"""Moved to seqmodel.record.checkpoint."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.record.checkpoint")
