"""Encoders and decoders, and the functions that build them from hyperparameters."""

from seqmodel.model.build import adapt_encoder, build_decoder, build_encoder
from seqmodel.model.encoder import Encoder

__all__ = ["Encoder", "adapt_encoder", "build_decoder", "build_encoder"]
