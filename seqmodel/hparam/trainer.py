"""What belongs to every run: its choices, its training, the machine it runs on. Light.

Names that Lightning's Trainer has keep Trainer's meaning. Tracked classes (RunHparams,
TrainingHparams) change what is learned; TrainerHparams says where and how, and does not name a run.
"""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import OUTPUT, integer, number, path, str2bool

MODES = ("train", "test")
AUDITS = ("none", "short", "full")


class RunHparams(Hparams):
    """What the run is made of; each choice brings its own hyperparameters."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument("--task", help="what is learned, and how it is scored")
        parser.add_argument("--dataset", help="the kind of data that is read")
        parser.add_argument("--encoder", default="transformer", help="sequence to vectors")
        parser.add_argument("--decoder", help="vectors to the task's outputs")
        parser.add_argument(
            "--optimiser", default="adamw", help="how gradients change weights; also --optimizer"
        )
        parser.add_argument("--schedule", default="constant", help="learning rate over steps")
        parser.add_argument(
            "--seed",
            type=integer(0, 2**31 - 1),
            default=0,
            help="of the initial weights, the order of samples, masks and dropout",
        )
        parser.add_argument(
            "--plugins",
            nargs="*",
            inherited=False,
            help="modules of yours with Hparams classes; imported without torch",
        )
        parser.add_argument(
            "--load_checkpoint_path",
            type=path(),
            help="start a new run from the weights of this checkpoint; same model",
        )
        parser.add_argument(
            "--load_encoder_from_checkpoint",
            type=path(),
            help="start a new run with the encoder weights of this checkpoint",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses two sources of weights."""
        if values.load_checkpoint_path and values.load_encoder_from_checkpoint:
            raise HparamError(
                "load_checkpoint_path and load_encoder_from_checkpoint are both set: "
                "the first already brings the encoder; give one of them"
            )


class TrainingHparams(Hparams):
    """How long and how exactly it is trained; Lightning's names."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add("--max_epochs", type=integer(1), default=10, help="passes over the training split")
        add(
            "--max_steps",
            type=integer(-1),
            default=-1,
            help="optimiser steps after which training ends, -1 for no limit",
        )
        add(
            "--accumulate_grad_batches",
            type=integer(1),
            default=1,
            help="batches of one optimiser step, which is that of one batch with all their samples",
        )
        add(
            "--gradient_clip_val",
            type=number(0),
            default=1.0,
            help="largest L2 norm of the gradient, 0 for no clipping",
        )
        add(
            "--precision",
            choices=["32", "16-mixed", "bf16-mixed"],
            default="32",
            help="number format of the forward and backward pass",
        )
        add(
            "--limit_train_batches",
            type=integer(1),
            help="batches of the training split that make an epoch; all unless set",
        )
        add(
            "--check_val_every_n_epoch",
            type=integer(1),
            default=1,
            help="epochs between two validations",
        )
        add(
            "--val_check_interval",
            type=integer(1),
            help="batches between two validations, counted over epochs; replaces the epochs",
        )
        add(
            "--monitor",
            help="logged value that chooses the best checkpoint; the task's own unless set",
        )
        add(
            "--patience",
            type=integer(1),
            help="validations without a better monitor after which training stops early",
        )


class TrainerHparams(Hparams):
    """Where the run happens and what it shows and keeps."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_run_folder(parser)
        _add_machine(parser)
        _add_watching(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuses a mode that lacks its checkpoint."""
        given = values.load_checkpoint_path or values.resume_from_checkpoint
        if values.mode == "test" and not given:
            raise HparamError(
                "--mode=test needs a trained model: give --load_checkpoint_path=.../best.ckpt"
            )


def _add_run_folder(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--mode",
        choices=list(MODES),
        default="train",
        help="train (then test), or test; --mode=predict is the verb predict (docs/predict.md)",
    )
    add(
        "--config",
        type=path(),
        inherited=False,
        help="TOML or JSON file with hyperparameters; the command line wins over it",
    )
    add(
        "--trust_plugins",
        type=str2bool,
        default=False,
        inherited=False,
        help="import the plugins that a checkpoint or the record of a run names; only if you have "
        "read them",
    )
    add(
        "--default_root_dir",
        type=path(OUTPUT),
        help="the run folder itself; out/<name of the run>/version_<n> unless set",
    )
    add(
        "--resume_from_checkpoint",
        type=path(),
        help="go on with the run that wrote this checkpoint, in its whole state",
    )
    add(
        "--allow_changed_data",
        type=str2bool,
        default=False,
        help="continue a run although its data files are not those it was trained on so far",
    )
    add(
        "--checkpoint_every_n_steps",
        type=integer(1),
        help="optimiser steps between two writes of last.ckpt, beside the one an epoch",
    )
    add(
        "--cache_dir",
        type=path(OUTPUT),
        help="folder for sequence stores; beside the source unless set",
    )


def _add_machine(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--accelerator",
        choices=["auto", "cpu", "gpu", "mps"],
        default="auto",
        help="kind of device",
    )
    add("--devices", type=integer(1), default=1, help="devices on each node")
    add("--num_nodes", type=integer(1), default=1, help="nodes")
    add(
        "--strategy",
        choices=["auto", "ddp", "fsdp"],
        default="auto",
        help="how devices share the work",
    )
    add("--n_workers", type=integer(0), default=0, help="processes that read data beside training")
    add(
        "--compile",
        type=str2bool,
        default=False,
        help="compile the encoder by torch.compile: slow to start, often faster on a GPU",
    )
    add("--n_threads", type=integer(1), help="CPU threads of a process; torch's choice unless set")
    add(
        "--deterministic",
        type=str2bool,
        default=False,
        help="refuse operations that give other bits on each run (on a CPU ours do not)",
    )
    add("--max_time", help="end training after this time, DD:HH:MM:SS, and save")


def _add_watching(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--fast_dev_run",
        type=str2bool,
        default=False,
        help="one batch of each split and no checkpoint: does it run at all",
    )
    add("--limit_val_batches", type=integer(1), help="batches of a validation; all unless set")
    add("--limit_test_batches", type=integer(1), help="batches of the test; all unless set")
    add(
        "--num_sanity_val_steps",
        type=integer(0),
        default=0,
        help="validation batches that are tried before training starts",
    )
    add(
        "--log_every_n_steps",
        type=integer(1),
        default=50,
        help="optimiser steps between two rows of training values in metrics.csv",
    )
    add(
        "--logger",
        nargs="*",
        choices=["tensorboard", "mlflow", "wandb"],
        help="log there too, into the run folder and offline; metrics.csv is always written",
    )
    add(
        "--progress",
        choices=["auto", "bar", "lines", "none"],
        default="auto",
        help="a bar, or plain lines; auto is a bar on a terminal",
    )
    add(
        "--audit",
        choices=list(AUDITS),
        default="short",
        help="what is printed beside the test scores: a line about duplicates and baselines, if it "
        "costs under 5 % of the time; all of `seqmodel audit`, kept in audit.json; or nothing",
    )
    add(
        "--detect_anomaly",
        type=str2bool,
        default=False,
        help="stop where a gradient becomes NaN (slow)",
    )
