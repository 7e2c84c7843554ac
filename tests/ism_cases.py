"""Small networks whose encoder has a reach, and inputs for them."""

import torch
from model_cases import DNA, tokens_of
from task_cases import TWO_CLASSES, task_of

from seqmodel.dataset.label.targets import Targets
from seqmodel.hparam.model import (
    BinnedHparams,
    CnnHparams,
    DilatedConvHparams,
    PooledHparams,
    TransformerHparams,
)
from seqmodel.hparam.task import ClassifyHparams
from seqmodel.infer.model import Ensemble

SMALL = {"n_dims": 8, "dropout": 0.0}
DILATED = DilatedConvHparams(n_layers=2, kernel_size=3, first_kernel_size=5, **SMALL)
ENCODERS = {
    "dilated_conv": DILATED,
    "dilated_conv-causal": DilatedConvHparams(
        n_layers=2, kernel_size=3, first_kernel_size=5, causal=True, **SMALL
    ),
    "dilated_conv-rc": DilatedConvHparams(
        n_layers=2, kernel_size=3, first_kernel_size=5, rc_equivariant=True, **SMALL
    ),
    "cnn": CnnHparams(n_layers=2, kernel_size=3, first_kernel_size=5, pool_size=2, **SMALL),
    "cnn-rc": CnnHparams(
        n_layers=2, kernel_size=3, first_kernel_size=5, pool_size=2, rc_equivariant=True, **SMALL
    ),
    "transformer-window": TransformerHparams(n_layers=2, n_heads=2, attention_window=3, **SMALL),
}
DECODERS = {
    **{f"pooled-{x}": PooledHparams(pool=x) for x in ("mean", "max", "first", "attention")},
    "hidden": PooledHparams(n_decoder_dims=8),
    "binned-mean": BinnedHparams(n_bins=3, bin_pool="mean"),
    "binned-max": BinnedHparams(n_bins=4, bin_pool="max"),
}
TRACKS = Targets("track", ("a+", "a-"), (("a+", "a-"),))


def network_of(encoder, decoder=None, hparams=None, targets=TWO_CLASSES):
    """An ensemble of one task, whose weights and running means are not those of the beginning."""
    task = task_of(hparams or ClassifyHparams(), targets, encoder=encoder, decoder=decoder)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for x in task.parameters():
            x.add_(0.3 * torch.randn(x.shape, generator=generator))
        for name, x in task.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                x.add_(torch.rand(x.shape, generator=generator))
    return Ensemble([task]).eval()


def padded(length, rows=((0, None), (1, 3), (2, 30))):
    """Random ids with rows that end earlier, and their padding."""
    ids = tokens_of(len(rows), length)
    pad = torch.zeros(len(rows), length, dtype=torch.bool)
    for row, n in rows:
        if n is not None:
            pad[row, length - n :] = True
    return ids.masked_fill(pad, DNA.pad_id), pad
