"""Explain what to do when memory runs out."""

from __future__ import annotations

import re

import torch

from seqmodel.errors import RunError

ADVICE = (
    "lower --batch_size (and raise --accumulate_grad_batches as much: the same steps), --seq_len, "
    "--n_dims or --n_layers; or set --checkpoint_activations=True, --attention_window=N or "
    "--precision=bf16-mixed"
)


def explain_out_of_memory(error: BaseException) -> RunError | None:
    """Return the error to raise instead of `error` if memory ran out, else None."""
    text = str(error)
    on_cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text
    on_device = isinstance(error, torch.OutOfMemoryError)
    if not (on_cpu or on_device or isinstance(error, MemoryError)):
        return None
    where = "on the GPU" if on_device else "of this host"
    asked = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
    said = f" ({asked[0].lower()})" if asked else ""
    return RunError(f"out of memory {where}{said}: {ADVICE}")
