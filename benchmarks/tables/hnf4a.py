"""Measured effects of 977 variants of the HNF4A promoter, and scores of models that never saw it.

    python benchmarks/tables/hnf4a.py train [--device cuda] [--minutes 3]
    python benchmarks/tables/hnf4a.py score

`train` makes two models of human chromosome 20 (GRCh37) without the locus and 1 Mb on either side,
which is the blacklist of both: `supervised` (peaks of CTCF and PU.1 against windows of like GC) and
`masked` (letters that were hidden). Validation is on blocks of 2 Mb that neither trains on. `score`
compares their scores with the effects that were measured in HEK293T cells (Kircher et al. 2019):
Spearman and Pearson, signed and absolute, with a 95 % interval by bootstrap over positions. It
computes each score once more, from windows that this file cuts out of the genome itself.

Settings were fixed before the measured effects were read.
"""

from __future__ import annotations

import argparse
import gzip
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from row import find_data, new_folder

FOLDER, CONTIG, VCF = "human_chr20_b37", "20", "hnf4a_mpra_977.vcf"
LOCUS, MARGIN = (42_980_000, 43_040_000), 1_000_000
FACTORS = ("ctcf", "pu1")
VALID_BLOCK, VALID_EVERY, VALID_AT = 2_000_000, 8, 3
NEGATIVES_PER_PEAK, GC_TOLERANCE = 3, 0.02
MIN_BARCODES = 10
N_BOOTSTRAP = 2000
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

COMMON: dict[str, Any] = {
    "seed": 0,
    "rc_prob": 0.5,
    "max_unknown_prop": 0.1,
    "log_every_n_steps": 100,
    "progress": "lines",
}
SUPERVISED: dict[str, Any] = {
    "task": "multilabel",
    "dataset": "bed",
    "label_kind": "multilabel",
    "label_columns": list(FACTORS),
    "seq_len": 200,
    "jitter": 20,
    "encoder": "cnn",
    "n_dims": 64,
    "n_layers": 2,
    "first_kernel_size": 19,
    "kernel_size": 5,
    "pool_size": 4,
    "dropout": 0.3,
    "pool": "max",
    "ema_decay": 0.99,
    "weight_decay": 0.05,
    "lr": 2e-3,
    "warmup_steps": 50,
    "batch_size": 64,
    "max_epochs": 80,
    "patience": 15,
}
MASKED: dict[str, Any] = {
    "task": "masked",
    "dataset": "fasta",
    "seq_len": 512,
    "jitter": 256,
    "encoder": "dilated_conv",
    "first_kernel_size": 15,
    "kernel_size": 5,
    "dropout": 0.0,
    "lr": 1e-3,
    "max_epochs": 1000,
    "patience": 1000,
}
MASKED_ON: dict[str, dict[str, Any]] = {
    "cuda": {
        "n_dims": 256,
        "n_layers": 8,
        "batch_size": 256,
        "precision": "bf16-mixed",
        "warmup_steps": 200,
        "ema_decay": 0.999,
        "val_check_interval": 300,
        "limit_val_batches": 40,
    },
    "cpu": {
        "n_dims": 64,
        "n_layers": 6,
        "batch_size": 32,
        "warmup_steps": 100,
        "ema_decay": 0.99,
        "val_check_interval": 300,
        "limit_val_batches": 50,
        "n_threads": 1,
    },
}
SHARE = {"supervised": 0.25, "masked": 0.75}
"""Of the minutes."""


class Variant(NamedTuple):
    """A line of the VCF; `pos` is from 1, `effect` the log2 fold change."""

    pos: int
    ref: str
    alt: str
    effect: float
    n_barcodes: int

    @property
    def is_snv(self) -> bool:
        """One letter for another."""
        return len(self.ref) == len(self.alt) == 1


# --- data


def genome_file(data: Path, out: Path) -> Path:
    """The chromosome as one file, joined of its parts where it is kept in parts."""
    folder = data / FOLDER
    if (whole := folder / "20.fa.gz").is_file():
        return whole
    joined = out / "20.fa.gz"
    if not joined.is_file():
        out.mkdir(parents=True, exist_ok=True)
        with (out / "20.fa.gz.new").open("wb") as file:
            for part in sorted(folder.glob("20.fa.gz.part*")):
                file.write(part.read_bytes())
        (out / "20.fa.gz.new").rename(joined)
    return joined


def read_genome(path: Path) -> dict[str, str]:
    """Text of each contig, in upper case; without seqmodel, so that it can be compared with it."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    texts = {}
    for record in text.split(">")[1:]:
        name, _, lines = record.partition("\n")
        texts[name.split()[0]] = lines.replace("\n", "").upper()
    return texts


def read_variants(path: Path) -> list[Variant]:
    """The measured variants."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        _, pos, _, ref, alt, _, _, info = line.split("\t")
        values = dict(x.split("=") for x in info.split(";"))
        found.append(Variant(int(pos), ref, alt, float(values["LFC"]), int(values["BC"])))
    return found


def held_out() -> tuple[int, int]:
    """Start and end of what no model sees."""
    return LOCUS[0] - MARGIN, LOCUS[1] + MARGIN


def split_of(start: int, end: int) -> str | None:
    """The split of a window: "train", "valid", or None if it is at the border of both."""
    is_valid = {x // VALID_BLOCK % VALID_EVERY == VALID_AT for x in (start - 1000, end + 1000)}
    if len(is_valid) > 1:
        return None
    return "valid" if is_valid.pop() else "train"


def write_bed(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Writes intervals on the contig with further columns; returns the path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [("#contig", "start", "end", *header), *((CONTIG, *x) for x in rows)]
    path.write_text("".join("\t".join(map(str, x)) + "\n" for x in lines))
    return str(path)


def read_peaks(data: Path, factor: str) -> list[tuple[int, int]]:
    """Peaks of a factor, sorted."""
    lines = (data / FOLDER / f"{factor}_peaks_chr20.bed").read_text().splitlines()
    return sorted((int(x.split("\t")[1]), int(x.split("\t")[2])) for x in lines if x.strip())


def labelled_windows(text: str, peaks: dict[str, list[tuple[int, int]]]) -> list[tuple[int, ...]]:
    """Start, end and a label for each factor: windows around peaks, and of like GC without any.

    A window has a label if the middle of a peak of that factor lies in it.
    """
    length, half = SUPERVISED["seq_len"], SUPERVISED["seq_len"] // 2
    middles = {f: sorted((a + b) // 2 for a, b in x) for f, x in peaks.items()}
    taken = {m // length for x in middles.values() for m in x}
    starts = sorted({m - half for x in middles.values() for m in x})
    rows: list[tuple[int, ...]] = []
    rng = random.Random(0)
    for start in starts:
        labels = (int(any(start <= m < start + length for m in x)) for x in middles.values())
        rows.append((start, start + length, *labels))
        wanted, n_left = gc(text[start : start + length]), NEGATIVES_PER_PEAK
        while n_left:
            at = rng.randrange(0, len(text) - length)
            if {at // length + i for i in (-1, 0, 1, 2)} & taken:
                continue
            drawn = text[at : at + length]
            if "N" not in drawn and abs(gc(drawn) - wanted) <= GC_TOLERANCE:
                rows.append((at, at + length, *(0 for _ in middles)))
                taken.add(at // length)
                n_left -= 1
    return rows


def gc(text: str) -> float:
    """Proportion of G and C."""
    return (text.count("G") + text.count("C")) / len(text)


def tiles(n: int) -> list[tuple[int, int]]:
    """Windows of the masked model, side by side."""
    length = MASKED["seq_len"]
    return [(x, x + length) for x in range(0, n - length + 1, length)]


def write_windows(
    folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Writes the windows of both splits; the hyperparameters that read them."""
    by_split: dict[str, list[Sequence[int]]] = {"train": [], "valid": []}
    for x in rows:
        if (split := split_of(x[0], x[1])) is not None:
            by_split[split].append(x)
    return {
        f"{split}_files": [write_bed(folder / f"{name}_{split}.bed", header, own)]
        for split, own in by_split.items()
    }


# --- training


def hparams_of(name: str, data: Path, out: Path, device: str) -> dict[str, Any]:
    """What a model is trained by, with its files."""
    genome = genome_file(data, out)
    text = read_genome(genome)[CONTIG]
    files: dict[str, Any] = {
        "fasta": [str(genome)],
        "blacklist": [write_bed(out / "locus.bed", (), [held_out()])],
        "cache_dir": str(out / "cache"),
        "accelerator": {"cuda": "gpu"}.get(device, device),
    }
    if name == "supervised":
        peaks = {x: read_peaks(data, x) for x in FACTORS}
        files |= write_windows(out, name, FACTORS, labelled_windows(text, peaks))
        return COMMON | SUPERVISED | files
    files |= write_windows(out, name, (), tiles(len(text)))
    return COMMON | MASKED | MASKED_ON[device] | files


def train(name: str, data: Path, out: Path, device: str, minutes: float) -> None:
    """Trains a model for at most its share of the minutes."""
    import seqmodel

    seconds = max(1, round(60 * minutes * SHARE[name]))
    limit = f"00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    hparams = hparams_of(name, data, out, device)
    folder = new_folder(out / name)
    run = seqmodel.train(**hparams, max_time=limit, default_root_dir=str(folder))
    print(name, {k: round(v, 4) for k, v in run.metrics.items() if k.startswith("valid_")})


# --- scores


def windows_by_hand(text: str, variant: Variant, length: int, flip: bool) -> list[tuple[str, str]]:
    """REF and ALT windows in reading direction: one pair, or for a deletion one for each flank.

    The first letter that differs has index (length - 1) // 2. A deletion in a repeat is read at its
    leftmost place.
    """
    around, ref, alt = 3 * length, variant.ref, variant.alt
    text, at = text[variant.pos - 1 - around : variant.pos - 1 + around], around
    assert text[at : at + len(ref)] == ref
    if not variant.is_snv:  # the first letter is that before the deletion
        ref, alt, at = ref[1:], alt[1:], at + 1
    if flip:
        at = len(text) - at - len(ref)
        text, ref, alt = (x.translate(COMPLEMENT)[::-1] for x in (text, ref, alt))
    while not variant.is_snv and text[at - 1] == text[at + len(ref) - 1]:
        at -= 1
    changed = text[:at] + alt + text[at + len(ref) :]
    start = at - (length - 1) // 2
    starts = {start: None, start + len(alt) - len(ref): None}
    return [(text[start : start + length], changed[x : x + length]) for x in starts]


def scores_by_hand(model: Any, text: str, variants: Sequence[Variant]) -> np.ndarray:
    """Differences of logits [variants, targets], the mean over strands and flanks."""
    pairs, of = [], []
    for i, variant in enumerate(variants):
        for flip in (False, True):
            own = windows_by_hand(text, variant, model.seq_len, flip)
            pairs += own
            of += [i] * len(own)
    logits = model.predict([x for pair in pairs for x in pair], logits=True).astype(float)
    n, sums = Counter(of), np.zeros((len(variants), logits.shape[1]))
    for k, i in enumerate(of):
        sums[i] += (logits[2 * k + 1] - logits[2 * k]) / n[i]
    return sums


def llr_by_hand(model: Any, text: str, variants: Sequence[Variant]) -> np.ndarray:
    """Log-likelihood ratios of SNVs [variants, 1] with the letter masked, the mean over strands."""
    at, rows = (model.seq_len - 1) // 2, np.arange(len(variants))
    found = np.zeros((len(variants), 1))
    for flip in (False, True):
        pairs = [windows_by_hand(text, x, model.seq_len, flip)[0] for x in variants]
        ids = np.stack([model.alphabet.encode(ref) for ref, _ in pairs])
        ids[:, at] = model.alphabet.mask_id
        logits = model.predict(ids, logits=True)[:, at].astype(float)
        ref, alt = (["ACGT".index(pair[k][at]) for pair in pairs] for k in (0, 1))
        found[:, 0] += (logits[rows, alt] - logits[rows, ref]) / 2
    return found


# --- comparison

HEADER = (
    "| model, score | variants | n | Spearman | Pearson | Spearman of absolutes | "
    "Pearson of absolutes |\n|---|---|---|---|---|---|---|"
)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation."""
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation."""
    return pearson(ranks(x), ranks(y))


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1; the mean rank for equal values."""
    _, of, n = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(n) - (n - 1) / 2)[of]


def interval(
    statistic: Callable[..., float], x: np.ndarray, y: np.ndarray, places: Sequence[int]
) -> tuple[float, float]:
    """The 95 % interval by bootstrap; all rows of a place are drawn together."""
    found = np.asarray(places)
    rows = [np.flatnonzero(found == place) for place in np.unique(found)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(N_BOOTSTRAP):
        of = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        drawn.append(statistic(x[of], y[of]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def correlations(name: str, kind: str, rows: Sequence[tuple[Variant, float]]) -> str:
    """A row of Markdown."""
    effects, scores = np.array([(v.effect, score) for v, score in rows]).T
    places = [v.pos for v, _ in rows]
    cells = []
    for x, y in ((scores, effects), (abs(scores), abs(effects))):
        for statistic in (spearman, pearson):
            low, high = interval(statistic, x, y, places)
            cells.append(f"{statistic(x, y):.3f} ({low:.3f}, {high:.3f})")
    return f"| {' | '.join([name, kind, str(len(rows)), *cells])} |"


class Scored(NamedTuple):
    """Variants and their scores [variants, columns], by seqmodel and by hand."""

    columns: list[str]
    variants: list[Variant]
    scores: np.ndarray
    by_hand: np.ndarray


def scored_by(model: Any, genome: Path, vcf: Path, cache: Path) -> Scored:
    """What a model gives for the variants of a file, those that it can score."""
    variants, texts = read_variants(vcf), read_genome(genome)
    table = model.variants(str(vcf), fasta=str(genome), cache_dir=str(cache)).table()
    kept = [i for i, x in enumerate(table["status"]) if x == "ok"]
    own, text = [variants[i] for i in kept], texts[table["contig"][0]]
    if model.task == "masked":
        columns, by_hand = ["llr"], llr_by_hand(model, text, own)
    else:
        columns = [f"{x}_logit_diff" for x in model.targets.names]
        by_hand = scores_by_hand(model, text, own)
    return Scored(columns, own, table[columns].to_numpy(float)[kept], by_hand)


def report(name: str, scored: Scored) -> tuple[list[str], list[str]]:
    """Rows of the table, and lines that compare seqmodel's windows with those by hand."""
    rows, lines = [], []
    far = abs(scored.scores - scored.by_hand).max(axis=1)
    is_snv = np.array([v.is_snv for v in scored.variants])
    for kind, chosen in (("SNVs", is_snv), ("deletions", ~is_snv)):
        if chosen.any():
            lines.append(f"{name}: {chosen.sum()} {kind}, by hand within {far[chosen].max():.1e}")
    for column, values in zip(scored.columns, scored.scores.T.tolist(), strict=True):
        pairs = list(zip(scored.variants, values, strict=True))
        many = [x for x in pairs if x[0].is_snv and x[0].n_barcodes >= MIN_BARCODES]
        rows.append(correlations(f"{name}, {column}", "all that are scored", pairs))
        rows.append(correlations(f"{name}, {column}", f"SNVs, {MIN_BARCODES} barcodes", many))
    return rows, lines


def score(data: Path, out: Path) -> None:
    """Writes the table of both models."""
    import seqmodel

    rows, lines = [HEADER], [""]
    for name in SHARE:
        model = seqmodel.load(out / name / "checkpoints" / "best.ckpt", device="cpu")
        scored = scored_by(model, genome_file(data, out), data / FOLDER / VCF, out / "cache")
        for all_, own in zip((rows, lines), report(name, scored), strict=True):
            all_ += own
    text = "\n".join([*rows, *lines]) + "\n"
    (out / "hnf4a.md").write_text(text)
    print(text)


def main() -> None:
    """Trains, or scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("train", "score"))
    parser.add_argument("--data", type=Path, help=f"folder with {FOLDER}/")
    parser.add_argument("--out", type=Path, default=Path("out/tables"), help="where runs are kept")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=15.0, help="of both models together")
    parser.add_argument("--models", nargs="*", choices=tuple(SHARE), default=list(SHARE))
    args = parser.parse_args()
    data, out = find_data(args.data), args.out.absolute() / "hnf4a"
    if args.step == "score":
        score(data, out)
        return
    for name in args.models:
        train(name, data, out, args.device, args.minutes)


if __name__ == "__main__":
    main()
