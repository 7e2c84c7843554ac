"""A trained model, or an ensemble of models, that predicts: `seqmodel.load("best.ckpt")`.

The training data are not needed: the checkpoint has the alphabet, the targets, the length of the
sequences, and a description of the training data.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from copy import copy
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.dataset.build import joined_contigs
from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import CheckpointError, HparamError
from seqmodel.hparam.header import WEIGHTS
from seqmodel.hparam.infer import ENSEMBLE_OF
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.trainer import TrainingHparams
from seqmodel.infer.calibrated import read_calibration
from seqmodel.infer.ensemble import Ensemble, Logits
from seqmodel.infer.halving import in_batches
from seqmodel.infer.sequences import Sequences, batches_of, checked_length, rows_of
from seqmodel.record import checkpoint
from seqmodel.task.build import build_task
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.infer.attribute import Attributions

Path = str | os.PathLike[str]
LAYOUTS = ("NL", "NLA", "NAL")


class TrainedOn(NamedTuple):
    """The training data of a model, or of all models of an ensemble.

    Values are None if a checkpoint of version 0.1 does not record them.

    Attributes:
        contigs: Contigs or records of FASTA files with training windows: length, number of
            windows, start of the first, end of the last. Empty for tables and arrays.
        n_contigs: Number of these contigs; `contigs` lists at most 100,000.
        splits: Number of items by the name of the split.
        data: Size and SHA-256 of each data file, by path.
    """

    contigs: dict[str, list[int]] | None
    n_contigs: int | None
    splits: dict[str, int | None]
    data: dict[str, dict[str, Any]]

    def joined(self, other: TrainedOn) -> TrainedOn:
        """Combine the training data of both; unknown if either is unknown."""
        if self.contigs is None or other.contigs is None:
            contigs, n_contigs = None, None
        else:
            contigs = joined_contigs(self.contigs, other.contigs)
            n_contigs = max(len(contigs), self.n_contigs or 0, other.n_contigs or 0)
        splits = {**other.splits, **self.splits}
        return TrainedOn(contigs, n_contigs, splits, {**other.data, **self.data})


class Member(NamedTuple):
    """One model of an ensemble: its checkpoint, its task, and the rest of the header."""

    path: str
    task: Task
    name: str
    seq_len: int | None
    batch_size: int
    trained_on: TrainedOn
    anchor: str | None = None
    bin_len: int = 1
    rows: np.ndarray | None = None  # digests of the training sequences


class Model:
    """A trained model, or an ensemble that averages logits or probabilities.

    Attributes:
        members: Models, one for each checkpoint.
        task: Name of the task: classify, multilabel, regress, profile, masked, causal, or the
            task of a plugin.
        targets: Kind and names of the targets.
        alphabet: Alphabet of the sequences.
        seq_len: Length of the training sequences; None if unknown.
        trained_on: Training data.
        ensemble_of: Quantity that an ensemble averages, "logit" or "probability".
        device: Device of the model.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device,
        ensemble_of: str = "logit",
        precision: str = "32",
    ) -> None:
        first = members[0]
        for other in members[1:]:
            _refuse_other(first, other)
        self.members = tuple(members)
        self.task: str = first.name
        self.targets: Targets = first.task.targets
        self.alphabet: Alphabet = first.task.alphabet
        self.seq_len = next((x.seq_len for x in members if x.seq_len is not None), None)
        self.trained_on = reduce(TrainedOn.joined, (x.trained_on for x in members))
        self.ensemble_of = ensemble_of
        self.network = Ensemble((x.task for x in members), precision).to(device).eval()

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        return next((x.device for x in tensors), torch.device("cpu"))

    def to(self, device: str | torch.device) -> Model:
        """Move the model to a device and return the model."""
        self.network.to(device_of(device))
        return self

    @property
    def bin_len(self) -> int:
        """Length of an output bin of a profile, in positions."""
        return self.members[0].bin_len

    def predict(
        self,
        sequences: Sequences | None = None,
        *,
        logits: bool = False,
        batch_size: int | None = None,
        calibrated: bool = False,
        **files: Any,
    ) -> Any:
        """Return predictions, float32; row i belongs to sequence i.

        - classify, multilabel: probabilities [N, T].
        - regress: numbers [N, T].
        - profile: expected value of each bin and track, [N, bins, T].
        - masked: probability of each symbol at each position, [N, L, A], given the whole
          sequence. To mask positions, use ids (`alphabet.mask_id`).
        - causal: at position i, the probability of each symbol at i + 1, [N, L, A].

        Positions and bins of padding are NaN.

        Args:
            sequences: Texts in any case, ids [N, L], or one-hot floats [N, L, A]. Shorter sequences
                are padded at their end, as in training.
            logits: Return values before the softmax, the sigmoid or, for profiles, the exp.
            batch_size: Number of sequences in a batch. None means the training batch size.
            calibrated: Apply the calibration that `seqmodel calibrate` wrote beside the checkpoint.
            **files: Input files instead of sequences, as for `seqmodel predict`: fasta (alone, or
                with intervals or tiles=True) or table, and other options of that verb by name. The
                result is then a DataFrame with the columns that the verb writes.

        Raises:
            SequenceError: A row is too long, empty, or not in the alphabet; the message names it.
            HparamError: Both sequences and files are given, or neither.
            CheckpointError: The model was not calibrated.
        """
        if calibrated:
            again = self.calibrated().predict
            return again(sequences, logits=logits, batch_size=batch_size, **files)
        if files or sequences is None:
            from seqmodel.infer.frame import frame_of

            if sequences is not None:
                raise HparamError(
                    f"predict takes sequences or files; it got sequences and {', '.join(files)}"
                )
            return frame_of(self, {**files, "logits": logits, "batch_size": batch_size})
        found = [x.numpy() for x in self._outputs(sequences, batch_size, logits)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def calibrated(self) -> Model:
        """Return this model with the calibration of each checkpoint; see `seqmodel calibrate`.

        Raises:
            CheckpointError: A checkpoint has no calibration, or it changed since.
        """
        found = copy(self)
        each = [read_calibration(x.path, self.targets.n) for x in self.members]
        found.network = Ensemble(self.network.tasks, self.network.precision, each).eval()
        return found

    def variants(self, variants: Any, fasta: Any, **options: Any) -> Any:
        """Score variants by comparing the output for ALT with the output for REF.

        Iterate over DataFrames of `chunk_rows` records, or call `.table()` for all. A DataFrame
        has a row for each ALT allele and a column for each score of a target, as in the output of
        `seqmodel variants`.

        Args:
            variants: Path of a VCF, BCF or table; a DataFrame with contig, pos (1-based), ref and
                alt; or a list of texts such as `20:42984264:G:A` or of tuples.
            fasta: Path of the genome, or several paths.
            **options: Options of `seqmodel variants`: scores, ref_mismatch, edge, indel_align,
                strands, variant_index, max_indel, batch_size, chunk_rows, contig_aliases,
                cache_dir.

        Raises:
            VariantError: A file is malformed or belongs to another genome.
        """
        from seqmodel.infer.effects import variants_of

        return variants_of(self, variants, fasta, **options)

    def alleles(self, contig: str, pos: int, ref: str, alt: str, fasta: Any, **options: Any) -> Any:
        """Return the windows by which a variant is scored, as text: `.ref` and `.alt`.

        Args:
            contig: Name of the contig.
            pos: 1-based position of the first base of `ref`.
            ref: REF as in VCF.
            alt: ALT as in VCF.
            fasta: Path of the genome, or several paths.
            **options: strand ("+" or "-"), align ("left" or "right": the flank of an insertion or
                deletion that keeps its place in the window), variant_index, cache_dir.
        """
        from seqmodel.infer.effects import texts_of

        return texts_of(self, (contig, pos, ref, alt), fasta, **options)

    def embed(
        self,
        sequences: Sequences,
        pool: str = "mean",
        *,
        layer: str | int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Return the embedding of each sequence, float32 [N, C]; padding has no effect.

        Args:
            sequences: See `predict`.
            pool: "mean", "max" or "first" position; "none" returns a list of arrays [L', C].
            layer: Layer instead of the encoder's output: a number (0 is the embedding, k is block
                k) or the name of a submodule, such as "blocks.1".
            batch_size: Number of sequences in a batch. None means the training batch size.

        Raises:
            SequenceError: See `predict`.
            HparamError: The layer or pool is unknown, or this is an ensemble.
        """
        from seqmodel.infer.embedding import embeddings

        return embeddings(self, sequences, pool, layer, batch_size)

    def module(self, layout: str = "NAL", target: str | None = None) -> nn.Module:
        """Return the model as a torch module, for tools such as captum and tangermeme.

        Args:
            layout: Layout of its input: "NAL" or "NLA" for one-hot floats, "NL" for ids.
            target: Name of the only target to return, [N, 1]; None means all targets.

        Returns:
            A module in evaluation mode that returns logits and shares the weights.
        """
        if layout not in LAYOUTS:
            raise HparamError(f"layout={layout!r}: choose one of {', '.join(LAYOUTS)}")
        return Logits(self.network, layout, None if target is None else self.target_index(target))

    def attribute(
        self,
        sequences: Sequences | None = None,
        *,
        method: str = "ism",
        target: str | None = None,
        baseline: str | None = None,
        batch_size: int | None = None,
        **files: Any,
    ) -> Attributions:
        """Return the contribution of each position to the score of a target: its logit or number.

        The score of a profile is the logarithm of its expected total count.

        Args:
            sequences: Texts, ids [N, L] or one-hot [N, L, A]. Sequences with unknown symbols are
                left out.
            method: "ism", "gradient", "input_x_gradient", "integrated_gradients" or "deeplift".
            target: Name of the target, "all", or None for the only target.
            baseline: Baseline of integrated_gradients and deeplift: "uniform", "zeros" or
                "shuffled".
            batch_size: Number of sequences or mutants in a batch. None means the training batch
                size.
            **files: Input files instead of sequences, as for `seqmodel attribute`, by name.

        Returns:
            An object with `contributions`, `hypothetical`, `effects` and `logo(i)`.

        Raises:
            SequenceError: A row is too long, empty, or not in the alphabet; the message names it.
            HparamError: Both sequences and files are given, or neither; or the model has no such
                target.
        """
        from seqmodel.infer.attribute_call import attributions_of

        size = self.members[0].batch_size if batch_size is None else batch_size
        how = {"method": method, "target": target, "baseline": baseline, "batch_size": size}
        if (sequences is None) == (not files):
            raise HparamError("attribute takes either sequences or files, such as fasta=...")
        return attributions_of(self, sequences, how, files)

    def target_index(self, name: str) -> int:
        """Return the number of the target `name` among the outputs.

        Raises:
            HparamError: The model has no such target.
        """
        names = self.targets.names or self.alphabet.letters
        if name not in names:
            raise HparamError(f"no target {name!r}; the targets are {', '.join(names[:20])}")
        return names.index(name)

    def _outputs(self, sequences: Sequences, batch_size: int | None, logits: bool) -> list[Tensor]:
        def compute(x: Tensor, mask: Tensor | None) -> Tensor:
            return self.shown(self.network.each(x, mask), mask, logits=logits)

        return self.each_batch(sequences, batch_size, compute)

    @torch.no_grad()
    def each_batch(
        self,
        sequences: Sequences,
        batch_size: int | None,
        compute: Callable[[Tensor, Tensor | None], Tensor],
    ) -> list[Tensor]:
        """Yield the result of `compute` for each batch, on the CPU; one empty batch without input.

        Args:
            sequences: See `predict`.
            batch_size: Number of sequences in a batch. None means the training batch size.
            compute: Function of ids or one-hot rows, and of the mask of padding.
        """
        rows = rows_of(sequences, self.alphabet)
        n_rows = len(rows)
        if not n_rows:  # an empty result needs its shape
            rows = [np.full(self.seq_len or 1, self.alphabet.unknown_id, dtype=np.uint8)]
        length = checked_length(rows, self.seq_len)
        size = self.members[0].batch_size if batch_size is None else batch_size
        if size < 1:
            raise HparamError(f"batch_size={size}: must be 1 or more")
        self.network.eval()
        batches = batches_of(rows, length, size, self.alphabet)
        found = in_batches(batches, size, self.device, compute)
        return found if n_rows else [found[0][:0]]

    def shown(self, each: Sequence[Tensor], pad: Tensor | None, *, logits: bool = False) -> Tensor:
        """Return predictions or logits from the logits of each member; NaN at padding."""
        task = self.members[0].task
        if not logits and self.ensemble_of == "probability":
            outputs = torch.stack([task.predictions(x) for x in each]).mean(0)
        else:
            outputs = each[0] if len(each) == 1 else torch.stack(list(each)).mean(0)
            outputs = outputs if logits else task.predictions(outputs)
        padded = task.out_pad(pad)
        if padded is not None and outputs.ndim == 3:
            outputs = outputs.masked_fill(padded[:, :, None], float("nan"))
        return outputs

    def __repr__(self) -> str:
        names = ", ".join(x.path for x in self.members)
        return f"Model({self.task}, {self.targets.n} targets, seq_len={self.seq_len}; {names})"


def load(
    path: Path | Sequence[Path],
    *,
    device: str | torch.device | None = None,
    seq_len: int | None = None,
    plugins: Sequence[str] | None = None,
    trust_plugins: bool = False,
    ensemble_of: str = "logit",
    precision: str = "32",
    **hparams: object,
) -> Model:
    """Load a model from a checkpoint, or an ensemble from several, without training data.

    Args:
        path: Path of a checkpoint or of a folder from `seqmodel export`, or several paths.
        device: "cpu", "cuda", "cuda:1", ... None means the GPU if there is one.
        seq_len: Length of the sequences, for a checkpoint that does not record it.
        plugins: Modules that the checkpoint names and that you trust; they are imported.
        trust_plugins: Import all plugins that the checkpoint names.
        ensemble_of: Average the "logit" or the "probability" of several models.
        precision: Precision of the forward pass: "32", "16-mixed" or "bf16-mixed".
        **hparams: Hyperparameters that replace those in the checkpoint. Required for values that
            are never read from a file (`hf_path`, `hf_trust_remote_code`).

    Raises:
        CheckpointError: A file is hostile, damaged or newer, or the models do not fit together.
        HparamError: The checkpoint names plugins or values that need your consent.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise CheckpointError("no checkpoint was given; give the path of one or more .ckpt files")
    given = {**hparams, "trust_plugins": trust_plugins}
    if plugins is not None:
        given["plugins"] = [plugins] if isinstance(plugins, str) else list(plugins)
    where = device_of(device)
    if ensemble_of not in ENSEMBLE_OF:
        raise HparamError(f"ensemble_of={ensemble_of!r}: choose one of {', '.join(ENSEMBLE_OF)}")
    files = [os.path.join(x, WEIGHTS) if os.path.isdir(x) else os.fspath(x) for x in paths]
    members = [_member(x, given, seq_len) for x in files]
    known = TrainingHparams.default_hparams().declared["precision"]
    return Model(members, where, ensemble_of, known.value(precision))


def _member(path: str, given: dict[str, object], seq_len: int | None) -> Member:
    run = resolve({**given, "mode": "test", "load_checkpoint_path": path}, files_here=False)
    saved = checkpoint.load(path)
    own = saved["seqmodel"]
    targets = checkpoint.saved_targets(saved, path)
    alphabet = checkpoint.saved_alphabet(saved, path)
    with torch.random.fork_rng(devices=[]):  # the weights are replaced
        task = build_task(run, alphabet, targets)
    checkpoint.put_weights(task, saved, path, alphabet=alphabet.to_dict())
    known = own["seq_len"]
    if seq_len is not None and known not in (None, seq_len):
        raise HparamError(f"seq_len={seq_len}: {path} was trained on sequences of length {known}")
    trained_on = TrainedOn(own["contigs"], own["n_contigs"], own["splits"], own["data"])
    name, size = run.values.task, run.values.batch_size
    anchor, bin_len = own["hparams"].get("anchor"), own["hparams"].get("bin_len") or 1
    rows = checkpoint.saved_rows(saved, path)
    return Member(
        path, task.eval(), name, seq_len or known, size, trained_on, anchor, bin_len, rows
    )


def _refuse_other(first: Member, other: Member) -> None:
    """Check that the models fit into one ensemble.

    Raises:
        CheckpointError: They differ; the message says in what.
    """
    a, b = first.task, other.task
    pairs = {
        "task": (first.name, other.name),
        "alphabet": (a.alphabet, b.alphabet),
        "targets": (a.targets, b.targets),
        "seq_len": (first.seq_len, other.seq_len),
    }
    for what, (one, two) in pairs.items():
        if one != two and not (what == "seq_len" and None in (one, two)):
            raise CheckpointError(
                f"{other.path} does not fit {first.path}: its {what} is {two}, not {one}; all "
                "models of an ensemble need the same task, alphabet, length and targets"
            )


def device_of(device: str | torch.device | None) -> torch.device:
    """Return the chosen device.

    Raises:
        HparamError: This host has no such device.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as e:
        raise HparamError(
            f"device={str(device)!r} cannot be used here: {str(e).splitlines()[0]}"
        ) from e
    return found
