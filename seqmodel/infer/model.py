"""A trained model, or an ensemble of such, that predicts: `seqmodel.load("best.ckpt")`.

Nothing of the training data need exist: the checkpoint has the alphabet, the targets, the length
of the sequences, and what the model was trained on.
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
    """What a model, or any of an ensemble, was trained on.

    None: a checkpoint of version 0.1 does not say.

    Attributes:
        contigs: contigs, or records, of FASTA files with training windows: length, number of
            windows, start of the first, end of the last. Empty for tables and arrays.
        n_contigs: number of them; more than in `contigs` if there are over 100,000.
        splits: number of items by the name of the split.
        data: size and SHA-256 of each file of data, by path.
    """

    contigs: dict[str, list[int]] | None
    n_contigs: int | None
    splits: dict[str, int | None]
    data: dict[str, dict[str, Any]]

    def joined(self, other: TrainedOn) -> TrainedOn:
        """What either was trained on; unknown if that of one is."""
        if self.contigs is None or other.contigs is None:
            contigs, n_contigs = None, None
        else:
            contigs = joined_contigs(self.contigs, other.contigs)
            n_contigs = max(len(contigs), self.n_contigs or 0, other.n_contigs or 0)
        splits = {**other.splits, **self.splits}
        return TrainedOn(contigs, n_contigs, splits, {**other.data, **self.data})


class Member(NamedTuple):
    """One model of an ensemble: its checkpoint, its task, and what else the file says."""

    path: str
    task: Task
    name: str
    seq_len: int | None
    batch_size: int
    trained_on: TrainedOn
    anchor: str | None = None
    bin_len: int = 1
    rows: np.ndarray | None = None  # digests of the sequences that it was trained on


class Model:
    """A trained model, or an ensemble whose logits, or probabilities, are averaged.

    Attributes:
        members: the models, one a checkpoint.
        task: name of the task: classify, multilabel, regress, profile, masked, causal, or that of
            a plugin.
        targets: kind and names of what is predicted.
        alphabet: of the sequences.
        seq_len: letters of the sequences that it was trained on; None if that is not known.
        trained_on: what it was trained on.
        ensemble_of: what the mean over several models is taken of, "logit" or "probability".
        device: where it is.
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
        """Where the model is."""
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        return next((x.device for x in tensors), torch.device("cpu"))

    def to(self, device: str | torch.device) -> Model:
        """Moves the model to a device; returns the model itself."""
        self.network.to(device_of(device))
        return self

    @property
    def bin_len(self) -> int:
        """Letters in a bin of the outputs of a profile."""
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
        """Predictions, float32; row i is that of sequence i.

        - classify, multilabel: probabilities [N, T].
        - regress: numbers [N, T].
        - profile: the expected value of each bin and track, [N, bins, T].
        - masked: the probability of each letter at each position, [N, L, A], given all letters.
          Mask positions with ids (`alphabet.mask_id`).
        - causal: at position i the probability of each letter at i + 1, [N, L, A].

        Positions and bins of padding are NaN.

        Args:
            sequences: texts, in any case; ids [N, L]; or one-hot floats [N, L, A]. Shorter ones
                are padded at their end, as in training.
            logits: give what comes before the softmax, the sigmoid or, for profiles, the exp.
            batch_size: sequences at a time; None for that of the training.
            calibrated: apply what `seqmodel calibrate` wrote beside the checkpoint.
            **files: in place of sequences, files as of `seqmodel predict`: fasta (alone, or with
                intervals or tiles=True), or table, and further options of that verb by their
                names. The answer is then a DataFrame, as the verb writes it.

        Raises:
            SequenceError: naming the row that is too long, empty, or not of the alphabet.
            HparamError: sequences and files are given, or neither.
            CheckpointError: the model was not calibrated.
        """
        if calibrated:
            again = self.calibrated().predict
            return again(sequences, logits=logits, batch_size=batch_size, **files)
        if files or sequences is None:
            from seqmodel.infer.frame import frame_of

            if sequences is not None:
                raise HparamError(f"predict got sequences and {', '.join(files)}; give one of them")
            return frame_of(self, {**files, "logits": logits, "batch_size": batch_size})
        found = [x.numpy() for x in self._outputs(sequences, batch_size, logits)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def calibrated(self) -> Model:
        """This model with the calibration of each checkpoint; see `seqmodel calibrate`.

        Raises:
            CheckpointError: a checkpoint has none, or is another than the one calibrated.
        """
        found = copy(self)
        each = [read_calibration(x.path, self.targets.n) for x in self.members]
        found.network = Ensemble(self.network.tasks, self.network.precision, each).eval()
        return found

    def variants(self, variants: Any, fasta: Any, **options: Any) -> Any:
        """Scores of variants: what the model gives for ALT, against REF.

        Iterate for DataFrames of `chunk_rows` records each, or take `.table()` for all: a row an
        ALT allele, with a column a score of a target, as `seqmodel variants` writes them.

        Args:
            variants: path of a VCF, BCF or table; a DataFrame with contig, pos (from 1), ref and
                alt; or a list of texts `20:42984264:G:A` or such tuples.
            fasta: path of the genome, or several.
            **options: those of `seqmodel variants`: scores, ref_mismatch, edge, indel_align,
                strands, variant_index, max_indel, batch_size, chunk_rows, contig_aliases,
                cache_dir.

        Raises:
            VariantError: a file is malformed, or of another genome.
        """
        from seqmodel.infer.effects import variants_of

        return variants_of(self, variants, fasta, **options)

    def alleles(self, contig: str, pos: int, ref: str, alt: str, fasta: Any, **options: Any) -> Any:
        """The windows that a variant is scored by, as text: `.ref` and `.alt`, for looking.

        Args:
            contig: name of the contig.
            pos: position of the first letter of `ref`, from 1.
            ref: REF as in VCF.
            alt: ALT.
            fasta: path of the genome, or several.
            **options: strand ("+" or "-"), align ("left" or "right": the flank of an insertion or
                deletion that lies as in the REF window), variant_index, cache_dir.
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
        """What the encoder makes of each sequence, float32 [N, C]; of padding nothing enters.

        Args:
            sequences: as for `predict`.
            pool: "mean", "max" or "first" position; "none" for all: a list of arrays [L', C].
            layer: what to give in place of the encoder's output: a number, 0 for the embedding and
                k for block k, or the name of a submodule, such as "blocks.1".
            batch_size: sequences at a time; None for that of the training.

        Raises:
            SequenceError: as `predict`.
            HparamError: there is no such layer or pool, or this is an ensemble.
        """
        from seqmodel.infer.embedding import embeddings

        return embeddings(self, sequences, pool, layer, batch_size)

    def module(self, layout: str = "NAL", target: str | None = None) -> nn.Module:
        """The model as a module on one-hot floats, for tools such as captum and tangermeme.

        Args:
            layout: of its input: "NAL", "NLA", or "NL" for ids.
            target: name of the one target to give, [N, 1]; None for all.

        Returns:
            A module that gives logits, in evaluation mode; it shares the weights.
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
        """How much each letter contributes to the score of a target: its logit, or its number.

        The score of a profile is the logarithm of the expected counts of all its bins.

        Args:
            sequences: texts, ids [N, L] or one-hot [N, L, A]; those with letters that are not known
                are left out.
            method: "ism", "gradient", "input_x_gradient", "integrated_gradients" or "deeplift".
            target: name of the target, "all", or None for the only one.
            baseline: of integrated_gradients and deeplift: "uniform", "zeros" or "shuffled".
            batch_size: sequences, or mutants, at a time; None for that of the training.
            **files: in place of sequences, files as of `seqmodel attribute`, by their names.

        Returns:
            An object with `contributions`, `hypothetical`, `effects` and `logo(i)`.

        Raises:
            SequenceError: naming the row that is too long, empty, or not of the alphabet.
            HparamError: sequences and files are given, or neither; the model has no such target.
        """
        from seqmodel.infer.attribute_call import attributions_of

        size = self.members[0].batch_size if batch_size is None else batch_size
        how = {"method": method, "target": target, "baseline": baseline, "batch_size": size}
        if (sequences is None) == (not files):
            raise HparamError("attribute takes either sequences or files, such as fasta=...")
        return attributions_of(self, sequences, how, files)

    def target_index(self, name: str) -> int:
        """Number of the target `name` among the outputs.

        Raises:
            HparamError: there is none.
        """
        names = self.targets.names or self.alphabet.letters
        if name not in names:
            raise HparamError(f"no target {name!r}; the model has {', '.join(names[:20])}")
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
        """What `compute` makes of each batch, on the CPU; one without rows if there are none.

        Args:
            sequences: as for `predict`.
            batch_size: sequences at a time; None for that of the training.
            compute: is called with ids or one-hot rows, and what is padding.
        """
        rows = rows_of(sequences, self.alphabet)
        n_rows = len(rows)
        if not n_rows:  # so that an empty answer has its shape
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
        """What is predicted, or the logits, of the logits of each member; NaN where padded."""
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
    """The model in a checkpoint, or the ensemble of those in several; no training data are read.

    Args:
        path: the checkpoint, or a folder that `seqmodel export` wrote; or several.
        device: "cpu", "cuda", "cuda:1", ...; None for the GPU if there is one.
        seq_len: length of the sequences, for a checkpoint that does not say it.
        plugins: modules that the checkpoint names and that you trust: they are imported.
        trust_plugins: import whatever plugins the checkpoint names.
        ensemble_of: take the mean over several models of their "logit" or their "probability".
        precision: of the forward pass: "32", "16-mixed" or "bf16-mixed".
        **hparams: hyperparameters in place of those in the checkpoint. Needed for those that are
            not taken from a file (`hf_path`, `hf_trust_remote_code`).

    Raises:
        CheckpointError: a file is hostile, damaged or newer, or the models do not go together.
        HparamError: the checkpoint names plugins or values that need your word.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise CheckpointError("no checkpoint was given; give the path of a .ckpt file, or several")
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
        raise HparamError(f"seq_len={seq_len}: {path} was trained on sequences of {known} letters")
    trained_on = TrainedOn(own["contigs"], own["n_contigs"], own["splits"], own["data"])
    name, size = run.values.task, run.values.batch_size
    anchor, bin_len = own["hparams"].get("anchor"), own["hparams"].get("bin_len") or 1
    rows = checkpoint.saved_rows(saved, path)
    return Member(
        path, task.eval(), name, seq_len or known, size, trained_on, anchor, bin_len, rows
    )


def _refuse_other(first: Member, other: Member) -> None:
    """Refuses models that are not of one ensemble.

    Raises:
        CheckpointError: naming what differs.
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
                f"{other.path} does not go with {first.path}: its {what} is {two}, not {one}; an "
                "ensemble has one task, alphabet, length and list of targets"
            )


def device_of(device: str | torch.device | None) -> torch.device:
    """The device that is meant.

    Raises:
        HparamError: there is none of that name here.
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
