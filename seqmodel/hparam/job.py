"""Where and how a job runs: nothing here changes what is learned or names a run. Light."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import PATH_KINDS, ValueType, integer, path, str2bool
from seqmodel.hparam.verb import PARTED

# what stands in a #SBATCH line: no space, no quote, nothing that a shell or Slurm expands
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


_OURS = {"--array", "--chdir", "--job-name", "--output", "--error", "--open-mode", "--parsable"}
line, word, option = _Line(), _Word(), _Option()
# paths on the machine of the job, where a script has them in one line
file_path, folder_path, out_path, any_path = (path(kind, one_line=True) for kind in PATH_KINDS)


class HostHparams(Hparams):
    """The machine."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add("--host", help="machine behind SSH, as after ssh; this one unless set")
        add(
            "--open_master",
            type=str2bool,
            default=False,
            help="open an SSH connection where there is none; otherwise the error names the "
            "command that opens one",
        )
        add("--ssh_config", type=file_path, help="another file than ~/.ssh/config")


class WhereHparams(HostHparams):
    """How jobs are started there."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--scheduler",
            choices=["shell", "slurm"],
            help="job scheduler; if unset: slurm when a --slurm_* setting or --requeue is given, "
            "otherwise the one recorded in the run folder, or shell. submit --host=... asks for "
            "it where the host has Slurm",
        )


class SubmitHparams(Hparams):
    """What `seqmodel submit` does."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add("--dry_run", type=str2bool, default=False, help="print the script and make nothing")
        add(
            "--create", type=str2bool, default=False, help="make the replicates; do not submit them"
        )
        add("--n_new", type=integer(1), default=1, help="new replicates of the run")
        add(
            "--n_replicates",
            type=integer(1),
            help="submit replicates until this number of them has no error",
        )
        add(
            "--verb",
            choices=list(PARTED),
            help="verb that applies a trained model, with its own hyperparameters; a run unless "
            "set",
        )
        add(
            "--n_parts",
            type=integer(1),
            help="jobs among which the inputs of --verb are shared out; 1 unless set",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses what has no effect on a verb, or on a run."""
        if values.n_parts and not values.verb:
            raise HparamError("--n_parts has no effect without --verb")
        if values.verb and (values.n_new > 1 or values.n_replicates):
            name = "n_new" if values.n_new > 1 else "n_replicates"
            raise HparamError(f"--{name} has no effect with --verb; a verb has --n_parts")


class JobHparams(Hparams):
    """Where a job runs, what it does on its node, and what it asks for."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_places(parser)
        _add_node(parser)
        _add_checks(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses settings that have no effect together."""
        if values.wheels and not values.requirements:
            raise HparamError("--wheels has no effect without --requirements; give the lock file")
        if values.requirements and values.venv:
            raise HparamError(
                "--venv and --requirements are both set: use an environment, or have one made"
            )
        if values.grace_s < 3 * values.heartbeat_s:
            raise HparamError(
                f"--grace_s={values.grace_s} is less than three times "
                f"--heartbeat_s={values.heartbeat_s}, so that a running job could be called lost; "
                "raise --grace_s or lower --heartbeat_s"
            )


class ShellHparams(JobHparams):
    """Jobs of a machine without a scheduler."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--n_at_once", type=integer(1), default=1, help="jobs that run at once; the rest wait"
        )


class SlurmHparams(JobHparams):
    """What is asked of Slurm."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add("--slurm_account", type=word, help="account that is charged")
        add("--slurm_partition", type=word, help="partition, or several with commas")
        add("--slurm_time_min", type=integer(1), default=60, help="time limit, in minutes")
        add("--slurm_mem", type=word, default="4G", help="memory of each node, as 16G or 4000M")
        add("--slurm_cpus", type=integer(1), default=1, help="CPUs of each process")
        add("--slurm_gpus", type=word, help="GPUs of each node: 2, p100:1")
        add(
            "--slurm_options",
            nargs="*",
            type=option,
            help="further options of sbatch, as --constraint=v100",
        )
        add(
            "--slurm_signal_s",
            type=integer(0, 65535),
            default=120,
            help="seconds before the time limit at which a checkpoint is saved; 0 for never",
        )
        add(
            "--slurm_at_once",
            type=integer(1),
            help="elements of a job array that run at once; all that fit unless set",
        )
        add(
            "--requeue",
            type=str2bool,
            default=True,
            help="go on in the queue after the time limit, a preemption or a failing node",
        )
        add(
            "--max_requeues",
            type=integer(0),
            default=20,
            help="times that a job puts itself back into the queue",
        )


def _add_places(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--job_out_dir",
        type=out_path,
        default="out",
        help="folder below which replicates lie, there",
    )
    add(
        "--workdir",
        type=folder_path,
        help="folder there that relative paths of a run start from; the current one for jobs here",
    )
    add(
        "--template", type=line, help="a script template of yours; the kind of job's own unless set"
    )
    add(
        "--python",
        type=line,
        help="Python there, by its name or its path; this one for jobs here, else python3",
    )
    add(
        "--venv",
        type=folder_path,
        help="existing virtual environment there; a relative path starts from workdir",
    )
    add(
        "--requirements",
        type=file_path,
        help="lock file there from which each node makes an environment; a relative path starts "
        "from workdir",
    )
    add(
        "--wheels",
        type=folder_path,
        help="folder of wheels there from which the environment is made, without the network; a "
        "relative path starts from workdir",
    )
    add("--modules", nargs="*", type=word, help="environment modules that are loaded first")


def _add_node(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--stage_code",
        type=str2bool,
        default=True,
        help="run the code as it was when submitted, from a copy on the node",
    )
    add(
        "--stage_data",
        type=str2bool,
        default=True,
        help="copy the data to the node's own storage if they fit",
    )
    add(
        "--stage_paths",
        nargs="*",
        type=any_path,
        help="further files, folders and archives below workdir to copy, or extract, on the node",
    )
    add(
        "--node_storage",
        type=folder_path,
        help="the node's own storage where $SLURM_TMPDIR is not set; $TMPDIR or /tmp unless set",
    )


def _add_checks(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--fast_dev_run_first",
        type=str2bool,
        default=False,
        help="in the job, try one batch of each split first, and run only if it passed",
    )
    add(
        "--checkpoint_check",
        type=str2bool,
        default=False,
        help="in the job, first train two steps, save, resume and train a third, in scratch",
    )
    add(
        "--heartbeat_s",
        type=integer(1, 3600),
        default=30,
        help="seconds between two signs of life that a job leaves in its folder",
    )
    add(
        "--grace_s",
        type=integer(1),
        default=600,
        help="seconds without a sign of life or a place in the queue after which a job is lost; "
        "at least three times heartbeat_s",
    )
