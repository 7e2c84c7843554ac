"""The encoders and options that every model law is tested on."""

import torch

from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.hparam.model import (
    CnnHparams,
    ConvLstmHparams,
    DilatedConvHparams,
    EncoderHparams,
    HyenaHparams,
    PooledHparams,
    TransformerHparams,
)
from seqmodel.model import Encoder, build_decoder, build_encoder

DNA = alphabet_from_name("dna")
SMALL = {"n_dims": 16, "n_layers": 2}

CASES: dict[str, EncoderHparams] = {
    "transformer": TransformerHparams(**SMALL),
    "transformer-rms-swiglu": TransformerHparams(norm="rms", feed_forward="swiglu", **SMALL),
    "transformer-window": TransformerHparams(attention_window=5, **SMALL),
    "transformer-causal": TransformerHparams(causal=True, **SMALL),
    "transformer-causal-window": TransformerHparams(causal=True, attention_window=5, **SMALL),
    "transformer-checkpointed": TransformerHparams(checkpoint_activations=True, **SMALL),
    "transformer-rc": TransformerHparams(rc_equivariant=True, **SMALL),
    "transformer-rc-window": TransformerHparams(rc_equivariant=True, attention_window=5, **SMALL),
    "hyena": HyenaHparams(filter_length=30, **SMALL),
    "hyena-causal": HyenaHparams(filter_length=30, causal=True, **SMALL),
    "hyena-rc": HyenaHparams(filter_length=30, rc_equivariant=True, **SMALL),
    "cnn": CnnHparams(**SMALL),
    "cnn-rc": CnnHparams(rc_equivariant=True, **SMALL),
    "conv_lstm": ConvLstmHparams(**SMALL),
    "conv_lstm-rc": ConvLstmHparams(rc_equivariant=True, **SMALL),
    "dilated_conv-rc": DilatedConvHparams(rc_equivariant=True, **SMALL),
    "dilated_conv": DilatedConvHparams(**SMALL),
    "dilated_conv-causal": DilatedConvHparams(causal=True, **SMALL),
}


def encoder_of(case: str, seed: int = 0) -> Encoder:
    """A newly initialised encoder, the same at each call."""
    torch.manual_seed(seed)
    return build_encoder(CASES[case], DNA)


def classifier_of(encoder: Encoder, n_out: int = 2) -> torch.nn.Module:
    """A pooled linear decoder for it."""
    torch.manual_seed(1)
    return build_decoder(PooledHparams(), encoder, n_out)


def tokens_of(n: int, seq_len: int, seed: int = 0, n_ids: int = DNA.n_letters) -> torch.Tensor:
    """Random ids, uint8 [n, seq_len]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, n_ids, (n, seq_len), generator=generator, dtype=torch.uint8)
