"""Tokens a second and memory of a training step of every encoder, at three lengths.

    python benchmarks/models.py [ENCODER ...] [--lengths 1000 8192 131072] [--markdown]

Forward and backward in float32, 128 channels, 4 blocks, every other hyperparameter at its default,
about 16,000 tokens a step (one sequence of 131,072), two threads; median of three steps after a
first one (of one, for the longest). What takes over two minutes is left out. Each figure comes from
a process of its own: memory is the peak of that process less what it held before the step. The
peer at every length is the transformer with local attention. Prints one JSON line a figure;
`--markdown` the rows of the table in docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PEER = "transformer, local"
ENCODERS: dict[str, tuple[str, dict]] = {
    "transformer": ("TransformerHparams", {}),
    PEER: ("TransformerHparams", {"attention_window": 256}),
    "hyena": ("HyenaHparams", {}),
    "dilated_conv": ("DilatedConvHparams", {}),
    "cnn": ("CnnHparams", {}),
    "conv_lstm": ("ConvLstmHparams", {}),
}
LIMIT_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoders", nargs="*", metavar="ENCODER", help=", ".join(ENCODERS))
    parser.add_argument("--lengths", nargs="*", type=int, default=[1000, 8192, 131072])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("ENCODER", "LENGTH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]), args.threads)))
        return
    found: dict[str, dict[int, dict]] = {}
    for name in dict.fromkeys([PEER, *(args.encoders or ENCODERS)]):
        measured = {length: elsewhere(name, length, args.threads) for length in args.lengths}
        figures = found[name] = {length: x for length, x in measured.items() if x}
        if args.markdown:
            print(row(name, figures, args.lengths), flush=True)
            continue
        for length, figure in figures.items():
            if length not in found[PEER]:
                continue
            for what, unit, larger in (("tokens_s", "tokens/s", True), ("mb", "MB", False)):
                mine, peer = figure[what], found[PEER][length][what]
                line = {"case": f"{name}_{length}", "ours": mine, "peer": PEER, "peer_value": peer}
                ratio = mine / peer if larger else peer / mine
                print(json.dumps(line | {"unit": unit, "ratio": round(ratio, 3)}), flush=True)


def elsewhere(name: str, length: int, threads: int) -> dict | None:
    """The figures of one encoder at one length, from a process of its own; None if it is slow."""
    words = [sys.executable, __file__, "--one", name, str(length), "--threads", str(threads)]
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        print(f"{name} at {length}: not within {LIMIT_S:.0f} s", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def measure(name: str, length: int, threads: int) -> dict:
    """Parameters, tokens a second, MB of a step."""
    import torch

    from seqmodel.dataset.seq.alphabet import alphabet_from_name
    from seqmodel.hparam import model
    from seqmodel.model import build_encoder

    torch.set_num_threads(threads)
    class_name, more = ENCODERS[name]
    encoder = build_encoder(getattr(model, class_name)(**more), alphabet_from_name("dna"))
    n = max(1, 16_000 // length)
    tokens = torch.randint(0, 4, (n, length), dtype=torch.uint8)
    before = memory_kb("VmRSS")
    seconds = []
    for _ in range(4 if length < 100_000 else 2):
        begin = time.perf_counter()
        encoder(tokens).square().mean().backward()
        seconds.append(time.perf_counter() - begin)
    peak = memory_kb("VmHWM")
    return {
        "field": receptive_field(encoder) if length < 5000 else None,
        "n_weights": sum(p.numel() for p in encoder.parameters()),
        "tokens_s": round(n * length / statistics.median(seconds[1:])),
        "mb": round((peak - before) / 1024),
    }


def receptive_field(encoder, length: int = 4096) -> int:
    """Letters of a sequence of this length on which the output in its middle depends."""
    import torch

    one_hot = torch.nn.functional.one_hot(torch.randint(0, 4, (1, length)), 4).double()
    one_hot.requires_grad_()
    # in double precision, since a weight far away must not vanish
    out = encoder.double().eval()(one_hot)
    middle = out[0, out.shape[1] // 2]
    (middle * torch.randn_like(middle)).sum().backward()  # a norm keeps plain sums constant
    reached = one_hot.grad[0].ne(0).any(1).nonzero()
    return int(reached.max() - reached.min()) + 1


def memory_kb(what: str) -> int:
    """A figure of this process that the kernel keeps (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise RuntimeError(f"no {what} in /proc/self/status")


def row(name: str, figures: dict[int, dict], lengths: list[int]) -> str:
    """A row of the table: weights, receptive field, then speed and memory at each length."""
    some = figures[min(figures)]
    cells = [name, f"{some['n_weights']:,}", f"{some['field']:,}"]
    for length in lengths:
        x = figures.get(length)
        cells.append(f"{x['tokens_s']:,}, {x['mb']:,} MB" if x else "not measured")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
