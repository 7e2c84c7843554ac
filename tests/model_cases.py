"""The encoders and options that every model law is tested on.

Every encoder of the package, and of the plugins that SEQMODEL_PLUGINS names; a test of one has the
encoder's name in its id. Those of --encoder=hf need a folder: tests/model/test_hf.py;
--encoder=wrapped needs a network: tests/infer/test_wrap.py.
"""

import os

import torch

from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.hparam.model import EncoderHparams, PooledHparams, TransformerHparams
from seqmodel.hparam.registry import choices, known_hparams
from seqmodel.hparam.target import resolve_target
from seqmodel.model import Encoder, build_decoder, build_encoder

DNA = alphabet_from_name("dna")
SMALL = {"n_dims": 16, "n_layers": 2}

PLUGINS = ("examples.gru_hparams", *os.environ.get("SEQMODEL_PLUGINS", "").split())
ENCODERS = choices(EncoderHparams, known_hparams(PLUGINS))
del ENCODERS["hf"], ENCODERS["wrapped"]
SHORT = {"hyena": {"filter_length": 30}}

CASES: dict[str, EncoderHparams] = {
    "transformer-rms-swiglu": TransformerHparams(norm="rms", feed_forward="swiglu", **SMALL),
    "transformer-window": TransformerHparams(attention_window=5, **SMALL),
    "transformer-window-causal": TransformerHparams(attention_window=5, causal=True, **SMALL),
    "transformer-window-rc": TransformerHparams(attention_window=5, rc_equivariant=True, **SMALL),
}
for _name, _cls in ENCODERS.items():
    _values = SMALL | SHORT.get(_name, {})
    CASES[_name] = _cls(**_values)
    CASES[f"{_name}-rc"] = _cls(rc_equivariant=True, **_values)
    if resolve_target(_cls.target).has_causal:
        CASES[f"{_name}-causal"] = _cls(causal=True, **_values)


def changed(case: str, **more: object) -> EncoderHparams:
    """The hyperparameters of a case with some changed."""
    return type(CASES[case])(**vars(CASES[case].hparams) | more)


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
