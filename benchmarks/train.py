"""Tokens a second while training, against minimal loops and HuggingFace models; one JSON line each.

    python benchmarks/train.py [CASE ...] [--peers bare hf_bert hf_esm] [--rounds 6] [--steps 3]
        [--device cuda] [--sizes n_layers=2 seq_len=64]
    python benchmarks/train.py transformer_masked --device cuda --precision bf16-mixed
        --widths 256 1024 --compiled --peers bare hf_bert

`ours` is what `seqmodel run` does: data, loader, Trainer, logging and callbacks, all at their
defaults, but for the checkpoint that a run writes after its last step. `bare` is a loop written by
hand around the same model, with batches made beforehand. The contestants take turns (A B, B A), a
few steps each after three that are not timed; values are medians over the rounds, and a ratio is
the median of the ratios within each round, above 1 where ours is faster. `empty_step` has a task
with one weight: milliseconds of a step in which nothing is computed, against Lightning's Trainer
bare and at its defaults. `compiled`, `bf16`, `ddp` and `fsdp` are ours again, with --compile,
--precision=bf16-mixed or --strategy on one device; `kept` is ours with one batch that stays on the
device, so 1 - ratio is the part of a step that waits for the loader. The extra `hf` is needed for
hf_bert and hf_esm. `--sizes` replaces hyperparameters of the cases; `--precision`, `--widths` and
`--compiled` (each width a second time, compiled) hold for all contestants. `<case>_flops` compares
the arithmetic of a step with a matrix product in the same precision. `contended` is
benchmarks/contended.py: the demo's fine-tuning beside busy processes; it runs if it is named. On a
card the clock is read when the card has done its work.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from seqmodel.hparam.resolve import Run, resolve  # noqa: E402
from seqmodel.task.step import Scored  # noqa: E402
from seqmodel.task.task import Task  # noqa: E402
from seqmodel.training.allocator import kept_memory  # noqa: E402
from seqmodel.training.build import build  # noqa: E402
from seqmodel.training.stopping import StopOnSignal  # noqa: E402
from seqmodel.training.trainer import RunData, make_trainer  # noqa: E402

LETTERS = "ABCDEFG"  # 7 letters and 3 control tokens: a vocabulary of 10
TRANSFORMER = {"encoder": "transformer", "n_dims": 256, "n_layers": 6, "n_heads": 8, "n_ff": 1024}
MASKED = {"task": "masked", "mask_prop": 0.12, "random_prop": 0.015, "keep_prop": 0.015}
LONG = {"seq_len": 1000, "batch_size": 64, "n_dims": 128}
CASES = {
    "transformer_masked": TRANSFORMER | MASKED | {"seq_len": 512, "batch_size": 16},
    "transformer_causal": TRANSFORMER
    | {"task": "causal", "causal": True, "seq_len": 512, "batch_size": 16},
    "cnn": {"task": "classify", "encoder": "cnn", "n_layers": 3} | LONG,
    "dilated_conv": MASKED | {"encoder": "dilated_conv", "n_layers": 6} | LONG,
    "empty_step": {},
}
PEERS = {
    "transformer_masked": ("bare", "hf_bert", "hf_esm", "compiled", "bf16", "ddp", "fsdp"),
    "transformer_causal": ("bare",),
    "cnn": ("bare", "compiled", "bf16", "kept"),
    "dilated_conv": ("bare",),
    "empty_step": ("lightning", "lightning_defaults"),
}
WARM_UP = 3  # steps until the memory of a step has found its place
Contestant = Callable[[int], float]  # number of steps -> seconds that they took, after WARM_UP ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join([*CASES, "contended"]))
    parser.add_argument("--peers", nargs="*", default=PEERS["transformer_masked"][:5])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sizes", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--precision", choices=["32", "bf16-mixed"], default="32")
    parser.add_argument("--widths", nargs="*", type=int, default=[], metavar="N_DIMS")
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    for case in args.cases or CASES:
        if case == "contended":  # in processes of its own
            words = [str(ROOT / "benchmarks/contended.py"), f"--rounds={args.rounds}"]
            subprocess.run([sys.executable, *words], check=True)
            continue
        if case == "empty_step":
            with tempfile.TemporaryDirectory() as folder:
                empty_step(Path(folder), args)
            continue
        for compiled, width in product((False, True)[: 1 + args.compiled], args.widths or [None]):
            with tempfile.TemporaryDirectory() as folder:
                training(case, Path(folder), args, width, compiled)


def training(
    case: str,
    folder: Path,
    args: argparse.Namespace,
    width: int | None = None,
    compiled: bool = False,
) -> None:
    """Tokens a second of one case."""
    sizes = dict(size.split("=") for size in args.sizes)
    of_others = {name for x in CASES.values() for name in x} - {*CASES[case]}
    settings = CASES[case] | {x: int(n) for x, n in sizes.items() if x not in of_others}
    if args.precision != "32":
        settings |= {"precision": args.precision}
        case += f" {args.precision}"
    if width:
        settings |= {"n_dims": width, "n_heads": max(8, width // 64), "n_ff": 4 * width}
        case += f" d={width}"
    run = make_run(settings, folder, args)
    parts = build(run)
    n_flops = 3 * forward_flops(parts, settings, args)
    if compiled:
        settings |= {"compile": True}
        run = make_run(settings, folder, args)
        case += " compiled"
    contestants: dict[str, Contestant] = {"ours": ours(run, parts, folder, args)}
    made = {"bare": bare, "hf_bert": hugging_face, "hf_esm": hugging_face}
    made["kept"] = lambda *_: ours(run, parts, folder, args, kept=True)
    variants = {"compiled": {"compile": True}, "bf16": {"precision": "bf16-mixed"}}
    variants |= {name: {"strategy": name} for name in ("ddp", "fsdp")}
    for peer in [peer for peer in PEERS[case.split()[0]] if peer in args.peers]:
        if peer.startswith("hf_") and find_spec("transformers") is None:
            print(f"{peer}: left out, as transformers is missing: pip install transformers",
                  file=sys.stderr)  # fmt: skip
        elif peer in variants:
            other = make_run(settings | variants[peer], folder, args)
            contestants[peer] = ours(other, build(other), folder, args)
        else:
            contestants[peer] = made[peer](peer, parts, settings, args)
    n_tokens = settings["seq_len"] * settings["batch_size"] * args.steps
    seconds = take_turns(contestants, args.rounds, args.steps)
    speeds = {name: [n_tokens / s for s in times] for name, times in seconds.items()}
    for peer in [name for name in speeds if name != "ours"] or [None]:
        tell(case, speeds, peer, "tokens/s", args, larger_is_better=True)
    reached = statistics.median(speeds["ours"]) * n_flops / settings["seq_len"]
    plain = plain_matmul_flops(args)
    line = {"case": f"{case}_flops", "ours": round(reached / 1e9, 1), "peer": "matmul"}
    line |= {"peer_value": round(plain / 1e9, 1), "unit": "GFLOP/s"}
    line |= {"card": card(args)}
    print(json.dumps(line | {"ratio": round(reached / plain, 3)}), flush=True)


def make_run(settings: dict, folder: Path, args: argparse.Namespace) -> Run:
    """A run on random letters, with enough of them for all steps."""
    rng = np.random.default_rng(0)
    n = settings["batch_size"] * (WARM_UP + args.steps + 1)
    rows = rng.choice(list(LETTERS), (n, settings["seq_len"]))
    if settings["task"] == "classify":
        path = folder / "train.csv"
        lines = [f"{''.join(row)},{rng.integers(2)}\n" for row in rows]
        path.write_text("sequence,label\n" + "".join(lines))
        data = {"dataset": "table", "train_files": [str(path)]}
    else:
        path = folder / "letters.fa"
        path.write_text(f">a\n{''.join(rows.flatten())}\n")
        data = {"dataset": "fasta", "fasta": [str(path)]}
    data |= {"alphabet": f"letters:{LETTERS}", "cache_dir": str(folder)}
    # a last step that is not timed: after it a checkpoint is written, as in no minimal loop
    training = {"dropout": 0.0, "max_steps": WARM_UP + args.steps + 1, "progress": "none"}
    training["accelerator"] = "gpu" if args.device == "cuda" else "cpu"
    return resolve(data | training | settings)


def ours(
    run: Run, parts: object, folder: Path, args: argparse.Namespace, *, kept: bool = False
) -> Contestant:
    """The whole of `seqmodel run` after its start; `kept` reads one batch that stays there."""
    if run.values.compile:
        parts.task.encoder.compile()

    def steps(n: int) -> float:
        clock = Clock(n, args)
        trainer = make_trainer(run, folder, parts, {}, StopOnSignal())
        trainer.callbacks.append(clock)
        data = {"datamodule": RunData(parts.data, run)}
        if kept:
            batch = next(iter(parts.data.loader("train")))
            batch = {name: x.to(args.device) for name, x in batch.items()}
            data = {"train_dataloaders": Repeated(WARM_UP + n + 1, batch)}
        with kept_memory() if args.device == "cpu" else nullcontext():
            trainer.fit(parts.task, **data)
        return clock.seconds

    return steps


class Clock(pl.Callback):
    """Seconds of n steps after the first ones."""

    def __init__(self, n: int, args: argparse.Namespace) -> None:
        self.n, self.seconds, self.args = n, 0.0, args

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """Looks at the clock."""
        if batch_idx == WARM_UP - 1:
            self.start = now(self.args)
        if batch_idx == WARM_UP + self.n - 1:
            self.seconds = now(self.args) - self.start


def now(args: argparse.Namespace) -> float:
    """Seconds, once the device has done what was asked of it."""
    if args.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def card(args: argparse.Namespace) -> str:
    return torch.cuda.get_device_name() if args.device == "cuda" else args.device


def bare(peer: str, parts: object, settings: dict, args: argparse.Namespace) -> Contestant:
    """A minimal loop around the same model: no Lightning, no loader, no logging."""
    encoder, decoder = parts.task.encoder, parts.task.decoder
    batches = random_batches(settings, args)

    def loss_of(tokens: torch.Tensor) -> torch.Tensor:
        if settings["task"] == "classify":
            return cross_entropy(
                decoder(encoder(tokens)), torch.arange(len(tokens), device=tokens.device) % 2
            )
        if settings["task"] == "causal":
            logits = decoder(encoder(tokens)[:, :-1])
            return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten().long())
        chosen = torch.rand(tokens.shape, device=tokens.device) < 0.15
        hidden = encoder(tokens.masked_fill(chosen, len(LETTERS)))
        return cross_entropy(decoder(hidden[chosen][None])[0], tokens[chosen].long())

    return loop([encoder, decoder], batches, loss_of, args)


def hugging_face(peer: str, parts: object, settings: dict, args: argparse.Namespace) -> Contestant:
    """A minimal loop around a model for masked letters of transformers, with its own loss."""
    import transformers

    sizes = {
        "vocab_size": len(LETTERS) + 3,
        "hidden_size": settings["n_dims"],
        "num_hidden_layers": settings["n_layers"],
        "num_attention_heads": settings["n_heads"],
        "intermediate_size": settings["n_ff"],
        "max_position_embeddings": settings["seq_len"] + 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": len(LETTERS) + 1,
        "attn_implementation": "sdpa",
    }
    if peer == "hf_bert":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**sizes))
    else:
        esm = {"position_embedding_type": "rotary", "mask_token_id": len(LETTERS)}
        model = transformers.EsmForMaskedLM(transformers.EsmConfig(**sizes, **esm))

    def loss_of(tokens: torch.Tensor) -> torch.Tensor:
        chosen = torch.rand(tokens.shape, device=tokens.device) < 0.15
        labels = tokens.long().masked_fill(~chosen, -100)
        ids = tokens.long().masked_fill(chosen, len(LETTERS))
        return model(input_ids=ids, labels=labels).loss

    if settings.get("compile"):
        model.compile()
    return loop([model], random_batches(settings, args), loss_of, args)


def loop(
    modules: list[nn.Module],
    batches: Iterator[torch.Tensor],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    args: argparse.Namespace,
) -> Contestant:
    """The loop written by hand: fused AdamW, gradients clipped as ours are."""
    for module in modules:
        module.to(args.device)
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    half = args.precision == "bf16-mixed"

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(args.device, torch.bfloat16, enabled=half):
            loss = loss_of(next(batches))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    def steps(n: int) -> float:
        for module in modules:
            module.to(args.device).train()  # Lightning leaves ours on the CPU
        for _ in range(WARM_UP):
            step()
        start = now(args)
        for _ in range(n):
            step()
        return now(args) - start

    return steps


def random_batches(settings: dict, args: argparse.Namespace) -> Iterator[torch.Tensor]:
    shape = (settings["batch_size"], settings["seq_len"])
    made = [torch.randint(0, len(LETTERS), shape, dtype=torch.uint8) for _ in range(4)]
    while True:
        for tokens in made:
            yield tokens.to(args.device)


def take_turns(contestants: dict[str, Contestant], rounds: int, n: int) -> dict[str, list[float]]:
    """Seconds of n steps of each, in each round; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds + 1):
        for name in sorted(contestants, reverse=bool(i % 2)):
            steps = contestants[name]
            with redirect_stdout(sys.stderr):  # ours is the output of JSON lines alone
                seconds = steps(n)
            if i:
                times[name].append(seconds)
    return times


def forward_flops(parts: object, settings: dict, args: argparse.Namespace) -> float:
    """Floating-point operations of the forward pass for one sequence, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    tokens = next(random_batches(settings, args))[:1]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        parts.task.encoder.to(args.device).eval()(tokens)
    return counter.get_total_flops()


def plain_matmul_flops(args: argparse.Namespace, repeats: int = 8) -> float:
    """Floating-point operations a second of a square matrix product; the best of some."""
    n = 8192 if args.device == "cuda" else 1536
    dtype = torch.float32 if args.precision == "32" else torch.bfloat16
    a, b = torch.randn(2, n, n, device=args.device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        start = now(args)
        a @ b
        best = min(best, now(args) - start)
    return 2 * n**3 / best


class OneWeight(nn.Module):
    """An encoder that does nothing, with a weight to train."""

    n_out, stride, symmetric = 1, 1, False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class EmptyTask(Task):
    """A task whose loss is its weight."""

    @classmethod
    def n_out(cls, *args: object) -> int:
        """One output, which nobody reads."""
        return 1

    def score(self, batch: dict) -> Scored:
        """The weight."""
        loss = self.encoder.weight.sum()
        return Scored(loss, torch.ones(()), loss, loss)


class PlainModule(pl.LightningModule):
    """The same without anything of ours."""

    def __init__(self, logs: bool) -> None:
        super().__init__()
        self.weight, self.logs = nn.Parameter(torch.zeros(1)), logs

    def training_step(self, batch, batch_idx):
        """The weight."""
        loss = self.weight.sum()
        if self.logs:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        """AdamW at its defaults."""
        return torch.optim.AdamW(self.parameters())


class Repeated:
    """A loader that gives one batch again and again, by default a small one."""

    def __init__(self, n: int, batch: dict | None = None) -> None:
        small = {"tokens": torch.zeros(1, 8, dtype=torch.uint8), "index": torch.zeros(1).int()}
        self.n, self.batch = n, batch or small

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[dict]:
        for _ in range(self.n):
            yield self.batch


def empty_step(folder: Path, args: argparse.Namespace) -> None:
    """Milliseconds of a step that computes nothing."""
    for name in ("pytorch_lightning", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    n = 1000
    (folder / "a.fa").write_text(">a\nACGT\n")
    run = resolve(
        {"task": "masked", "dataset": "fasta", "fasta": [str(folder / "a.fa")], "seq_len": 4}
        | {"max_epochs": 1, "progress": "lines", "accelerator": "cpu"}
    )

    def measured(task: pl.LightningModule, trainer: pl.Trainer) -> float:
        clock = Clock(n, args)
        trainer.callbacks.append(clock)
        trainer.fit(task, Repeated(WARM_UP + n))
        return clock.seconds * 1000 / n

    def of_ours(_: int) -> float:
        data = build(run).data
        hparams = [run.hparams(role) for role in ("task", "optimiser", "schedule")]
        task = EmptyTask(
            *(hparams[0], OneWeight(), nn.Identity()),
            alphabet=data.alphabet,
            targets=data.targets,
            optimiser=hparams[1],
            schedule=hparams[2],
        )
        parts = SimpleNamespace(data=data, task=task)
        return measured(task, make_trainer(run, folder, parts, {}, StopOnSignal()))

    def of_lightning(_: int) -> float:
        off = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        return measured(PlainModule(False), pl.Trainer(max_epochs=1, accelerator="cpu", **off))

    def of_defaults(_: int) -> float:
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder)
        return measured(PlainModule(True), trainer)

    contestants = {
        "ours": of_ours,
        "lightning": of_lightning,
        "lightning_defaults": of_defaults,
    }
    times = take_turns(contestants, args.rounds, n)
    for peer in PEERS["empty_step"]:
        tell("empty_step", times, peer, "ms/step", args, larger_is_better=False)


def tell(
    case: str,
    values: dict[str, list[float]],
    peer: str | None,
    unit: str,
    args: argparse.Namespace,
    *,
    larger_is_better: bool,
) -> None:
    """Prints one line: medians, and the median of the ratios within each round."""
    line = {"case": case, "ours": round(statistics.median(values["ours"]), 3), "peer": peer}
    if peer is not None:
        pairs = zip(values["ours"], values[peer], strict=True)
        ratios = [o / p if larger_is_better else p / o for o, p in pairs]
        line["peer_value"] = round(statistics.median(values[peer]), 3)
        line |= {"ratio": round(statistics.median(ratios), 3)}
        line |= {"ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3)}
    line |= {"unit": unit, "threads": args.threads, "rounds": args.rounds}
    line |= {"torch": torch.__version__, "card": card(args)}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
