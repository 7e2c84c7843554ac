"""Small tasks, batches and trainers for the tests of tasks."""

import logging

import pytorch_lightning as pl
import torch
from model_cases import DNA, tokens_of

from seqmodel.dataset.label.targets import Targets
from seqmodel.hparam.model import PooledHparams, PositionHparams, TransformerHparams
from seqmodel.hparam.optim import AdamWHparams, ConstantHparams
from seqmodel.hparam.target import resolve_target
from seqmodel.model import adapt_encoder, build_decoder, build_encoder

for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning"):
    logging.getLogger(name).setLevel(logging.ERROR)

NO_TARGETS = Targets()
TWO_CLASSES = Targets("class", ("intergenic", "coding"))
THREE_CLASSES = Targets("class", ("neither", "donor", "acceptor"))


class SaveAfterTwoEpochs(pl.Callback):
    """Writes a checkpoint at the end of the second epoch."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, task):
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)


class Batches:
    """A loader of ready batches."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def batch_of(n, seq_len, seed=0, first_index=0, **more):
    """A batch of random letters."""
    index = torch.arange(first_index, first_index + n)
    return {
        "tokens": tokens_of(n, seq_len, seed=seed),
        "index": index,
        "key": index * 7919 + seed,
        **more,
    }


def task_of(
    hparams,
    targets=NO_TARGETS,
    *,
    encoder=None,
    decoder=None,
    optimiser=None,
    schedule=None,
    seed=0,
):
    """A task around a small encoder."""
    torch.manual_seed(seed)
    cls = resolve_target(hparams.target)
    encoder_hparams = encoder or TransformerHparams(n_dims=16, n_layers=2, dropout=0.0)
    if decoder is None:
        decoder = PositionHparams() if cls.per_position else PooledHparams()
    model = adapt_encoder(build_encoder(encoder_hparams, DNA), encoder_hparams)
    return cls(
        hparams,
        model,
        build_decoder(decoder, model, cls.n_out(hparams, DNA, targets)),
        alphabet=DNA,
        targets=targets,
        optimiser=optimiser or AdamWHparams(),
        schedule=schedule or ConstantHparams(),
    )


def trainer_of(folder, **arguments):
    """A quiet Trainer on the CPU."""
    options = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return pl.Trainer(**options | arguments)
