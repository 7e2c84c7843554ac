"""Peaks and bigWig tracks: a loop in plain PyTorch, over arrays that are read beforehand.

pyfaidx and pyBigWig read each window once into memory. With --loader=bpnetlite the windows are read
by tangermeme and drawn by bpnet-lite's loader; network and loop stay the same.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from networks import DilatedConv, groups, n_weights
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SPLITS = {"valid": {"chrXIV"}, "test": {"chrXV", "chrXVI"}}
SEQ_LEN, TARGET_LEN = 1000, 800
FLANK = (SEQ_LEN - TARGET_LEN) // 2


class Profile(nn.Module):
    """Logarithms of the expected counts of both strands: [N, 1000, 4] -> [N, 800, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = DilatedConv(32, 6, 3), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs of the middle positions."""
        return self.head(self.encoder(x)[:, FLANK:-FLANK])


def poisson(log_rate: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return (log_rate.exp() - counts * log_rate).mean()


def windows_of(bed: str) -> dict[str, list[tuple[str, int, int]]]:
    """(contig, start, end) of the windows of each split."""
    found = {"train": [], "valid": [], "test": []}
    with open(bed) as lines:
        for line in lines:
            contig, start, end = line.split("\t")[:3]
            split = next((x for x, contigs in SPLITS.items() if contig in contigs), "train")
            start = (int(start) + int(end)) // 2 - SEQ_LEN // 2
            found[split].append((contig, start, start + SEQ_LEN))
    return found


def plain_loaders(args: argparse.Namespace) -> dict[str, DataLoader]:
    """Batches of ids uint8 [N, 1000] and counts [N, 800, 2]."""
    import pyBigWig
    from pyfaidx import Fasta

    codes = np.full(256, 4, np.uint8)
    codes[list(b"ACGTacgt")] = [0, 1, 2, 3] * 2
    genome, tracks, loaders = Fasta(args.fasta), [pyBigWig.open(x) for x in args.tracks], {}
    for split, windows in windows_of(args.bed).items():
        ids = np.empty((len(windows), SEQ_LEN), np.uint8)
        counts = np.empty((len(windows), TARGET_LEN, 2), np.float32)
        for i, (contig, start, end) in enumerate(windows):
            ids[i] = codes[np.frombuffer(genome[contig][start:end].seq.encode(), np.uint8)]
            for j, track in enumerate(tracks):
                counts[i, :, j] = track.values(contig, start + FLANK, end - FLANK, numpy=True)
        data = TensorDataset(torch.from_numpy(ids), torch.from_numpy(np.nan_to_num(counts)))
        loaders[split] = DataLoader(data, batch_size=32, shuffle=split == "train")
    return loaders


def one_hot(ids: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(ids.long(), 5)[:, :, :4].float()


def bpnetlite_loaders(args: argparse.Namespace) -> dict[str, DataLoader]:
    """Batches of one-hot rows [N, 4, 1000] and counts [N, 2, 800]."""
    import pandas
    from bpnetlite.io import DataGenerator
    from tangermeme.io import extract_loci

    loaders = {}
    for split, windows in windows_of(args.bed).items():
        loci = pandas.DataFrame(windows, columns=["chrom", "start", "end"])
        one_hots, counts = extract_loci(
            loci, args.fasta, args.tracks, in_window=SEQ_LEN, out_window=TARGET_LEN
        )[:2]
        if split == "train":
            data = DataGenerator(
                one_hots, counts, in_window=SEQ_LEN, out_window=TARGET_LEN, random_state=0
            )
        else:
            data = TensorDataset(one_hots, counts)
        loaders[split] = DataLoader(data, batch_size=32)
    return loaders


@torch.no_grad()
def evaluate(model: Profile, batches) -> tuple[float, float]:
    """The loss and the Pearson correlation over all bins, from sums."""
    model.eval()
    loss, n, sums = 0.0, 0, torch.zeros(6, dtype=torch.float64)
    for x, counts in batches():
        log_rate = model(x)
        loss, n = loss + float(poisson(log_rate, counts)) * len(x), n + len(x)
        p, y = log_rate.exp().double().flatten(), counts.double().flatten()
        sums += torch.stack([torch.ones_like(p).sum(), p.sum(), y.sum(), p @ p, y @ y, p @ y])
    _, p, y, pp, yy, py = (sums / sums[0]).tolist()
    return loss / n, (py - p * y) / ((pp - p * p) * (yy - y * y)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("fasta", "bed", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tracks", nargs=2, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--loader", choices=["plain", "bpnetlite"], default="plain")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    out = Path(args.out)
    out.mkdir(parents=True)
    is_plain = args.loader == "plain"
    loaders = plain_loaders(args) if is_plain else bpnetlite_loaders(args)

    def batches(split: str):
        for x, counts in loaders[split]:
            yield (one_hot(x), counts) if is_plain else (x.mT.float(), counts.mT.float())

    model = Profile()
    optimizer = torch.optim.AdamW(groups(model, 0.01), lr=1e-3, betas=(0.9, 0.98), fused=True)
    best, n_steps = float("inf"), 0
    for epoch in range(args.epochs):
        model.train()
        for x, counts in batches("train"):
            optimizer.zero_grad()
            loss = poisson(model(x), counts)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            n_steps += 1
            if n_steps % 50 == 0:
                print(f"step {n_steps} loss {float(loss):.4f}", flush=True)
        loss, pearson = evaluate(model, lambda: batches("valid"))
        print(f"epoch {epoch} loss {loss:.4f} pearson {pearson:.4f}", flush=True)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, out / "last.pt")
        if loss < best:
            best = loss
            torch.save(state, out / "best.pt")
    model.load_state_dict(torch.load(out / "best.pt")["model"])
    score = evaluate(model, lambda: batches("test"))[1]
    print(json.dumps({"weights": n_weights(model), "steps": n_steps, "score": score}))


if __name__ == "__main__":
    main()
