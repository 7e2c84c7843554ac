"""Use all verbs on a network that seqmodel did not train: `seqmodel.wrap(module, ...)`.

model = seqmodel.wrap(net, layout="NAL", seq_len=2114, targets=["accessible"], task="regress")
model.predict(["ACGT..."])
model.save("published.ckpt", plugin="my_module:Net")  # for the command line
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.seq.alphabet import UNKNOWN_RULES, Alphabet, alphabet_from_name
from seqmodel.errors import HparamError, ModelError
from seqmodel.hparam.model import NoDecoderHparams, WrappedHparams
from seqmodel.hparam.optim import AdamWHparams, ConstantHparams
from seqmodel.hparam.plugin import import_plugin
from seqmodel.hparam.registry import choices, known_hparams
from seqmodel.hparam.target import resolve_target
from seqmodel.hparam.task import TaskHparams
from seqmodel.hparam.trust import plugin_digests
from seqmodel.infer.model import Member, Model, TrainedOn
from seqmodel.model.wrapped import NoDecoder, WrappedEncoder
from seqmodel.record import checkpoint
from seqmodel.task.task import check_task

KINDS = {"classify": "class", "multilabel": "multilabel", "regress": "real", "profile": "track"}
LETTERS = ("masked", "causal")
"""Tasks whose outputs are the symbols."""
_BATCH_SIZE = 64


def wrap(
    module: nn.Module,
    *,
    seq_len: int,
    targets: Sequence[str] | Targets = (),
    task: str = "regress",
    alphabet: str | Alphabet = "dna",
    layout: str = "NAL",
    letters: str | None = None,
    unknown: str = "uniform",
    bin_len: int = 1,
    average_strands: bool = False,
    batch_size: int = _BATCH_SIZE,
) -> Model:
    """Wrap a module as a Model with all verbs; the weights are shared, not copied.

    The module returns [N, T], or [N, L', T] for profile, masked and causal: numbers (regress),
    logits (classify, multilabel, masked, causal), or logarithms of expected counts (profile).
    Outputs that cover less than the input belong to its middle.

    Args:
        module: Module that reads sequences in one layout. It is set to evaluation mode.
        seq_len: Length of its input.
        targets: Names of the T outputs; optional for masked and causal.
        task: classify, multilabel, regress, profile, masked or causal.
        alphabet: "dna", "rna", "protein", "letters:XYZ", or an Alphabet.
        layout: "NAL", one-hot [N, A, L]; "NLA", one-hot [N, L, A]; or "NL", ids [N, L].
        letters: Alphabet in the order of the module, such as "ACTG". Add N if the module has a
            channel or an id for unknown symbols, "-" for padding, "?" for masked positions, and
            "." for a channel without meaning.
        unknown: One-hot row of an unknown symbol if the module has no channel for it: "uniform"
            (1/A for each symbol) or "zeros".
        bin_len: Number of input positions for each output position.
        average_strands: Average the outputs of both strands.
        batch_size: Default number of sequences in a batch.

    Raises:
        HparamError: The options do not fit together.
        ModelError: The module does not return a tensor of these shapes.
    """
    alphabet = _alphabet(alphabet, letters, unknown)
    targets = _targets(targets, task)
    n_out = alphabet.n_letters if task in LETTERS else targets.n
    if seq_len < 1:
        raise HparamError(f"seq_len={seq_len}: must be 1 or more")
    values: dict[str, Any] = {
        "wrapped_layout": layout,
        "wrapped_letters": letters,
        "wrapped_n_out": n_out,
        "wrapped_bin_len": bin_len,
        "wrapped_gives_letters": task in LETTERS,
        "average_strands": average_strands,
        "causal": task == "causal",
        "outputs": "sequence" if task in ("classify", "multilabel", "regress") else "position",
    }
    module.eval()
    encoder = WrappedEncoder(WrappedHparams(**values), alphabet, module)
    device = next((x.device for x in (*module.parameters(), *module.buffers())), "cpu")
    encoder.to(device)
    encoder.n_positions = _positions(encoder, alphabet, seq_len, values["outputs"])
    values["wrapped_positions"] = encoder.n_positions
    hparams = choices(TaskHparams, known_hparams())[task](**values)
    cls = check_task(resolve_target(hparams.target))
    built = cls(
        hparams,
        encoder,
        NoDecoder(NoDecoderHparams(**values), encoder.n_out, n_out),
        alphabet=alphabet,
        targets=targets,
        optimiser=AdamWHparams(),
        schedule=ConstantHparams(),
    )
    name = type(module).__name__
    unseen = TrainedOn(None, None, {}, {})
    member = Member(name, built.eval(), task, seq_len, batch_size, unseen)
    return Wrapped([member._replace(bin_len=bin_len)], torch.device(device), values)


class Wrapped(Model):
    """A Model of a wrapped network."""

    def __init__(
        self, members: Sequence[Member], device: torch.device, values: Mapping[str, Any]
    ) -> None:
        super().__init__(members, device)
        self._values = dict(values)

    def save(self, path: str | os.PathLike[str], plugin: str) -> None:
        """Write a checkpoint for `seqmodel.load` and the command line.

        Args:
            path: Path of the file, such as "published.ckpt".
            plugin: Class or function that makes the network without arguments, such as
                "my_module:Net". The file names it; a person who loads the file decides whether to
                trust the module.

        Raises:
            HparamError: `plugin` cannot be imported here, or makes another network.
        """
        module = plugin.partition(":")[0]
        import_plugin(module)
        hparams = {**self._values, "wrapped_module": plugin, "plugins": [module]}
        self._compare(WrappedEncoder(WrappedHparams(**hparams), self.alphabet), plugin)
        task = self.members[0].task
        entry = checkpoint.stamp(
            {**hparams, **self._data_hparams()},
            alphabet=self.alphabet.to_dict(),
            targets=self.targets.to_dict(),
            splits={},
            data={},
            seq_len=self.seq_len,
            plugins=plugin_digests([module]),
        )
        checkpoint.save({"state_dict": task.state_dict(), "seqmodel": entry}, os.fspath(path))

    def _data_hparams(self) -> dict[str, Any]:
        """Return hyperparameters of a run that could train the network further."""
        kind = self.targets.kind
        return {
            "task": self.task,
            "encoder": WrappedHparams.name,
            "decoder": NoDecoderHparams.name,
            "dataset": "table",
            "train_files": ["unknown"],
            "label_kind": kind if kind in ("class", "multilabel") else "real",
            "class_names": list(self.targets.names) if kind == "class" else [],
            "alphabet": self.alphabet.name,
            "unknown": self.alphabet.unknown,
            "batch_size": self.members[0].batch_size,
            "seq_len": self.seq_len,
            "bin_len": self._values["wrapped_bin_len"],
        }

    @torch.no_grad()
    def _compare(self, again: WrappedEncoder, plugin: str) -> None:
        """Check that the plugin makes the same network."""
        own = self.members[0].task.encoder
        one, two = ({n: x.shape for n, x in e.state_dict().items()} for e in (own, again))
        other = sorted(x for x in {*one, *two} if one.get(x) != two.get(x))
        if other:
            raise HparamError(
                f"plugin={plugin!r} makes another network: {other[0].removeprefix('module.')} "
                "differs; name the class or function that made this network"
            )
        again.load_state_dict(own.state_dict())
        x = _trial(self.alphabet, self.seq_len or 1).to(self.device)
        if not torch.allclose(_tried(again.to(self.device).eval(), x), own(x), equal_nan=True):
            raise HparamError(f"plugin={plugin!r} makes a network with other outputs")


def _alphabet(alphabet: str | Alphabet, letters: str | None, unknown: str) -> Alphabet:
    """Return the alphabet with its rule for unknown letters: zeros if they have a channel."""
    if unknown not in UNKNOWN_RULES:
        raise HparamError(f"unknown={unknown!r}: choose one of {', '.join(UNKNOWN_RULES)}")
    if isinstance(alphabet, str):
        alphabet = alphabet_from_name(alphabet)
    if set((letters or "").upper()) & set(alphabet.ambiguous):
        unknown = "zeros"
    return replace(alphabet, unknown=unknown)


def _targets(targets: Sequence[str] | Targets, task: str) -> Targets:
    """Return the kind and names of the outputs.

    Raises:
        HparamError: No target is given, or the task is unknown.
    """
    if isinstance(targets, Targets):
        return targets
    names = tuple([targets] if isinstance(targets, str) else targets)
    if task in LETTERS:
        return Targets()
    if task not in KINDS:
        raise HparamError(f"task={task!r}: choose one of {', '.join([*KINDS, *LETTERS])}")
    if not names:
        raise HparamError(f"targets is not set; name each output of the network, for task={task!r}")
    if len(set(names)) < len(names):
        raise HparamError(f"targets={list(names)}: names must be unique")
    return Targets(KINDS[task], names)


@torch.no_grad()
def _positions(encoder: WrappedEncoder, alphabet: Alphabet, seq_len: int, outputs: str) -> int:
    """Return the number of output positions; 0 if the task has one output per sequence.

    Raises:
        ModelError: The network has the other kind of output, or cannot read a sequence.
    """
    found = _tried(encoder, _trial(alphabet, seq_len).to(encoder.table.device))
    if outputs == "position":
        encoder.n_positions = found.shape[1]
        encoder.out_pad(torch.zeros(1, seq_len, dtype=torch.bool))  # checks that the bins fit
        return found.shape[1]
    if found.shape[1] != 1:
        raise ModelError(
            f"{type(encoder.module).__name__} returns {found.shape[1]} positions, but the task has "
            "one output per sequence; set task to profile, masked or causal"
        )
    return 0


def _tried(encoder: WrappedEncoder, x: Tensor) -> Tensor:
    try:
        return encoder(x)
    except ModelError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as e:
        raise ModelError(
            f"{type(encoder.module).__name__} cannot read {list(encoder.given(x).shape)} "
            f"(layout {encoder.layout}): {str(e).splitlines()[0]}"
        ) from e


def _trial(alphabet: Alphabet, seq_len: int) -> Tensor:
    """Return the ids of two random sequences."""
    ids = np.random.default_rng(0).integers(0, alphabet.n_letters, (2, seq_len))
    return torch.from_numpy(ids.astype(np.uint8))
