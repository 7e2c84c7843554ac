"""Any nn.Module behind the interface of the encoders: `--encoder=wrapped --decoder=none`.

The sequence is given to it in its own layout and order. What it gives, [N, T] or [N, L', T], is the
output of the task itself; one output a sequence is one position here, [N, 1, T].
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
    """A module that was written elsewhere: [N, L] -> [N, L', T], or [N, 1, T].

    Args:
        hparams: of the class WrappedHparams.
        alphabet: of the sequences.
        module: the module itself; None to build what `wrapped_module` names.
    """

    has_causal = True  # only its author knows
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
        """What `forward` gives; it has no stride."""
        return nn.Module.__call__(self, x, pad)

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """The outputs of the module.

        Raises:
            ModelError: they have another shape than was declared.
        """
        outputs = self.module(self.given(x))
        n = x.shape[0]
        if not isinstance(outputs, Tensor):
            raise ModelError(
                f"{self._name} gives a {type(outputs).__name__}; wrap a module that gives one "
                "tensor [N, T] or [N, L', T]"
            )
        if outputs.ndim == 1 and self.n_out == 1:
            outputs = outputs[:, None]
        if outputs.ndim == 2:
            outputs = outputs[:, None]
        n_given = self.n_channels if self.gives_letters else self.n_out
        if outputs.ndim != 3 or outputs.shape[0] != n or outputs.shape[2] != n_given:
            raise ModelError(
                f"{self._name} gives {list(outputs.shape)} for {n} sequences of {x.shape[1]} bp; "
                f"[N, T] or [N, L', T] with T = {n_given} is expected"
            )
        return outputs[..., self.order] if self.gives_letters else outputs

    def given(self, x: Tensor) -> Tensor:
        """Ids [N, L] or one-hot rows [N, L, A] as the module wants them.

        Raises:
            ModelError: a gradient with respect to ids is wanted.
        """
        if self.layout == "NL":
            if x.is_floating_point():
                if x.requires_grad:
                    raise ModelError(
                        f"{self._name} reads ids, which have no gradient; use a method without "
                        "gradients, such as ism"
                    )
                # a row of zeros, or of equal parts, is no letter
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
        """Which positions of the output are padding: those with padding in their bin.

        The outputs are in the middle of the input.
        """
        if pad is None or not self.n_positions:
            return None
        size = self.n_positions * self.bin_len
        crop = (pad.shape[1] - size) // 2
        if crop < 0:
            raise ModelError(
                f"{self._name} gives {self.n_positions} bins of {self.bin_len} bp, more than "
                f"the {pad.shape[1]} of its input; correct bin_len"
            )
        return pad[:, crop : crop + size].unflatten(1, (self.n_positions, self.bin_len)).any(2)

    @property
    def _name(self) -> str:
        return type(self.module).__name__


class NoDecoder(nn.Module):
    """The encoder's outputs as they are: [N, L', T], or [N, T] of [N, 1, T]."""

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.per_position = hparams.outputs == "position"
        if n_in != n_out:
            raise HparamError(
                f"--decoder=none: the encoder gives {n_in} outputs, the task needs {n_out}"
            )

    def forward(self, encoded: Tensor, pad: Tensor | None = None) -> Tensor:
        """`encoded`; without its position if that is the only one of a sequence."""
        if self.per_position:
            return encoded
        if encoded.shape[1] != 1:
            raise ModelError(
                f"--decoder=none --outputs=sequence: the encoder gives {encoded.shape[1]} "
                "positions; set --outputs=position, or choose another decoder"
            )
        return encoded[:, 0]


def order_of(letters: str, alphabet: Alphabet, layout: str) -> list[int]:
    """Number that the module has for each letter of the alphabet.

    Raises:
        HparamError: a letter is missing, there twice, or unknown.
    """
    marks = {MASK, PAD, UNUSED, *alphabet.ambiguous}
    strange = [x for x in letters if x not in marks and x not in alphabet.letters]
    wrong = [x for x in alphabet.letters if letters.count(x) != 1]
    if strange or wrong:
        what = f"has {strange[0]!r}" if strange else f"has {wrong[0]!r} not exactly once"
        raise HparamError(
            f"letters={letters!r}: {what}; give the {alphabet.n_letters} letters of the alphabet "
            f"{alphabet.name!r} in the order of the module ({''.join(alphabet.letters)} if it is "
            f"the same), N or the like for what is not known, {UNUSED} for a number without meaning"
        )
    if layout == "NL" and not set(letters) & set(alphabet.ambiguous):
        raise HparamError(
            f"letters={letters!r}: with layout NL the place of unknown bases is needed; add "
            f"{alphabet.ambiguous[:1] or UNUSED} where the module has it, such as "
            f"{letters}{alphabet.ambiguous[:1]}"
        )
    return [letters.index(x) for x in alphabet.letters]


def table_of(letters: str, alphabet: Alphabet, layout: str) -> np.ndarray:
    """What the module is given for each id of the alphabet: a row, or a number.

    Padding and hidden positions are as unknown bases where the module has a place for these and
    none for them; rows of zeros where it has none.
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
    """The module that `module:name` names: a class derived from nn.Module, or a function.

    Raises:
        HparamError: there is none, or calling it without arguments gives no module.
    """
    name, _, attribute = (target or "").partition(":")
    how = "write my_module:Net, a class or function that makes the network without arguments"
    if not name or not attribute:
        raise HparamError(f"--wrapped_module={target}: {how}")
    try:
        maker: Any = getattr(import_module(name), attribute, None)
    except ImportError as e:
        raise HparamError(f"--wrapped_module={target}: cannot import {name!r}: {e}") from e
    own = inspect.isfunction(maker) and maker.__module__ == name
    if not own and not (isinstance(maker, type) and issubclass(maker, nn.Module)):
        raise HparamError(f"--wrapped_module={target}: there is no such network; {how}")
    try:
        module = maker()
    except TypeError as e:
        raise HparamError(f"--wrapped_module={target}: {e}; {how}") from e
    if not isinstance(module, nn.Module):
        raise HparamError(f"--wrapped_module={target}: it gives a {type(module).__name__}; {how}")
    return module
