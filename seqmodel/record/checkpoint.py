"""Save and load checkpoints as whole, versioned files, without running any code of a file.

A checkpoint is Lightning's dictionary (weights, optimiser, loops, callbacks) with one more key,
`seqmodel`: VERSION, all hyperparameters, and what the model reads, predicts and was trained on
(`stamp`). The optional key `training_rows` has digests of the sequences that the model
was trained on (dataset/build.py). The file is written under a temporary name and renamed.
It is read with torch's `weights_only`, which builds tensors and plain containers and runs no code
of the file. The JSON header inside (hparam/header.py) is read first.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from lightning_fabric.plugins import CheckpointIO
from torch import nn

from seqmodel import VERSION
from seqmodel.dataset.label.targets import Targets, pairs_of
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import CheckpointError, RunError
from seqmodel.extras import optional
from seqmodel.files import reading, remove_stale, writing
from seqmodel.hparam.header import HEADER, KNOWN, MOST, SCHEMA, checked, read_header
from seqmodel.hparam.migrate import HPARAM_STEPS, Step, migrated

MOST_KEPT = 100_000  # contigs in the entry; the header has up to MOST

# changes of later versions to the rest of the dictionary: names of weights, callbacks, loops
CHECKPOINT_STEPS: tuple[Step, ...] = (
    Step("0.1.1", "targets have the tracks that are a pair of strands", lambda c: _with_pairs(c)),
)


ROWS = "training_rows"


class SafeCheckpointIO(CheckpointIO):
    """Let Lightning read and write checkpoint files with `save` and `load` below."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write `checkpoint` to `path`, whole or not at all."""
        save(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: object = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the checkpoint at `path`, on the CPU; always read with `weights_only`."""
        return load(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file at `path`."""
        Path(path).unlink(missing_ok=True)


def save(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write `checkpoint` to `path` with its header, whole or not at all.

    Raises:
        RunError: It cannot be written (disk full, no permission); an old file is kept.
    """
    remove_stale(path)
    header = json.dumps(header_of(checkpoint))
    advice = "the one before it is kept; free space or choose another --default_root_dir, then "
    advice += "--resume_from_checkpoint"
    with writing(path, RunError, durable=True, parents=True, advice=advice) as file:
        _write(checkpoint, header, file)


def _write(checkpoint: dict[str, Any], header: str, file: IO[bytes]) -> None:
    """Write tensor after tensor, so memory never holds a copy of the file.

    Raises:
        OSError: The disk is full, or another system error occurred.
    """
    out = _Kept(file)
    try:
        torch.save(checkpoint, out)  # type: ignore[arg-type]  # it only writes
    except Exception:
        if out.error is not None:  # torch reports only that it wrote too little
            raise out.error from None
        raise
    with zipfile.ZipFile(file, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/{HEADER}", header)


class _Kept:
    """An output file that keeps the first system error, which torch hides."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        try:
            return self.file.write(data)
        except OSError as e:
            self.error = self.error or e
            raise

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


def header_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON header of `checkpoint`: its entry, up to `MOST` contigs and data files."""
    own = checkpoint["seqmodel"]
    header = {name: own[name] for name in ("schema", "version", "hparams", *KNOWN)}
    for name in ("contigs", "data"):
        if own[name] is not None:
            header[name] = dict(islice(own[name].items(), MOST))
    return {**header, **({"plugins": own["plugins"]} if own.get("plugins") else {})}


def load(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint, or exported weights (`.safetensors`), with tensors on the CPU.

    Raises:
        CheckpointError: The file is malicious, damaged, foreign, or of a newer version.
    """
    header = read_header(str(path))
    if str(path).endswith(".safetensors"):
        return {"state_dict": _safetensors(path), "seqmodel": header}
    with reading(path, CheckpointError, "checkpoint"):
        # torch does not check the checksums that it wrote
        with zipfile.ZipFile(path) as archive:
            if (bad := archive.testzip()) is not None:
                raise CheckpointError(f"{path}: damaged, {bad} does not match its checksum")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as e:
            reason = str(e).split("\n")[0]
            raise CheckpointError(
                f"{path}: refused, it holds more than tensors and plain values ({reason}); "
                "nothing in it was run"
            ) from e
    if not isinstance(checkpoint, dict) or "seqmodel" not in checkpoint:
        raise CheckpointError(f"{path}: not a checkpoint of seqmodel (no 'seqmodel' entry inside)")
    own, weights = checkpoint["seqmodel"], checkpoint.get("state_dict")
    if not (isinstance(weights, dict) and isinstance(own, dict)):
        raise CheckpointError(f"{path}: damaged, its weights or 'seqmodel' entry are not a table")
    if not (isinstance(own.get("hparams"), dict) and isinstance(own.get("targets"), dict)):
        raise CheckpointError(f"{path}: damaged, its hyperparameters or targets are not a table")
    version = str(own.get("version"))
    checkpoint, kept = migrated(checkpoint, version, CHECKPOINT_STEPS), own
    own = checkpoint["seqmodel"]
    own = checked({**own, "hparams": migrated(own["hparams"], version, HPARAM_STEPS)}, path)
    _compare(kept, path)
    return {**checkpoint, "seqmodel": own}


def _compare(own: dict[str, Any], path: str | Path) -> None:
    """Check that the header of a checkpoint matches its content.

    Users see and trust the header, but the content is what is applied.

    Raises:
        CheckpointError: They differ; the message names the first entry.
    """
    with reading(path, CheckpointError, "checkpoint"), zipfile.ZipFile(path) as archive:
        (name,) = (x for x in archive.namelist() if x.split("/")[-1] == HEADER)
        header = json.loads(archive.read(name))
    for name, value in header.items():
        there = own.get(name)
        if name in ("contigs", "data") and isinstance(there, dict):
            there = dict(islice(there.items(), MOST))
        try:
            same = json.dumps(value, sort_keys=True) == json.dumps(there, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            same = False
        if not same:
            raise CheckpointError(
                f"{path}: refused, its header and its content differ in {name!r}; use a copy of "
                "the file that the run wrote"
            )


def stamp(
    hparams: dict[str, Any],
    *,
    alphabet: dict[str, Any],
    targets: dict[str, Any],
    splits: dict[str, int | None],
    data: dict[str, Any],
    seq_len: int | None = None,
    contigs: dict[str, list[int]] | None = None,
    plugins: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    """Return the `seqmodel` entry of a checkpoint: plain values that are needed to apply the model.

    Args:
        hparams: Hyperparameters of the run.
        alphabet: Alphabet of the sequences, from `Alphabet.to_dict`.
        targets: Predicted targets, from `Targets.to_dict`.
        splits: Number of items of each split, by name.
        data: Size and SHA-256 of each data file, by path.
        seq_len: Length of the training sequences in bp.
        contigs: Contigs with training windows (`training_contigs`); the first 100,000 are kept.
        plugins: Digests of the plugins, by module.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "hparams": hparams,
        "alphabet": alphabet,
        "targets": targets,
        "splits": splits,
        "data": data,
        "seq_len": seq_len,
        "contigs": None if contigs is None else dict(islice(contigs.items(), MOST_KEPT)),
        "n_contigs": None if contigs is None else len(contigs),
        "plugins": plugins or {},
    }


def load_weights(
    module: nn.Module, path: str | Path, prefix: str = "", *, alphabet: dict[str, Any]
) -> None:
    """Load the weights below `prefix` of the checkpoint at `path` into `module`.

    Raises:
        CheckpointError: The alphabet, or names or shapes of weights differ; the first are named.
    """
    put_weights(module, load(path), path, prefix, alphabet=alphabet)


def put_weights(
    module: nn.Module,
    checkpoint: dict[str, Any],
    path: str | Path,
    prefix: str = "",
    *,
    alphabet: dict[str, Any],
) -> None:
    """Load the weights of a checkpoint that was read from `path`."""
    _check_alphabet(path, checkpoint["seqmodel"]["alphabet"], alphabet)
    weights = {
        name.removeprefix(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    wanted = module.state_dict()
    misfit = [f"{n} (not in the file)" for n in wanted if n not in weights]
    misfit += [f"{n} (not in this model)" for n in weights if n not in wanted]
    misfit += [
        f"{n} ({_shape(weights[n])} in the file, {_shape(wanted[n])} here)"
        for n in wanted
        if n in weights and weights[n].shape != wanted[n].shape
    ]
    if misfit:
        raise CheckpointError(
            f"{path} does not fit this model: {', '.join(misfit[:3])}"
            f"{f' and {len(misfit) - 3} more' if len(misfit) > 3 else ''}; "
            "use the hyperparameters with which the model was trained"
        )
    module.load_state_dict(weights)


def _check_alphabet(path: str | Path, other: dict[str, Any], alphabet: dict[str, Any]) -> None:
    if other["letters"] != alphabet["letters"]:
        n_other, n_own = len(other["letters"]), len(alphabet["letters"])
        raise CheckpointError(
            f"{path}: trained on the alphabet {other['name']} ({n_other} symbols), "
            f"but this run reads {alphabet['name']} ({n_own} symbols)"
        )
    before, now = (x.get("unknown") for x in (other, alphabet))
    if before != now:
        raise CheckpointError(
            f"{path}: trained with --unknown={before}, but this run has --unknown={now}, which "
            f"changes the input for unknown bases; set --unknown={before}"
        )


def saved_rows(checkpoint: dict[str, Any], path: str | Path) -> np.ndarray | None:
    """Return digests of the training sequences of a checkpoint's model; None if unknown.

    Raises:
        CheckpointError: They are not a list of numbers.
    """
    rows = checkpoint.get(ROWS)
    if rows is None:
        return None
    if not isinstance(rows, torch.Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
        raise CheckpointError(f"{path}: damaged, its {ROWS!r} are not a list of numbers")
    return rows.numpy()


def saved_targets(checkpoint: dict[str, Any], path: str | Path) -> Targets:
    """Return the targets that the model in a checkpoint predicts.

    Raises:
        CheckpointError: The checkpoint does not have them.
    """
    try:
        return Targets.from_dict(checkpoint["seqmodel"]["targets"])
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise CheckpointError(f"{path}: damaged, it has no valid targets of its model") from e


def saved_alphabet(checkpoint: dict[str, Any], path: str | Path) -> Alphabet:
    """Return the alphabet that the model in a checkpoint reads.

    Raises:
        CheckpointError: The checkpoint does not have them.
    """
    try:
        return Alphabet.from_dict(checkpoint["seqmodel"]["alphabet"])
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise CheckpointError(f"{path}: damaged, it has no valid alphabet of its model") from e


def _safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    safetensors = optional("safetensors.torch", str(path), "export", CheckpointError)
    with reading(path, CheckpointError, "safetensors file"):
        found: dict[str, torch.Tensor] = safetensors.load_file(path)
        return found


def _with_pairs(checkpoint: dict[str, Any]) -> dict[str, Any]:
    own = checkpoint["seqmodel"]
    strands = own["hparams"].get("track_strands") or []
    if not strands:
        return checkpoint
    pairs = [list(x) for x in pairs_of(own["targets"]["names"], strands)]
    targets = {**own["targets"], "pairs": pairs}
    return {**checkpoint, "seqmodel": {**own, "targets": targets}}


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
