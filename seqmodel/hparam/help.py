"""What --help prints: options by topic, the most important ones first. Light.

--help          the ten options that matter most, and the topics
--help=all      every option
--help=TOPIC    the options of a topic, such as model
--help=NAME     one option, such as lr
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import SPLIT, TARGET, Hparam, Hparams
from seqmodel.hparam.registry import always, kinds, role_choices
from seqmodel.hparam.resolve import choices_made
from seqmodel.hparam.synonyms import hint
from seqmodel.hparam.words import BOOL, LIST

FLAGS = ("--help", "-h")
WIDTH, INDENT = 100, 26
TOPICS = {
    "data": "input files and how they are read",
    "labels": "labels and other targets",
    "splits": "training, validation and test data",
    "model": "encoder and decoder",
    "weights": "weights to start from, and resuming",
    "training": "task, loss, optimizer, schedule and duration",
    "evaluation": "validation, test and audit",
    "verb": "what this verb computes and shows",
    "output": "files that are written, logs and progress",
    "hardware": "devices, precision and speed",
    "jobs": "host, scheduler and submission of jobs",
    "slurm": "resources and queue of Slurm jobs",
    "environment": "Python, code and data of jobs on their host",
    "code": "config files and your own code",
}
_OF_CLASS = {
    "EncoderHparams": "model",
    "DecoderHparams": "model",
    "TaskHparams": "training",
    "OptimiserHparams": "training",
    "ScheduleHparams": "training",
    "TrainingHparams": "training",
    "TrainerHparams": "output",
    "RunHparams": "training",
    "LabelledHparams": "labels",
    "BinnedHparams": "labels",
    "DatasetHparams": "data",
    "SlurmHparams": "slurm",
    "JobHparams": "jobs",
    "HostHparams": "jobs",
    "SubmitHparams": "jobs",
}
_OF_NAMES = {
    "data": "dataset fasta intervals table tiles stride contigs sequence_column quotes feature "
    "strand_column contig_aliases incomplete anchor variants variant too_long seq_len cache_dir "
    "run predictions allow_changed_data length_buckets",
    "splits": "train_files valid_files test_files train_contigs valid_contigs test_contigs "
    "fold_json",
    "labels": "track_names track_strands tracks target_len peaks",
    "model": "encoder decoder",
    "weights": "load_checkpoint_path load_encoder_from_checkpoint resume_from_checkpoint "
    "checkpoints ensemble_of calibrated base_checkpoint",
    "training": "mode",
    "evaluation": "average_strands limit_val_batches limit_test_batches num_sanity_val_steps "
    "check_val_every_n_epoch val_check_interval monitor audit where sort compare fail_on",
    "output": "default_root_dir out to overwrite json part chunk_rows scale keep_columns plot "
    "bigwig format vcf_targets layout",
    "hardware": "accelerator devices num_nodes strategy n_workers compile n_threads deterministic "
    "precision checkpoint_activations detect_anomaly fast_dev_run",
    "environment": "python venv requirements wheels modules template workdir stage_code stage_data "
    "stage_paths node_storage",
    "code": "plugins trust_plugins config wrapped_module",
}
_OF_DATA = ("dataset", "config", "plugins", "trust_plugins")
_OF_NAME = {name: topic for topic, names in _OF_NAMES.items() for name in names.split()}
FIRST = {
    "RunHparams": "table task dataset train_files fasta encoder seq_len batch_size max_epochs lr",
    "SubmitHparams": "host scheduler slurm_account slurm_time_min slurm_mem slurm_gpus python venv "
    "n_new dry_run",
    "PredictHparams": "checkpoints fasta intervals table tiles out keep_columns calibrated "
    "batch_size accelerator",
    "VariantsHparams": "checkpoints variants variant fasta out scores ref_mismatch strands "
    "batch_size accelerator",
    "EmbedHparams": "checkpoints fasta intervals table out layer pool too_long batch_size "
    "accelerator",
    "AttributeHparams": "checkpoints fasta intervals table out method target plot batch_size "
    "accelerator",
    "AuditHparams": "run dataset train_files test_files label_columns predictions fail_on out "
    "align json",
}
"""The options that --help shows first, by the class of the verb; without an entry it shows all."""


def asked_help(argv: Sequence[str]) -> str | None:
    """Return what --help=... asks for, before the end of names; empty for --help, None without."""
    words = list(argv)
    for word in words[: words.index("--") if "--" in words else None]:
        flag, _, topic = word.partition("=")
        if flag in FLAGS:
            return topic
    return None


def without_help(argv: Iterable[str]) -> list[str]:
    """Return the words that do not ask for help."""
    return [word for word in argv if word.partition("=")[0] not in FLAGS]


def topic_of(hparam: Hparam) -> str:
    """Return the topic under which an option is listed."""
    if hparam.name in _OF_NAME:
        return _OF_NAME[hparam.name]
    if hparam.group in (SPLIT, TARGET):
        return "splits" if hparam.group == SPLIT else "labels"
    found = (_OF_CLASS[cls.__name__] for cls in hparam.owner.__mro__ if cls.__name__ in _OF_CLASS)
    return next(found, "verb")


def help_text(
    argv: Sequence[str], verb: str = "RunHparams", own: Mapping[str, Hparam] | None = None
) -> str:
    """Return the help of a run for the choices on its command line; all options of other choices.

    Args:
        argv: the command line, with --help in it.
        verb: the class in FIRST whose options come first.
        own: options of a verb that needs only the data of a run; None for the whole run.

    Raises:
        HparamError: --help=... names no topic and no option, or a choice does not exist.
    """
    known, chosen = choices_made(without_help(argv))
    options = role_choices(known)
    classes = [*always(known), *chosen.values()]
    for role in [role for role in options if role not in chosen]:
        classes += options[role].values()
    declared = {n: h for cls in classes for n, h in cls.default_hparams().declared.items()}
    if own is not None:
        kind = kinds(known)["dataset"]
        of_data = {n: h for n, h in declared.items() if n in _OF_DATA or issubclass(h.owner, kind)}
        declared = {**own, **of_data}
    return page(declared, asked_help(argv) or "", verb, options, chosen)


def page(
    declared: Mapping[str, Hparam],
    asked: str,
    verb: str,
    options: Mapping[str, Mapping[str, type[Hparams]]] | None = None,
    chosen: Mapping[str, type[Hparams]] | None = None,
) -> str:
    """Return the options among `declared` that --help=`asked` shows, by topic.

    Args:
        declared: all options of the verb.
        asked: empty, `all`, a topic, or the name of an option.
        verb: the class in FIRST whose options come first.
        options: by role (task, dataset, ...) the classes that can be chosen, listed below it.
        chosen: by role the class that is chosen now, which gets a mark.

    Raises:
        HparamError: `asked` is none of these.
    """
    lines = {
        name: _option(hparam, (options or {}).get(name, {}), (chosen or {}).get(name))
        for name, hparam in declared.items()
    }
    topics: dict[str, list[str]] = {topic: [] for topic in TOPICS}
    for name, hparam in declared.items():
        topics[topic_of(hparam)].append(name)
    topics = {topic: names for topic, names in topics.items() if names}
    first = [name for name in FIRST.get(verb, "").split() if name in declared]
    if asked in topics:
        return _section(asked, [lines[name] for name in topics[asked]])
    if asked in declared:
        return f"{lines[asked]}\n"
    if asked not in ("", "all"):
        known = [*topics, *declared]
        raise HparamError(
            f"--help={asked}: no such topic or option; the topics are {', '.join(topics)}, or all"
            f"{hint(asked, known)}"
        )
    if asked or not first:
        return "\n".join(_section(x, [lines[n] for n in names]) for x, names in topics.items())
    rows = [f"  {x:{INDENT - 2}}{TOPICS[x]} ({len(names)})" for x, names in topics.items()]
    return "\n".join(
        [
            "most used options:",
            *(lines[name] for name in first),
            "",
            "topics (--help=TOPIC), with the number of their options:",
            *rows,
            f"  {'all':{INDENT - 2}}all options ({len(declared)})",
            "",
        ]
    )


def _section(topic: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{topic}: {TOPICS[topic]}", *lines, ""])


def _option(
    hparam: Hparam, options: Mapping[str, type[Hparams]], chosen: type[Hparams] | None
) -> str:
    """Return one option: its name, what it is, and a line for each class that it can choose."""
    value = {LIST: f" {hparam.type.metavar} ...", BOOL: ""}.get(
        hparam.takes, f" {hparam.name.upper() if options else hparam.type.metavar}"
    )
    lines = [_entry(f"  --{hparam.name}{value}", hparam.described(), INDENT)]
    width = max(map(len, options), default=0)
    for name, cls in sorted(options.items()):
        mark = "*" if cls is chosen else " "
        head = f"{' ' * (INDENT - 2)}{mark} {name:{width}}"
        lines.append(_entry(head, (cls.__doc__ or "").strip().split("\n")[0], INDENT + width + 2))
    return "\n".join(lines)


def _entry(head: str, text: str, indent: int) -> str:
    """Return `head`, and `text` in the column behind it."""
    body = textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    lines = [" " * indent + line for line in body]
    if len(head) > indent - 2 or not lines:
        return "\n".join([head, *lines])
    return "\n".join([head.ljust(indent) + lines[0][indent:], *lines[1:]])
