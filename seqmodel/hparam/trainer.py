"""Hyperparameters of every run: its choices, its training, and the host it runs on. Light.

Names of Lightning's Trainer keep their meaning. Tracked classes (RunHparams, TrainingHparams)
change what is learned; TrainerHparams sets where and how a run executes, and does not name it.
"""

from __future__ import annotations

from argparse import Namespace

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import (
    ANY,
    OUTPUT,
    batches,
    duration,
    integer,
    number,
    path,
    spelled,
    str2bool,
)

MODES = ("train", "test")
AUDITS = ("none", "short", "full")


class RunHparams(Hparams):
    """Components of a run; each choice adds its own hyperparameters."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        parser.add_argument(
            "--task",
            help="Task: what the model learns to predict, with its loss and its metrics. Required "
            "for training.",
        )
        parser.add_argument(
            "--dataset",
            help="Kind of data. If unset: the usual kind of the task (`fasta` for `masked` and "
            "`causal`); otherwise required.",
        )
        parser.add_argument(
            "--encoder",
            default="transformer",
            help="Encoder: the network that turns a sequence into vectors.",
        )
        parser.add_argument(
            "--decoder",
            help="Decoder: the network that turns the encoder's vectors into outputs. If unset: "
            "the usual one of the task.",
        )
        parser.add_argument(
            "--optimiser", default="adamw", help="Optimizer. --optimizer is the same option."
        )
        parser.add_argument(
            "--schedule",
            default="constant",
            help="Learning rate schedule over the optimizer steps.",
        )
        parser.add_argument(
            "--seed",
            type=integer(0, 2**31 - 1),
            default=0,
            help="Random seed for weight initialization, sample order, masking and dropout.",
        )
        parser.add_argument(
            "--plugins",
            nargs="*",
            inherited=False,
            help="Your own Python modules that define Hparams classes. They are imported without "
            "torch. If unset: none.",
        )
        parser.add_argument(
            "--load_checkpoint_path",
            type=path(),
            help="Checkpoint whose weights start a new run. The model must be the same. If unset: "
            "new weights.",
        )
        parser.add_argument(
            "--load_encoder_from_checkpoint",
            type=path(),
            help="Checkpoint whose encoder weights start a new run. The decoder starts with new "
            "weights. If unset: new weights.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse two sources of weights."""
        if values.load_checkpoint_path and values.load_encoder_from_checkpoint:
            raise HparamError(
                "load_checkpoint_path and load_encoder_from_checkpoint are both set; "
                "the first one includes the encoder, so give only one of them"
            )


class TrainingHparams(Hparams):
    """Duration and precision of training, with the names of Lightning."""

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        add = parser.add_argument
        add(
            "--max_epochs",
            type=integer(1),
            default=10,
            help="Maximum number of epochs, which are passes over the training split.",
        )
        add(
            "--max_steps",
            type=integer(-1),
            default=-1,
            help="Number of optimizer steps after which training ends. -1: no limit.",
        )
        add(
            "--accumulate_grad_batches",
            type=integer(1),
            default=1,
            help="Number of batches in one optimizer step. The step equals that of one batch with "
            "all their samples.",
        )
        add(
            "--gradient_clip_val",
            type=number(0),
            default=1.0,
            help="Maximum L2 norm of the gradient. 0: no clipping.",
        )
        add(
            "--precision",
            type=spelled(**{"16": "16-mixed", "bf16": "bf16-mixed", "32-true": "32"}),
            choices=["32", "16-mixed", "bf16-mixed"],
            default="32",
            help="Number format of the forward and backward pass. 16 and bf16 mean 16-mixed and "
            "bf16-mixed.",
        )
        add(
            "--limit_train_batches",
            type=batches(),
            help="Number of training batches in one epoch, or the proportion of them. If unset: "
            "all.",
        )
        add(
            "--check_val_every_n_epoch",
            type=integer(1),
            default=1,
            help="Number of epochs between two validations.",
        )
        add(
            "--val_check_interval",
            type=batches(),
            help="Number of batches between two validations, counted across epochs. It replaces "
            "--check_val_every_n_epoch. A proportion such as 0.5 validates within each epoch. If "
            "unset: validation follows the epochs.",
        )
        add(
            "--monitor",
            help="Logged metric that selects the best checkpoint. If unset: the metric of the "
            "task.",
        )
        add(
            "--patience",
            type=integer(1),
            help="Number of validations without an improvement of --monitor after which training "
            "stops early. If unset: no early stopping.",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse a run without a step."""
        if values.max_steps == 0:
            raise HparamError(
                "--max_steps=0 trains nothing; set at least 1, or -1 for no limit, or test a "
                "model with --mode=test"
            )


class TrainerHparams(Hparams):
    """Folder, devices, logs and progress of a run."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        _add_run_folder(parser)
        _add_machine(parser)
        _add_watching(parser)

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Refuse --mode=test without a checkpoint."""
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
        help="`train` trains and then tests a model; `test` only tests one. --mode=predict runs "
        "the verb predict (docs/predict.md).",
    )
    add(
        "--config",
        type=path(),
        inherited=False,
        help="TOML or JSON file with hyperparameters. Options on the command line override it. If "
        "unset: none.",
    )
    add(
        "--table",
        type=path(ANY),
        inherited=False,
        help="CSV, TSV, Parquet, BED or FASTA file with labels, or a folder with train, valid and "
        "test files. Options that you do not set are guessed from it and printed. If unset: "
        "nothing is guessed.",
    )
    add(
        "--trust_plugins",
        type=str2bool,
        default=False,
        inherited=False,
        help="Import the plugins that a checkpoint or the record of a run names. They are code: "
        "set it only if you have read them.",
    )
    add(
        "--default_root_dir",
        type=path(OUTPUT),
        help="Folder of this run. If unset: out/<name of the run>/version_<n>.",
    )
    add(
        "--resume_from_checkpoint",
        type=path(),
        help="Checkpoint from which its run resumes, with the complete training state. If unset: "
        "a new run starts.",
    )
    add(
        "--allow_changed_data",
        type=str2bool,
        default=False,
        help="Resume a run even if its data files differ from those it has been trained on.",
    )
    add(
        "--checkpoint_every_n_steps",
        type=integer(1),
        help="Number of optimizer steps between two writes of last.ckpt, in addition to the write "
        "after each epoch. If unset: after each epoch only.",
    )
    add(
        "--cache_dir",
        type=path(OUTPUT),
        help="Folder for sequence stores. If unset: the folder of each source file.",
    )


def _add_machine(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--accelerator",
        type=spelled(cuda="gpu"),
        choices=["auto", "cpu", "gpu", "mps"],
        default="auto",
        help="Kind of device.",
    )
    add("--devices", type=integer(1), default=1, help="Number of devices on each node.")
    add("--num_nodes", type=integer(1), default=1, help="Number of nodes.")
    add(
        "--strategy",
        choices=["auto", "ddp", "fsdp"],
        default="auto",
        help="How several devices share the work. ddp: each device has all weights. fsdp: each "
        "device has a part of the weights, gradients and optimizer states, which saves memory. "
        "auto: ddp for several devices.",
    )
    add(
        "--n_workers",
        type=integer(0),
        default=0,
        help="Number of processes that read data in parallel with training. 0: the training "
        "process reads.",
    )
    add(
        "--compile",
        type=str2bool,
        default=False,
        help="Compile the encoder with torch.compile. It starts slowly, but is often faster on a "
        "GPU.",
    )
    add(
        "--n_threads",
        type=integer(1),
        help="Number of CPU threads of each process. If unset: the choice of torch, at most the "
        "CPUs that the process may use.",
    )
    add(
        "--deterministic",
        type=str2bool,
        default=False,
        help="Refuse operations whose result can differ from run to run. On a CPU, seqmodel uses "
        "none.",
    )
    add(
        "--max_time",
        type=duration(),
        help="Time after which training saves a checkpoint and ends, as DD:HH:MM:SS. If unset: no "
        "limit.",
    )


def _add_watching(parser: HparamParser) -> None:
    add = parser.add_argument
    add(
        "--fast_dev_run",
        type=str2bool,
        default=False,
        help="Run one batch of each split without writing a checkpoint, to check that the run "
        "works.",
    )
    add(
        "--limit_val_batches",
        type=batches(),
        help="Number of batches in one validation, or the proportion of them. If unset: all.",
    )
    add(
        "--limit_test_batches",
        type=batches(),
        help="Number of batches in the test, or the proportion of them. If unset: all.",
    )
    add(
        "--num_sanity_val_steps",
        type=integer(0),
        default=0,
        help="Number of validation batches that run before training starts.",
    )
    add(
        "--log_every_n_steps",
        type=integer(1),
        default=50,
        help="Number of optimizer steps between two rows of training values in metrics.csv.",
    )
    add(
        "--logger",
        nargs="*",
        choices=["tensorboard", "mlflow", "wandb"],
        help="Further loggers, which write to the run folder without a network. metrics.csv is "
        "always written. If unset: none.",
    )
    add(
        "--progress",
        choices=["auto", "bar", "lines", "none"],
        default="auto",
        help="Progress display: a bar, plain lines, or none. auto: a bar on a terminal, otherwise "
        "lines.",
    )
    add(
        "--audit",
        choices=list(AUDITS),
        default="short",
        help="Audit of the test score. short: one line about duplicates and baselines, if it "
        "takes less than 5 % of the run time. full: the output of `seqmodel audit`, also "
        "saved in audit.json.",
    )
    add(
        "--detect_anomaly",
        type=str2bool,
        default=False,
        help="Stop when a gradient becomes NaN. Training is slower.",
    )
