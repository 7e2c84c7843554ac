"""Builds encoders and decoders from their hyperparameters.

Only this module resolves their `target` strings and applies the options of every encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from seqmodel.errors import ModelError
from seqmodel.hparam.target import resolve_target
from seqmodel.model.adapt import add_lora, freeze
from seqmodel.model.encoder import Encoder, check_encoder
from seqmodel.model.equivariant import BothStrands

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


def build_encoder(hparams: Hparams, alphabet: Alphabet) -> Encoder:
    """Build and initialise the encoder that `hparams` (a subclass of EncoderHparams) describes.

    Load the encoder weights of a checkpoint into the result before you call `adapt_encoder`.

    Raises:
        ModelError: Its class lacks a required attribute.
    """
    encoder = resolve_target(hparams.target)(hparams, alphabet)
    check_encoder(encoder)
    if hparams.checkpoint_activations:
        encoder.require_blocks("--checkpoint_activations=True")
    return BothStrands(encoder, alphabet) if hparams.rc_equivariant else encoder


def adapt_encoder(encoder: Encoder, hparams: Hparams) -> Encoder:
    """Freeze weights of `encoder` and add adapters as `hparams` specifies.

    Adapters add parameters and rename the parameters of the adapted layers.
    """
    if hparams.lora_rank:
        add_lora(encoder, hparams.lora_rank, hparams.lora_alpha)
    freeze(encoder, hparams.freeze_layers)
    return encoder


def build_decoder(hparams: Hparams, encoder: Encoder, n_out: int) -> nn.Module:
    """Build the decoder that reads `encoder` and returns `n_out` outputs.

    Raises:
        ModelError: It does not declare whether it returns an output for each position.
    """
    decoder = resolve_target(hparams.target)(hparams, encoder.n_out, n_out)
    if not isinstance(getattr(decoder, "per_position", None), bool):
        raise ModelError(
            f"{type(decoder).__name__} has no per_position: set it to True in the class if forward "
            "returns [N, L, n_out], to False if it returns [N, n_out]"
        )
    return decoder
