"""Where and how a job runs. These options do not change what is learned or name a run. Light."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import PATH_KINDS, ValueType, integer, path, str2bool
from seqmodel.hparam.verb import PARTED

# characters of a #SBATCH value: no space, no quote, nothing that a shell or Slurm expands
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,:/@+=-[]*()&|!")


class _Line(ValueType):
    described = "text without a newline or NUL character"

    def __call__(self, raw: object) -> str:
        if not isinstance(raw, str) or any(c in raw for c in "\n\r\0"):
            raise self.refuse(raw)
        return raw


class _Word(ValueType):
    described = "one word of letters, digits and _.,:/@+=-[]*"

    def __call__(self, raw: object) -> str:
        if not isinstance(raw, str) or not raw or not _WORD.issuperset(raw):
            raise self.refuse(raw)
        return raw


class _Option(_Word):
    described = "an option of sbatch, --name=value, in one word"

    def __call__(self, raw: object) -> str:
        word = super().__call__(raw)
        if not word.startswith("--") or word.split("=")[0] in _OURS:
            raise ArgumentTypeError(
                f"must be {self.described}, and none of {', '.join(sorted(_OURS))} "
                f"(seqmodel sets them), got {raw!r}"
            )
        return word


class _Minutes(ValueType):
    """Whole minutes, also written as Slurm's --time; seconds count as a whole minute."""

    described = "minutes, or a time as H:MM:SS or D-HH:MM:SS"
    metavar = "TIME"

    def __call__(self, raw: object) -> int:
        found = _TIME.fullmatch(raw.strip()) if isinstance(raw, str) else None
        if found is None or (found[1] is None and found[4] is None):
            try:
                return _MINUTES(raw)  # type: ignore[return-value]  # an integer
            except ArgumentTypeError as e:
                raise self.refuse(raw) from e
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        total = (days * 24 + hours) * 60 + minutes + (seconds > 0)
        if total < 1:
            raise self.refuse(raw)
        return total


class _Pair(ValueType):
    described = "NAME=value in one line, its name of letters, digits and _"
    metavar = "NAME=VALUE"

    def __call__(self, raw: object) -> str:
        if not isinstance(raw, str) or not _PAIR.fullmatch(raw):
            raise self.refuse(raw)
        return raw


_MINUTES = integer(1)
# not 3:00, which is three minutes to Slurm and three hours to others
_TIME = re.compile(r"(?:(\d{1,4})-)?(\d{1,5})(?::([0-5]?\d))?(?::([0-5]?\d))?", re.A)
_PAIR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[^\n\r\0]*")
_OURS = {"--array", "--chdir", "--job-name", "--output", "--error", "--open-mode", "--parsable"}
line, word, option = _Line(), _Word(), _Option()
# paths on the host of the job; a script contains each on one line
file_path, folder_path, out_path, any_path = (path(kind, one_line=True) for kind in PATH_KINDS)


class HostHparams(Hparams):
    """The host on which jobs run."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add("--host", help="Host on which jobs run, as in `ssh HOST`. If unset: this host.")
        add(
            "--open_master",
            type=str2bool,
            default=False,
            help="Open an SSH connection if none is open. Otherwise print the command that opens "
            "one.",
        )
        add("--ssh_config", type=file_path, help="SSH configuration file. If unset: ~/.ssh/config.")


class WhereHparams(HostHparams):
    """How jobs start on the host."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--scheduler",
            choices=["shell", "slurm"],
            help="Job scheduler: `shell` or `slurm`. If unset: `slurm` when any --slurm_* option "
            "or --requeue is given, otherwise the one recorded in the run folder, or "
            "`shell`. Required by submit --host=... on a host with Slurm.",
        )


class SubmitHparams(Hparams):
    """Options of `seqmodel submit` itself."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--dry_run",
            type=str2bool,
            default=False,
            help="Print the job script, but create and submit nothing.",
        )
        add(
            "--create",
            type=str2bool,
            default=False,
            help="Create the replicates, but do not submit them.",
        )
        add(
            "--n_new",
            type=integer(1),
            help="Number of new replicates, with the next seeds that no run has. If unset: one "
            "run, with its own seed.",
        )
        add(
            "--n_replicates",
            type=integer(1),
            help="Number of replicates without an error to reach, with the seeds --seed, --seed + "
            "1, ... The missing ones are submitted. If unset: --n_new applies.",
        )
        add(
            "--same_seed",
            type=str2bool,
            default=False,
            help="Repeat the run with one seed, for --n_new and --n_replicates. The results are "
            "equal.",
        )
        add(
            "--verb",
            choices=list(PARTED),
            help="Verb that applies a trained model, followed by its own hyperparameters. If "
            "unset: a run is submitted.",
        )
        add(
            "--n_parts",
            type=integer(1),
            help="Number of jobs among which the inputs of --verb are divided. If unset: 1.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse options that have no effect on a verb, or on a run."""
        if values.n_parts and not values.verb:
            raise HparamError("--n_parts has no effect without --verb")
        for name in ("n_new", "n_replicates", "same_seed"):
            if values.verb and getattr(values, name):
                raise HparamError(f"--{name} has no effect with --verb; use --n_parts")
        if values.n_new and values.n_replicates:
            raise HparamError("--n_new and --n_replicates are both set; use one of them")


class JobHparams(Hparams):
    """Folders, environment and checks of a job."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_places(parser)
        _add_node(parser)
        _add_checks(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse options that have no effect in combination."""
        if values.wheels and not values.requirements:
            raise HparamError("--wheels has no effect without --requirements; give the lock file")
        if values.requirements and values.venv:
            raise HparamError(
                "--venv and --requirements are both set; use an existing environment or create one"
            )
        if values.grace_s < 3 * values.heartbeat_s:
            raise HparamError(
                f"--grace_s={values.grace_s} is less than three times "
                f"--heartbeat_s={values.heartbeat_s}, so a running job could count as lost; "
                "raise --grace_s or lower --heartbeat_s"
            )


class ShellHparams(JobHparams):
    """Options of jobs on a host without a scheduler."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        """Declare nothing of its own."""


class SlurmHparams(JobHparams):
    """Options of Slurm jobs."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--slurm_account",
            type=word,
            help="Slurm account that is charged. If unset: your default account.",
        )
        add(
            "--slurm_partition",
            type=word,
            help="Slurm partition, or several, separated by commas. If unset: the default "
            "partition of the cluster.",
        )
        add(
            "--slurm_time_min",
            type=_Minutes(),
            default=60,
            help="Time limit: minutes, or a time such as 3:00:00 or 1-00:00:00.",
        )
        add(
            "--slurm_mem",
            type=word,
            default="4G",
            help="Memory of each node, such as 16G or 4000M.",
        )
        add("--slurm_cpus", type=integer(1), default=1, help="Number of CPUs of each process.")
        add(
            "--slurm_gpus",
            type=word,
            help="GPUs of each node, such as 2 or p100:1. If unset: none.",
        )
        add(
            "--slurm_options",
            nargs="*",
            type=option,
            help="Further options of sbatch, such as --constraint=v100. If unset: none.",
        )
        add(
            "--slurm_signal_s",
            type=integer(0, 65535),
            default=120,
            help="Number of seconds before the time limit at which a checkpoint is saved. 0: none "
            "is saved.",
        )
        add(
            "--requeue",
            type=str2bool,
            default=True,
            help="Return to the queue and resume after the time limit, a preemption or a node "
            "failure.",
        )
        add(
            "--max_requeues",
            type=integer(0),
            default=20,
            help="Maximum number of times that a job returns to the queue by itself.",
        )


def _add_places(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--job_out_dir",
        type=out_path,
        default="out",
        help="Folder on the host below which replicates are created.",
    )
    add(
        "--workdir",
        type=folder_path,
        help="Folder on the host from which relative paths of a run start. If unset: the current "
        "folder, for jobs on this host.",
    )
    add(
        "--template",
        type=line,
        help="Your own job script template. If unset: the template of the scheduler.",
    )
    add(
        "--python",
        type=line,
        help="Python interpreter on the host, by name or path. If unset: this one for jobs on "
        "this host, otherwise python3.",
    )
    add(
        "--venv",
        type=folder_path,
        help="Existing virtual environment on the host. A relative path starts from --workdir. If "
        "unset: none is activated.",
    )
    add(
        "--requirements",
        type=file_path,
        help="Lock file on the host from which each node creates an environment. A relative path "
        "starts from --workdir. If unset: none is created.",
    )
    add(
        "--wheels",
        type=folder_path,
        help="Folder of wheels on the host from which the environment is created without a "
        "network. A relative path starts from --workdir. If unset: packages come from the "
        "network.",
    )
    add(
        "--setup",
        nargs="*",
        type=line,
        help="Lines of bash that run before the environment is activated, such as 'source "
        "~/.bashrc'. If unset: none.",
    )
    add(
        "--env",
        nargs="*",
        type=_Pair(),
        help="Environment variables of the run, each as NAME=value. If unset: none.",
    )
    add(
        "--modules",
        nargs="*",
        type=word,
        help="Environment modules that are loaded first. If unset: none.",
    )


def _add_node(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--stage_code",
        type=str2bool,
        default=True,
        help="Run a copy, on the node, of the code as it was at submission.",
    )
    add(
        "--stage_data",
        type=str2bool,
        default=True,
        help="Copy the data to the node's local storage if they fit.",
    )
    add(
        "--stage_paths",
        nargs="*",
        type=any_path,
        help="Further files, folders and archives below --workdir that are copied to the node, or "
        "extracted there. If unset: none.",
    )
    add(
        "--node_storage",
        type=folder_path,
        help="Local storage of the node if $SLURM_TMPDIR is not set. If unset: $TMPDIR or /tmp.",
    )


def _add_checks(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--n_at_once",
        type=integer(1),
        help="Maximum number of jobs that run at the same time; under Slurm, of the elements of a "
        "job array. If unset: 1 without a scheduler, no limit under Slurm.",
    )
    add(
        "--fast_dev_run_first",
        type=str2bool,
        default=False,
        help="First run one batch of each split in the job, and start the run only if that works.",
    )
    add(
        "--checkpoint_check",
        type=str2bool,
        default=False,
        help="First train two steps in the job, save, resume and train a third one, in a "
        "temporary folder.",
    )
    add(
        "--heartbeat_s",
        type=integer(1, 3600),
        default=30,
        help="Number of seconds between two heartbeats that a job writes to its folder.",
    )
    add(
        "--grace_s",
        type=integer(1),
        default=600,
        help="Number of seconds without a heartbeat or a place in the queue after which a job "
        "counts as lost. It must be at least three times heartbeat_s.",
    )
