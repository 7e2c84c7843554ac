"""Any nn.Module behind the encoder interface: `--encoder=wrapped --decoder=none`.

The module receives the sequence in its own layout and symbol order. Its output, [N, T] or
[N, L', T], is the output of the task; one output per sequence becomes one position, [N, 1, T].
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError, ModelError
from seqmodel.model.encoder import Encoder

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams

MASK, PAD, UNUSED = "?", "-", "."
"""What represents a position that is hidden, for padding, and for a number without a letter."""


class WrappedEncoder(Encoder):
    """A module from other code: [N, L] -> [N, L', T], or [N, 1, T].

    Args:
        hparams: Hyperparameters, a WrappedHparams.
        alphabet: Alphabet of the sequences.
        module: The module itself. None means build the one that `wrapped_module` names.
    """

    has_causal = True  # only the author of the module knows it
    table: Tensor
    order: Tensor

    def __init__(
        self, hparams: Hparams, alphabet: Alphabet, module: nn.Module | None = None
    ) -> None:
        super().__init__(hparams)
        self.layout, self.bin_len = hparams.wrapped_layout, hparams.wrapped_bin_len
        self.n_out, self.n_positions = hparams.wrapped_n_out, hparams.wrapped_positions
        letters = (hparams.wrapped_letters or "".join(alphabet.letters)).upper()
        order = order_of(letters, alphabet, self.layout)
        self.unknown = next((i for i, x in enumerate(letters) if x in alphabet.ambiguous), None)
        self.n_channels = len(letters)
        self.gives_letters = hparams.wrapped_gives_letters
        if self.gives_letters:
            self.n_out = alphabet.n_letters
        table = table_of(letters, alphabet, self.layout)
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.module = built(hparams.wrapped_module) if module is None else module

    def __call__(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the result of `forward`, which has no stride."""
        return nn.Module.__call__(self, x, pad)

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the outputs of the module.

        Raises:
            ModelError: Their shape differs from the declared one.
        """
        outputs = self.module(self.given(x))
        n = x.shape[0]
        if not isinstance(outputs, Tensor):
            raise ModelError(
                f"{self._name} returns a {type(outputs).__name__}; wrap a module that returns one "
                "tensor [N, T] or [N, L', T]"
            )
        if outputs.ndim == 1 and self.n_out == 1:
            outputs = outputs[:, None]
        if outputs.ndim == 2:
            outputs = outputs[:, None]
        n_given = self.n_channels if self.gives_letters else self.n_out
        if outputs.ndim != 3 or outputs.shape[0] != n or outputs.shape[2] != n_given:
            raise ModelError(
                f"{self._name} returns {list(outputs.shape)} for {n} sequences of {x.shape[1]} bp; "
                f"[N, T] or [N, L', T] with T = {n_given} is expected"
            )
        return outputs[..., self.order] if self.gives_letters else outputs

    def given(self, x: Tensor) -> Tensor:
        """Convert ids [N, L] or one-hot rows [N, L, A] to the input of the module.

        Raises:
            ModelError: A gradient with respect to ids is required.
        """
        if self.layout == "NL":
            if x.is_floating_point():
                if x.requires_grad:
                    raise ModelError(
                        f"{self._name} reads ids, which have no gradient; use a method without "
                        "gradients, such as ism"
                    )
                # a row of zeros or of equal values is not a known symbol
                top, at = x.max(-1)
                n_tokens = len(self.table)
                x = torch.where(top > 0.5, at, n_tokens - 1)
            return self.table[x.long()]
        if x.is_floating_point():
            rows = x.new_zeros(*x.shape[:2], self.n_channels)
            rows[..., self.order] = x
            if self.unknown is not None:
                rows[..., self.unknown] = 1 - x.sum(-1)
        else:
            rows = nn.functional.embedding(x.int(), self.table)
        return rows.mT if self.layout == "NAL" else rows

    def out_pad(self, pad: Tensor | None) -> Tensor | None:
        """Return the mask of output positions whose bin contains padding.

        The outputs lie in the middle of the input.
        """
        if pad is None or not self.n_positions:
            return None
        size = self.n_positions * self.bin_len
        crop = (pad.shape[1] - size) // 2
        if crop < 0:
            raise ModelError(
                f"{self._name} returns {self.n_positions} bins of {self.bin_len} bp, more than "
                f"the {pad.shape[1]} of its input; correct bin_len"
            )
        return pad[:, crop : crop + size].unflatten(1, (self.n_positions, self.bin_len)).any(2)

    @property
    def _name(self) -> str:
        return type(self.module).__name__


class NoDecoder(nn.Module):
    """The unchanged outputs of the encoder, [N, L', T]; [N, 1, T] becomes [N, T]."""

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.per_position = hparams.outputs == "position"
        if n_in != n_out:
            raise HparamError(
                f"--decoder=none: the encoder returns {n_in} outputs, but the task needs {n_out}"
            )

    def forward(self, encoded: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return `encoded`, without the axis of positions if a sequence has only one."""
        if self.per_position:
            return encoded
        if encoded.shape[1] != 1:
            raise ModelError(
                f"--decoder=none --outputs=sequence: the encoder returns {encoded.shape[1]} "
                "positions; set --outputs=position, or choose another decoder"
            )
        return encoded[:, 0]


def order_of(letters: str, alphabet: Alphabet, layout: str) -> list[int]:
    """Return the number that the module uses for each symbol of the alphabet.

    Raises:
        HparamError: A symbol is missing, duplicated or unknown.
    """
    marks = {MASK, PAD, UNUSED, *alphabet.ambiguous}
    strange = [x for x in letters if x not in marks and x not in alphabet.letters]
    wrong = [x for x in alphabet.letters if letters.count(x) != 1]
    if strange or wrong:
        what = f"has {strange[0]!r}" if strange else f"has {wrong[0]!r} zero or several times"
        raise HparamError(
            f"wrapped_letters={letters!r}: {what}; give the {alphabet.n_letters} symbols of "
            f"alphabet {alphabet.name!r} in the order of the module "
            f"({''.join(alphabet.letters)} if it is the same), "
            f"N or similar for unknown, {UNUSED} for a number without a meaning"
        )
    if layout == "NL" and not set(letters) & set(alphabet.ambiguous):
        raise HparamError(
            f"wrapped_letters={letters!r}: layout NL needs the position of unknown bases; add "
            f"{alphabet.ambiguous[:1] or UNUSED} at the module's position, such as "
            f"{letters}{alphabet.ambiguous[:1]}"
        )
    return [letters.index(x) for x in alphabet.letters]


def table_of(letters: str, alphabet: Alphabet, layout: str) -> np.ndarray:
    """Return the module's input for each id of the alphabet: a row, or a number.

    If the module has no symbol for padding and masked positions, they use the symbol of unknown
    bases; without that symbol they are rows of zeros.
    """
    order = order_of(letters, alphabet, layout)
    unknown = next((i for i, x in enumerate(letters) if x in alphabet.ambiguous), -1)
    marks = [letters.find(MASK), letters.find(PAD), unknown]
    numbers = np.array(order + [unknown if x < 0 else x for x in marks], dtype=np.int64)
    if layout == "NL":
        return numbers
    table = np.zeros((alphabet.n_tokens, len(letters)), dtype=np.float32)
    there = numbers >= 0
    table[np.flatnonzero(there), numbers[there]] = 1
    if unknown < 0 and alphabet.unknown == "uniform":
        table[alphabet.unknown_id, order] = 1 / alphabet.n_letters
    return table


def built(target: str | None) -> nn.Module:
    """Build the module that `module:name` names: a class derived from nn.Module, or a function.

    Raises:
        HparamError: It does not exist, or a call without arguments does not return a module.
    """
    name, _, attribute = (target or "").partition(":")
    how = "write my_module:Net, a class or function that builds the network without arguments"
    if not name or not attribute:
        raise HparamError(f"--wrapped_module={target}: {how}")
    try:
        maker: Any = getattr(import_module(name), attribute, None)
    except ImportError as e:
        raise HparamError(f"--wrapped_module={target}: cannot import {name!r}: {e}") from e
    own = inspect.isfunction(maker) and maker.__module__ == name
    if not own and not (isinstance(maker, type) and issubclass(maker, nn.Module)):
        raise HparamError(f"--wrapped_module={target}: the module has no such network; {how}")
    try:
        module = maker()
    except TypeError as e:
        raise HparamError(f"--wrapped_module={target}: {e}; {how}") from e
    if not isinstance(module, nn.Module):
        raise HparamError(f"--wrapped_module={target}: it returns a {type(module).__name__}; {how}")
    return module
