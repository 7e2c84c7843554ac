"""Moved to seqmodel.training.trainer."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.training.trainer")
