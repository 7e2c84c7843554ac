"""What a folder holds besides its runs: predictions, logos of contributions, tracks.

Everything is bounded, as a page has to be: few files, few items of each. A file that cannot be read
gives a `problem`, one line, and never an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqmodel.errors import JobError, SeqmodelError
from seqmodel.files import read_text
from seqmodel.job.results.result import Result
from seqmodel.record.run_files import parse_object, read_regular

if TYPE_CHECKING:
    import numpy as np

    from seqmodel.trust.predictions import Predictions

MAX_FILES = 6  # of a kind
MAX_DEPTH = 6
MAX_ENTRIES = 20_000  # of folders that are searched
MAX_BYTES = 64 * 2**20  # of a file of predictions
MAX_SVG = 400_000  # bytes
N_LOGOS = 3  # of one call of `seqmodel attribute`
N_WORST = 12
N_BINS = 20
MAX_SCATTER = 1000
MAX_POSITIONS = 20_000_000  # of a track that are read
CHUNK = 1_000_000
N_POINTS = 500
NEAR = 500  # positions on either side of the largest value of a track
_SKIPPED = ("checkpoints", "lightning_logs", "mlruns", "wandb", "tensorboard", "__pycache__")
_BROKEN = (SeqmodelError, OSError, ValueError, TypeError, KeyError, IndexError, ImportError)


def predictions(result: Result) -> dict[str, Any] | None:
    """What a run predicted for its test split: a histogram or scatter, and the worst predictions.

    Args:
        result: a run on this host.
    """
    names = ("test_predictions.tsv", "test_predictions.npz")
    path = next((x for x in (f"{result.folder}/{n}" for n in names) if os.path.isfile(x)), None)
    if path is None:
        return None
    file = os.path.basename(path)
    try:
        if os.path.getsize(path) > MAX_BYTES:
            return {"file": file, "problem": f"{file} is too large for a page ({_size(path)})."}
        from seqmodel.trust.predictions import read_predictions

        return {"file": file, **_summary(read_predictions(path))}
    except _BROKEN as e:
        return {"file": file, "problem": f"{file} cannot be read: {_one_line(e)}"}


def _summary(found: Predictions) -> dict[str, Any]:
    import numpy as np

    if found.kind == "real":
        error = (found.outputs - found.truth) / (np.nanstd(found.truth, axis=0) + 1e-12)
        worst = _largest(np.nan_to_num(np.abs(error)))
        columns = ["item", "target", "measured", "predicted"]
        rows = [
            [_place(found, i), found.targets[t], found.truth[i, t], found.outputs[i, t]]
            for i, t in worst
        ]
        return _table(found, columns, rows) | {"scatter": _scatter(found)}
    one_of = found.kind == "class"
    truth = np.eye(len(found.targets))[found.truth] if one_of else found.truth
    p_true = np.where(truth > 0.5, found.outputs, 1 - found.outputs)
    if one_of:  # one probability an item: that of its class
        p_true = found.outputs[np.arange(len(found)), found.truth][:, None]
        wrong = (found.outputs.argmax(1) != found.truth)[:, None]
    else:
        wrong = p_true < 0.5
    wrong, known = wrong & np.isfinite(p_true), np.isfinite(p_true)
    edges = np.linspace(0, 1, N_BINS + 1)
    right = np.histogram(p_true[known & ~wrong], edges)[0].tolist()
    histogram = {"edges": edges.tolist(), "right": right}
    histogram["wrong"] = np.histogram(p_true[wrong], edges)[0].tolist()
    worst = _largest(np.where(wrong, 1.5 - p_true, 0.0))
    if one_of:
        columns = ["item", "true", "predicted", "probability of the true class"]
        rows = [
            [_place(found, i), found.targets[found.truth[i]],
             found.targets[int(found.outputs[i].argmax())], p_true[i, 0]] for i, _ in worst
        ]  # fmt: skip
    else:
        columns = ["item", "label", "true", "probability of the label"]
        rows = [
            [_place(found, i), found.targets[t], int(truth[i, t]), found.outputs[i, t]]
            for i, t in worst
        ]
    return _table(found, columns, rows) | {"histogram": histogram, "scatter": {}}


def _largest(values: np.ndarray) -> list[tuple[int, int]]:
    """Indices of the largest positive values of [N, T], the largest first."""
    import numpy as np

    order = np.argsort(-values, axis=None, kind="stable")[:N_WORST]
    found = [divmod(int(k), values.shape[1]) for k in order]
    return [(i, t) for i, t in found if values[i, t] > 0]


def _table(found: Predictions, columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {
        "n": len(found),
        "columns": columns,
        "worst": [[_plain(value) for value in row] for row in rows],
    }


def _plain(value: Any) -> Any:
    """A value for JSON; infinite ones become text."""
    if not hasattr(value, "dtype"):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)


def _scatter(found: Predictions) -> dict[str, Any]:
    import numpy as np

    kept = np.unique(np.linspace(0, len(found) - 1, MAX_SCATTER).round().astype(int))
    shown = {}
    for t, name in enumerate(found.targets[:4]):
        y, p = found.truth[kept, t], found.outputs[kept, t]
        known = np.isfinite(y) & np.isfinite(p)
        pair = {"target": y[known], "predicted": p[known]}
        shown[name] = {k: [float(f"{v:.5g}") for v in values] for k, values in pair.items()}
    return shown


def _place(found: Predictions, i: int) -> str:
    if found.contigs is None or found.starts is None:
        return f"row {found.row[i]}"
    return f"{found.contigs[i]}:{found.starts[i] + 1}"


def logos(root: str) -> list[dict[str, Any]]:
    """The outputs of `seqmodel attribute` below a folder, with the logos that --plot drew."""
    suffix = ".attribute.json"
    paths = [path for path in _files(root) if path.endswith(suffix)][:MAX_FILES]
    return [_logos(root, path.removesuffix(suffix), path) for path in paths]


def _logos(root: str, prefix: str, path: str) -> dict[str, Any]:
    name = os.path.relpath(prefix, root)
    try:
        about = parse_object(read_regular(path) or b"", os.path.basename(path))
        targets = [str(x) for x in about["targets"]]
        rows = [x.split("\t") for x in read_text(f"{prefix}.bed", JobError).splitlines()[:N_LOGOS]]
        drawn = [
            {"label": _of_sequence(row, target, row[6 + t]), "svg": svg}
            for i, row in enumerate(rows)
            for t, target in enumerate(targets[:N_LOGOS])
            if (svg := _svg(prefix, targets, target, i))
        ]
        found = {"method": str(about["method"]), "targets": targets, "n": int(about["n_sequences"])}
        return {"name": name, **found, "sequences": drawn}
    except _BROKEN as e:
        problem = f"cannot be read: {_one_line(e)}"
        return {"name": name, "problem": problem, "targets": [], "sequences": []}


def _svg(prefix: str, targets: list[str], target: str, i: int) -> str | None:
    from urllib.parse import quote

    middle = "" if len(targets) == 1 else f".{quote(target, safe=' +()=,')}"
    path = f"{prefix}{middle}.{i}.svg"
    if not os.path.isfile(path) or os.path.getsize(path) > MAX_SVG:
        return None
    return read_text(path, JobError)


def _of_sequence(row: list[str], target: str, score: str) -> str:
    own = "" if row[3] in (".", row[0]) else f" {row[3]}"
    return f"{row[0]}:{int(row[1]) + 1}-{row[2]} ({row[5]}){own}, {target}: score {score}"


def tracks(root: str) -> list[dict[str, Any]]:
    """The bigWig files below a folder: a whole contig, and the region around the largest value."""
    paths = [path for path in _files(root) if path.endswith(".bw")][:MAX_FILES]
    return [_track(os.path.relpath(path, root), path) for path in paths]


def _track(name: str, path: str) -> dict[str, Any]:
    try:
        from seqmodel.dataset.label.bigwig import BigWig, contigs_in

        contigs = contigs_in(path)
        file = BigWig(path, contigs)
        try:
            return {"name": name, "windows": _windows(file, contigs)}
        finally:
            file.close()
    except _BROKEN as e:
        return {"name": name, "problem": f"cannot be read: {_one_line(e)}"}


def _windows(file: Any, contigs: Any) -> list[dict[str, Any]]:
    """Two windows of the first contig with a value: all of it, and the largest value."""
    import numpy as np

    for number, name in enumerate(contigs.names):
        size = min(int(contigs.lengths[number]), MAX_POSITIONS)
        step = -(-size // N_POINTS)
        chunk = step * max(1, CHUNK // step)
        means, peak, at = [], -1.0, 0
        for start in range(0, size, chunk):
            values = file.values(number, start, min(start + chunk, size))
            highest = int(np.abs(values).argmax())
            if abs(values[highest]) > peak:
                peak, at = float(abs(values[highest])), start + highest
            means += [values[i : i + step].mean() for i in range(0, len(values), step)]
        if peak > 0:
            start, end = max(0, at - NEAR), min(at + NEAR, size)
            near = file.values(number, start, end)
            whole = {"contig": name, "start": 0, "end": size, "step": step, "values": _short(means)}
            return [
                whole,
                {"contig": name, "start": start, "end": end, "step": 1, "values": _short(near)},
            ]
    return []


def _short(values: Any) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _files(root: str) -> Iterator[str]:
    """The paths of files below a folder, in order; links to folders are not followed."""
    left = MAX_ENTRIES
    for folder, inner, names in os.walk(root):
        depth = os.path.relpath(folder, root).count(os.sep)
        inner[:] = sorted(
            n for n in inner
            if depth < MAX_DEPTH and n not in _SKIPPED and not n.startswith(".")
            and not n.endswith(".parts")
        )  # fmt: skip
        left -= len(names) + len(inner)
        if left < 0:
            return
        yield from (os.path.join(folder, name) for name in sorted(names))


def _size(path: str) -> str:
    return f"{os.path.getsize(path) / 2**20:.0f} MB"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
