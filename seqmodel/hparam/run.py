"""Moved to seqmodel.hparam.resolve."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.hparam.resolve")
