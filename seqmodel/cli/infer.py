"""`seqmodel predict | merge | describe | ...`: the verbs that apply a trained model. Light.

seqmodel/cli/verbs.py calls each function with the words after the verb; it returns the exit code.
A verb has a class of hyperparameters in hparam/infer.py and a function `command` in seqmodel/infer.
The function takes an object of that class and returns counts of inputs by status, or None if parts
of other processes are missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from seqmodel.cli.given import given
from seqmodel.errors import HparamError
from seqmodel.heavy import heavy_imports
from seqmodel.hparam.attribute import AttributeHparams, MotifsHparams
from seqmodel.hparam.infer import (
    ApplyHparams,
    DescribeHparams,
    EmbedHparams,
    ExportHparams,
    MergeHparams,
    PredictHparams,
    VariantsHparams,
)
from seqmodel.hparam.paths import check_files, files_to_read
from seqmodel.hparam.words import refuse_stray
from seqmodel.terminal import plain


def predict(argv: Sequence[str]) -> int:
    """Predict for sequences in files."""
    return apply_verb(argv, PredictHparams, "seqmodel.infer.predict")


def predict_as_run(argv: Sequence[str]) -> int:
    """Run the verb predict, as `run.py --mode=predict --load_checkpoint_path=...` calls it."""
    words: list[str] = []
    for word in argv:
        name, equals, value = word.partition("=")
        named = "--checkpoints" if name == "--load_checkpoint_path" else name
        if word != "--mode=predict":
            words.append(f"{named}{equals}{value}")
    if "--mode" in words:
        at = words.index("--mode")
        del words[at : at + 2]
    return predict(words)


def variants(argv: Sequence[str]) -> int:
    """Score variants."""
    return apply_verb(argv, VariantsHparams, "seqmodel.infer.variants")


def embed(argv: Sequence[str]) -> int:
    """Embed sequences in files."""
    return apply_verb(argv, EmbedHparams, "seqmodel.infer.embed")


def attribute(argv: Sequence[str]) -> int:
    """Write the contribution of each base or residue."""
    return apply_verb(argv, AttributeHparams, "seqmodel.infer.attribute_files")


def motifs(argv: Sequence[str]) -> int:
    """Write the motifs that the filters of the first layer recognize."""
    return apply_verb(argv, MotifsHparams, "seqmodel.infer.motifs")


def export(argv: Sequence[str]) -> int:
    """Export a model and print the files that were written."""
    chosen, words = given(argv, ExportHparams)
    if chosen is None:
        return 0
    refuse_stray(words, vars(chosen))
    ExportHparams.checks(chosen)
    check_files(files_to_read(ExportHparams.default_hparams().declared, chosen))
    with heavy_imports(freeze=True):
        from seqmodel.infer.export import command

    written = command(ExportHparams(**vars(chosen)))
    for path in [] if chosen.json else written:
        print(plain(f"{path}: five examples give the same outputs as the model"), file=sys.stderr)
    if chosen.json:
        print(json.dumps({"written": written}))
    return 0


def merge(argv: Sequence[str]) -> int:
    """Join the parts that several processes have computed."""
    chosen, words = given(argv, MergeHparams)
    if chosen is None:
        return 0
    folder = _one(words, "merge", "folder of parts", "predictions.tsv.parts")
    from seqmodel.infer.parts import merge as join

    _show_counts(join(folder), as_json=chosen.json)
    return 0


def describe(argv: Sequence[str]) -> int:
    """Show the content of a checkpoint, without torch."""
    chosen, words = given(argv, DescribeHparams)
    if chosen is None:
        return 0
    from seqmodel.hparam.describe import as_text, described

    found = described(_one(words, "describe", "checkpoint", "best.ckpt"))
    print(json.dumps(found) if chosen.json else plain(as_text(found)))
    return 0


def apply_verb(argv: Sequence[str], cls: type[ApplyHparams], module: str) -> int:
    """Read the words of a verb, call `command` of its module and show the counts.

    Args:
        argv: the words after the verb.
        cls: its hyperparameters.
        module: name of the module with the function `command`; imported after the checks.
    """
    chosen, words = given(argv, cls)
    if chosen is None:
        return 0
    refuse_stray(words, vars(chosen))
    cls.checks(chosen)
    files = files_to_read(cls.default_hparams().declared, chosen)
    check_files(x for x in files if x[1] != "-")  # stdin
    with heavy_imports(freeze=True):
        command = import_module(module).command
    counts = command(cls(**vars(chosen)))
    if counts is None:
        done = {"part": chosen.part, "joined": False}
        say = f"part {chosen.part} is done; the process that ends last joins the parts"
        print(json.dumps(done) if chosen.json else say, file=None if chosen.json else sys.stderr)
    else:
        _show_counts(counts, as_json=chosen.json)
    return 0


def _show_counts(counts: Mapping[str, int], *, as_json: bool) -> None:
    """Show the number of inputs, total and by status: on stderr, or as JSON on stdout."""
    if as_json:
        print(json.dumps({"joined": True, "counts": dict(counts)}))
        return
    by_status = ", ".join(f"{n:,} {name}" for name, n in counts.items() if name != "n")
    print(plain(f"{counts.get('n', 0):,} inputs: {by_status or 'none'}"), file=sys.stderr)


def _one(words: Sequence[str], verb: str, what: str, example: str) -> str:
    if len(words) != 1:
        got = " ".join(map(repr, words)) or "none"
        raise HparamError(f"{verb} takes one {what}, got {got}: seqmodel {verb} {example}")
    return words[0]
