"""Old location of seqmodel.job.search.space."""

from seqmodel.moved import moved

moved(__name__, "seqmodel.job.search.space")
