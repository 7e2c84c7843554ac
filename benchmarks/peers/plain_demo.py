"""Coding or intergenic windows: Lightning and pyfaidx, as one writes it without seqmodel."""

import argparse
import json
import math
import os

import numpy as np
import pytorch_lightning as pl
import torch
from networks import DilatedConv, groups, load_encoder, n_weights
from pyfaidx import Fasta
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

CLASSES = {"intergenic": 0, "coding": 1}
VALID, TEST = "chr06", "chr07"
WARM_UP = 10


def read(fasta: str, bed: str) -> dict[str, TensorDataset]:
    """The windows of each split: ids [n, L] and classes [n]."""
    codes = np.full(256, 4, np.uint8)
    codes[list(b"ACGTacgt")] = [0, 1, 2, 3] * 2
    genome, found = Fasta(fasta), {"train": [], "valid": [], "test": []}
    with open(bed) as lines:
        for line in lines:
            contig, start, end, name, _, strand = line.split("\t")
            window = genome[contig][int(start) : int(end)]
            letters = (-window if strand.strip() == "-" else window).seq
            split = {VALID: "valid", TEST: "test"}.get(contig, "train")
            found[split].append((codes[np.frombuffer(letters.encode(), np.uint8)], CLASSES[name]))
    return {
        split: TensorDataset(
            torch.from_numpy(np.stack([x for x, _ in rows])), torch.tensor([y for _, y in rows])
        )
        for split, rows in found.items()
    }


class Classifier(pl.LightningModule):
    """The encoder, a mean over positions, a linear layer."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__()
        self.encoder = DilatedConv(48, 6, 3)
        self.head = nn.Linear(48, 2)
        load_encoder(self.encoder, checkpoint)
        self.scores = nn.ModuleDict({"auroc": BinaryAUROC(), "accuracy": BinaryAccuracy()})

    def forward(self, ids):
        """The logits."""
        return self.head(self.encoder(one_hot(ids.long(), 5)[:, :, :4].float()).mean(1))

    def training_step(self, batch, batch_idx):
        """The loss of a batch."""
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        """Adds to the scores of the validation."""
        self.evaluate("valid", batch)

    def test_step(self, batch, batch_idx):
        """Adds to the scores of the test."""
        self.evaluate("test", batch)

    def evaluate(self, stage, batch):
        """Logs loss and scores, which Lightning computes over the whole split."""
        logits = self(batch[0])
        self.log(f"{stage}_loss", cross_entropy(logits, batch[1]), batch_size=len(batch[1]))
        for name, score in self.scores.items():
            score.update(logits.softmax(1)[:, 1], batch[1])
            self.log(f"{stage}_{name}", score, on_epoch=True)

    def configure_optimizers(self):
        """AdamW and its schedule."""
        return cosine(self, self.trainer.estimated_stepping_batches)


def cosine(model: nn.Module, n_steps: int) -> tuple[list, list]:
    """AdamW; 10 steps of warm-up, then half a cosine."""
    betas = (0.9, 0.98)
    optimizer = torch.optim.AdamW(groups(model, 0.01), lr=2e-3, betas=betas, fused=True)

    def rate(step: int) -> float:
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        done = (step - WARM_UP) / max(n_steps - WARM_UP, 1)
        return (1 + math.cos(math.pi * done)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fasta", required=True)
    parser.add_argument("--bed", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    pl.seed_everything(0)
    data, model = read(args.fasta, args.bed), Classifier(args.checkpoint)
    loaders = {x: DataLoader(data[x], batch_size=32, shuffle=x == "train") for x in data}
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        logger=CSVLogger(args.out),
        callbacks=[ModelCheckpoint(monitor="valid_loss", save_last=True)],
    )
    trainer.fit(model, loaders["train"], loaders["valid"])
    n_steps = trainer.global_step
    (scores,) = trainer.test(model, loaders["test"], ckpt_path="best")
    print(
        json.dumps({"weights": n_weights(model), "steps": n_steps, "score": scores["test_auroc"]})
    )


if __name__ == "__main__":
    main()
