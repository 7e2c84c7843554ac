"""A table of sequences with two classes: a loop in plain PyTorch."""

import argparse
import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import torch
from networks import Transformer, groups, n_weights
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset


def read(path: str) -> TensorDataset:
    """The ids [n, L] and classes [n] of a file with the columns sequence and label."""
    codes = np.full(256, 4, np.int64)
    codes[list(b"ACGT")] = range(4)
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    letters = np.frombuffer("".join(row["sequence"] for row in rows).encode(), np.uint8)
    ids = torch.from_numpy(codes[letters].reshape(len(rows), -1))
    return TensorDataset(ids, torch.tensor([int(row["label"]) for row in rows]))


@torch.no_grad()
def evaluate(model: Transformer, loader: DataLoader) -> dict[str, float]:
    """Loss and scores of a split."""
    model.eval()
    logits, labels = zip(*((model(ids), y) for ids, y in loader), strict=True)
    logits, labels = torch.cat(logits), torch.cat(labels)
    return {
        "loss": float(cross_entropy(logits, labels)),
        "auroc": roc_auc_score(labels, logits.softmax(1)[:, 1]),
        "mcc": matthews_corrcoef(labels, logits.argmax(1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "valid", "test", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    out = Path(args.out)
    out.mkdir(parents=True)
    train = DataLoader(read(args.train), batch_size=32, shuffle=True)
    valid, test = (DataLoader(read(x), batch_size=32) for x in (args.valid, args.test))
    model = Transformer(n_dims=128, n_layers=4, n_heads=4, n_ff=512, n_classes=2)
    optimizer = torch.optim.AdamW(groups(model, 0.01), lr=3e-4, betas=(0.9, 0.98), fused=True)
    best, n_steps = float("inf"), 0
    for epoch in range(args.epochs):
        model.train()
        for ids, labels in train:
            optimizer.zero_grad()
            loss = cross_entropy(model(ids), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            n_steps += 1
            if n_steps % 50 == 0:
                print(f"step {n_steps} loss {float(loss):.4f}", flush=True)
        scores = evaluate(model, valid)
        print(f"epoch {epoch} {scores}", flush=True)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, out / "last.pt")
        if scores["loss"] < best:
            best = scores["loss"]
            torch.save(state, out / "best.pt")
    model.load_state_dict(torch.load(out / "best.pt")["model"])
    score = evaluate(model, test)["auroc"]
    print(json.dumps({"weights": n_weights(model), "steps": n_steps, "score": score}))


if __name__ == "__main__":
    main()
