"""Moved to seqmodel.record.folder."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.record.folder")
