"""`seqmodel export`: write a model as a folder to publish, as ONNX, or with torch.export.

Each export is checked: five example sequences must give the same outputs.
"""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError, RunError
from seqmodel.extras import optional
from seqmodel.files import write_file
from seqmodel.hparam.header import CONFIG, WEIGHTS
from seqmodel.hparam.infer import ExportHparams
from seqmodel.infer.card import card, scores_of
from seqmodel.infer.command import model_of
from seqmodel.record import checkpoint

EXAMPLES, CARD = "example.tsv", "README.md"
N_EXAMPLES = 5
TOLERANCE = 1e-4
"""Largest difference to torch, relative to the largest output."""


class Exported(nn.Module):
    """The exported module: predictions or logits for full-length sequences in one layout."""

    def __init__(self, model: Any, layout: str, logits: bool) -> None:
        super().__init__()
        self.module, self.logits = model.module(layout), logits
        self.task = model.members[0].task
        self.eval()

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the outputs for one-hot floats [N, A, L] or [N, L, A], or ids [N, L]."""
        outputs = self.module(sequence)
        return outputs if self.logits else self.task.predictions(outputs)


def command(hparams: ExportHparams) -> list[str]:
    """Export a model to each path in `--to`; return the written paths.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    for to in hparams.to:
        _refuse_existing(to, hparams.overwrite)
    model = model_of(hparams)
    for to in hparams.to:
        export(model, to, hparams.layout, logits=hparams.logits, overwrite=hparams.overwrite)
    return list(hparams.to)


def export(
    model: Any,
    to: str | os.PathLike[str],
    layout: str = "NAL",
    *,
    logits: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model as a folder, `.onnx` or `.pt2`, and check the result.

    Args:
        model: Model (model.py).
        to: Path; its suffix selects the format.
        layout: Layout of the input of .onnx and .pt2: "NAL", "NLA", or "NL" for ids.
        logits: .onnx and .pt2 return logits instead of predictions.
        overwrite: Replace an existing file or folder.

    Raises:
        RunError: The export cannot be written, or its outputs differ from the model.
        HparamError: The model does not support this format.
    """
    to = os.fspath(to)
    _refuse_existing(to, overwrite)
    if model.seq_len is None:
        raise HparamError("the model has no sequence length; set --seq_len")
    if to.endswith(".onnx"):
        _onnx(model, to, layout, logits)
    elif to.endswith(".pt2"):
        _program(model, to, layout, logits)
    else:
        _folder(model, to)


def examples_of(model: Any) -> list[str]:
    """Return five random sequences; the last has unknown symbols, if the alphabet has any."""
    letters, unknown = list(model.alphabet.letters), model.alphabet.ambiguous[:1]
    drawn = np.random.default_rng(0).choice(letters, (N_EXAMPLES, model.seq_len))
    if unknown:
        drawn[-1, :: max(2, model.seq_len // 10)] = unknown
    return ["".join(x) for x in drawn]


def _refuse_existing(to: str, overwrite: bool) -> None:
    is_there = os.path.exists(to) and not (os.path.isdir(to) and not os.listdir(to))
    if is_there and not overwrite:
        raise RunError(f"{to} exists already; choose another --to, or set --overwrite")


# a folder to publish


def _folder(model: Any, to: str) -> None:
    save = optional("safetensors.torch", f"--to={to}", "export", HparamError).save
    if len(model.members) > 1:
        raise HparamError(
            f"--to={to}: a folder holds one model, not {len(model.members)}; export each of them"
        )
    member = model.members[0]
    if not os.path.isfile(member.path):
        raise HparamError(f"{member.path}: the model has no file yet; save it and load the file")
    header = checkpoint.header_of(checkpoint.load(member.path))
    weights = {
        n: x.detach().cpu().contiguous().clone() for n, x in member.task.state_dict().items()
    }
    texts = examples_of(model)
    predicted = model.predict(texts)
    scores = scores_of(member.path)
    files = {
        CARD: card(header, scores, os.path.basename(os.path.abspath(to))).encode(),
        EXAMPLES: example_table(model, texts, predicted).encode(),
        CONFIG: (json.dumps({**header, "scores": scores}, indent=1) + "\n").encode(),
        WEIGHTS: save(weights, metadata={"format": "pt"}),
    }
    for name, data in files.items():
        write_file(os.path.join(to, name), data, RunError, durable=True, parents=True)
    saved = checkpoint.load(os.path.join(to, WEIGHTS))
    checkpoint.put_weights(member.task, saved, to, alphabet=model.alphabet.to_dict())
    _compare(to, model.predict(texts), predicted)


def example_table(model: Any, texts: list[str], predicted: np.ndarray) -> str:
    """Return examples and predictions as TSV; several values of a target are a JSON list."""
    names = list(model.targets.names or model.alphabet.letters)
    lines = ["\t".join(["sequence", *names])]
    for text, row in zip(texts, predicted, strict=True):
        cells = [_cell(row[..., i]) for i in range(len(names))]
        lines.append("\t".join([text, *cells]))
    return "\n".join(lines) + "\n"


def _cell(value: np.ndarray) -> str:
    texts = [f"{x:.9g}" for x in np.atleast_1d(value).tolist()]
    return texts[0] if value.ndim == 0 else f"[{', '.join(texts)}]"


# programs


def _input(model: Any, layout: str) -> Tensor:
    ids = np.stack([model.alphabet.encode(x) for x in examples_of(model)])
    if layout == "NL":
        return torch.from_numpy(ids.astype(np.int64)).to(model.device)
    x = torch.from_numpy(model.alphabet.one_hot_table()[ids]).to(model.device)
    return x.mT.contiguous() if layout == "NAL" else x


def _traced(model: Any, to: str, layout: str, logits: bool) -> tuple[Any, Tensor, np.ndarray]:
    """Return the exported program, the five inputs and their outputs."""
    module = Exported(model, layout, logits)
    x = _input(model, layout)
    n = torch.export.Dim("n", min=1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own code
        wanted = module(x).cpu().numpy()
        try:
            program = torch.export.export(module, (x,), dynamic_shapes={"sequence": {0: n}})
        except Exception as e:  # of many classes, most of them private to torch
            raise HparamError(
                f"--to={to}: torch.export cannot export this model: {_first_line(e)}; export a "
                "folder"
            ) from e
    return program, x, wanted


def _program(model: Any, to: str, layout: str, logits: bool) -> None:
    program, x, wanted = _traced(model, to, layout, logits)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_file(to, buffer.getbuffer(), RunError, durable=True, parents=True)
    with torch.no_grad():
        again = torch.export.load(to).module()
        found = [again(x[i : i + 2]).cpu().numpy() for i in range(0, N_EXAMPLES, 2)]
    _compare(to, np.concatenate(found), wanted)


def _onnx(model: Any, to: str, layout: str, logits: bool) -> None:
    onnxruntime = optional("onnxruntime", f"--to={to}", "export", HparamError)
    optional("onnxscript", f"--to={to}", "export", HparamError)  # torch imports it late
    program, x, wanted = _traced(model, to, layout, logits)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code
            made = torch.onnx.export(
                program,
                (x,),
                dynamo=True,
                input_names=["sequence"],
                output_names=["logits" if logits else "prediction"],
                verbose=False,
            )
    except Exception as e:  # of many classes, most of them private to torch
        raise HparamError(
            f"--to={to}: the model has an operation that ONNX lacks: {_first_line(e)}; export a "
            ".pt2 or a folder"
        ) from e
    assert made is not None, "torch gives a program where it is not told a file"
    write_file(to, made.model_proto.SerializeToString(), RunError, durable=True, parents=True)
    session = onnxruntime.InferenceSession(to, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = x.cpu().numpy()
    found = [session.run(None, {name: rows[i : i + 2]})[0] for i in range(0, N_EXAMPLES, 2)]
    _compare(to, np.concatenate(found), wanted)


def _compare(to: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Check that the outputs equal those of the model.

    Raises:
        RunError: They differ; the message has the largest difference.
    """
    largest = np.nanmax(np.abs(wanted), initial=1e-6)
    difference = np.nanmax(np.abs(found - wanted), initial=0.0)
    same_shape = found.shape == wanted.shape and (np.isnan(found) == np.isnan(wanted)).all()
    if not same_shape or difference > TOLERANCE * largest:
        raise RunError(
            f"{to} was written, but its outputs for five examples differ from the model (largest "
            f"difference {difference:.3g}); do not use it, and report this"
        )


def _first_line(error: Exception) -> str:
    return next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)[:200]
