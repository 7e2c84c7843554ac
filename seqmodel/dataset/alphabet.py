"""Moved to seqmodel.dataset.seq.alphabet."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.dataset.seq.alphabet")
