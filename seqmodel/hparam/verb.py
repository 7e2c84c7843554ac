"""The verbs whose inputs can be divided among jobs, and their hyperparameters. Light."""

from __future__ import annotations

from seqmodel.hparam.attribute import AttributeHparams
from seqmodel.hparam.infer import ApplyHparams, EmbedHparams, PredictHparams, VariantsHparams

PARTED: dict[str, type[ApplyHparams]] = {
    "predict": PredictHparams,
    "variants": VariantsHparams,
    "attribute": AttributeHparams,
    "embed": EmbedHparams,
}
