"""Coding or intergenic windows with gReLU: its data set, module and trainer, around the network."""

import argparse
import json
import os

import pandas
import torch
from grelu.data.dataset import DFSeqDataset
from grelu.lightning import LightningModel
from networks import DilatedConv, load_encoder, n_weights
from plain_demo import TEST, VALID, cosine
from pyfaidx import Fasta
from torch import nn


class Network(nn.Module):
    """The encoder, a mean over positions, a linear layer: [N, 4, L] -> [N, 2, 1]."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__()
        self.encoder, self.head = DilatedConv(48, 6, 3), nn.Linear(48, 2)
        self.head.n_tasks = 2  # gReLU asks the head
        load_encoder(self.encoder, checkpoint)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.head(self.encoder(x.mT).mean(1))[:, :, None]


class Classifier(LightningModel):
    """gReLU's module with this network, and the optimizer and schedule of the others."""

    def build_model(self) -> None:
        """This network; a name would choose one of gReLU."""
        self.model = Network(self.model_params["checkpoint"])

    def configure_optimizers(self):
        """AdamW; gReLU itself has Adam and a constant rate."""
        return cosine(self, self.trainer.estimated_stepping_batches)


def read(fasta: str, bed: str) -> dict[str, DFSeqDataset]:
    """The windows of each split as sequences with a column of labels."""
    names = ["contig", "start", "end", "label", "score", "strand"]
    table, genome = pandas.read_csv(bed, sep="\t", names=names), Fasta(fasta)
    windows = [genome[x.contig][x.start : x.end] for x in table.itertuples()]
    flips = table["strand"] == "-"
    table["seq"] = [(-x if flip else x).seq.upper() for x, flip in zip(windows, flips, strict=True)]
    split = table["contig"].map({VALID: "valid", TEST: "test"}).fillna("train")
    return {
        name: DFSeqDataset(part[["seq", "label"]].reset_index(drop=True))
        for name, part in table.groupby(split)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("fasta", "bed", "checkpoint", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    data = read(args.fasta, args.bed)
    settings = {"task": "multiclass", "loss": "cross_entropy", "batch_size": 32, "num_workers": 0}
    settings |= {"max_epochs": args.epochs, "clip": 1.0, "logger": "csv", "save_dir": args.out}
    model = Classifier({"model_type": "own", "checkpoint": args.checkpoint}, settings)
    trainer = model.train_on_dataset(data["train"], data["valid"])
    n_steps = trainer.global_step
    best = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=False)
    model.load_state_dict(best["state_dict"])
    (scores,) = trainer.test(model, model.make_test_loader(data["test"]), verbose=False)
    print(
        json.dumps({"weights": n_weights(model), "steps": n_steps, "score": scores["test_auroc"]})
    )


if __name__ == "__main__":
    main()
