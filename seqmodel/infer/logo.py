"""Sequence logos of contributions as SVG, and one HTML page for several sequences.

Neither loads anything or has a script. A symbol with a positive contribution is drawn above the
line, a symbol with a negative one below it and upside down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from seqmodel.errors import RunError
from seqmodel.files import write_file
from seqmodel.webpage import web_page

_COLORS = {"A": "#2a8a3f", "C": "#2c63b0", "G": "#c98400", "T": "#c8323c", "U": "#c8323c"}
_OTHER = "#6b6f76"
# paths in a box of width 1 and height 1, from its upper left corner
_SHAPES = {
    "A": "M0 1L.38 0H.62L1 1H.79L.71 .76H.29L.21 1ZM.345 .59H.655L.5 .14Z",
    "C": "M1 .32C.95 .1 .77 0 .52 0C.2 0 0 .2 0 .5C0 .8 .2 1 .52 1C.77 1 .95 .9 1 .68L.8 .63C.76 "
    ".77 .66 .83 .52 .83C.32 .83 .2 .71 .2 .5C.2 .29 .32 .17 .52 .17C.66 .17 .76 .23 .8 .37Z",
    "G": "M1 .3C.93 .1 .77 0 .53 0C.2 0 0 .2 0 .5C0 .8 .2 1 .53 1C.75 1 .9 .93 1 .83V.46H.55V.62H.8"
    "V.74C.74 .8 .65 .83 .54 .83C.33 .83 .2 .71 .2 .5C.2 .29 .33 .17 .53 .17C.67 .17 .76 .23 .8 "
    ".36Z",
    "T": "M0 0H1V.17H.6V1H.4V.17H0Z",
    "U": "M0 0H.2V.62C.2 .76 .33 .83 .5 .83C.67 .83 .8 .76 .8 .62V0H1V.63C1 .87 .8 1 .5 1C.2 1 0 "
    ".87 0 .63Z",
}
_STEP, _HEIGHT, _LEFT, _CELL = 12, 130, 52, 12
_STYLE = "font-family:system-ui,sans-serif;font-size:11px;fill:currentColor;background:transparent"
_PAGE_STYLE = """body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px;
  margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p { margin: .3rem 0; }
svg { display: block; height: auto; }
.track svg { width: 100%; }
.wide { overflow-x: auto; }
.wide svg { min-width: 860px; width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { text-align: left; padding: .1rem .9rem .1rem 0; }
td.number { text-align: right; }
.note { opacity: .75; font-size: .9rem; }"""


class Logo:
    """An SVG drawing, which notebooks display."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Logo({len(self.svg):,} characters of SVG; save it with .save('logo.svg'))"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the drawing as an SVG file.

        Raises:
            RunError: the file cannot be written.
        """
        write_file(os.fspath(path), f'<?xml version="1.0" encoding="UTF-8"?>\n{self.svg}', RunError)


class Window(NamedTuple):
    """What the page shows of one sequence.

    Attributes:
        name: name of the sequence.
        target: the target that is explained.
        score: the model's score of the sequence for the target.
        one_hot: the sequence without padding, [A, L].
        contributions: contribution of each base of the sequence, [L].
        effects: change of the score if another base replaces the one in the sequence, [A, L].
        where: the name of a substitution from its position, reference and alternative; on contigs,
            as in a VCF file, those of the + strand.
    """

    name: str
    target: str
    score: float
    one_hot: np.ndarray
    contributions: np.ndarray
    effects: np.ndarray
    where: Callable[[int, str, str], str]


def logo(
    values: np.ndarray, letters: Sequence[str], start: int, end: int, effects: Any = None
) -> Logo:
    """A logo whose symbols are as high as their contributions, of the positions [start, end).

    Args:
        values: contributions, [A, L]; 0 for the bases that are not in the sequence.
        letters: symbols of the alphabet, [A].
        start: the first position that is drawn.
        end: the position after the last one that is drawn.
        effects: effects of substitutions, [A, L], which are drawn below the logo as squares.
    """
    part = values[:, start:end]
    n = part.shape[1]
    low, high = min(float(part.min(initial=0.0)), 0.0), max(float(part.max(initial=0.0)), 0.0)
    scale = _HEIGHT / (high - low or 1.0)
    zero = 8 + high * scale
    drawn = [_axis(low, high, zero, scale, n)]
    for i in range(n):
        x = _LEFT + i * _STEP
        there = np.flatnonzero(part[:, i]).tolist()
        drawn += [_letter(letters[a], x, zero, float(part[a, i]) * scale) for a in there]
    height = 8 + _HEIGHT + 6
    if effects is not None:
        drawn.append(_squares(effects[:, start:end], letters, height))
        height += _CELL * len(letters) + 4
    drawn.append(_positions(start, n, height))
    width = _LEFT + n * _STEP + 8
    return Logo(_svg(width, height + 18, "contributions of the bases", "".join(drawn)))


def track(contributions: np.ndarray, shown: tuple[int, int]) -> str:
    """The contributions of all positions as bars, with the positions of the logo marked."""
    width, height, n = 1000.0, 90.0, max(len(contributions), 1)
    largest = float(np.abs(contributions).max(initial=0.0)) or 1.0
    low, high = min(float(contributions.min(initial=0.0)), 0.0), 0.0
    high = max(float(contributions.max(initial=0.0)), 0.0)
    zero = 4 + (height - 8) * high / ((high - low) or largest)
    scale = (height - 8) / ((high - low) or largest)
    step = width / n
    x = [f"{(i + 0.5) * step:.2f}" for i in range(n)]
    bars = "".join(
        f"M{x[i]} {zero:.1f}v{-y * scale:.2f}" for i, y in enumerate(contributions.tolist()) if y
    )
    start, end = shown
    inner = (
        f'<rect x="{start * step:.1f}" y="0" width="{(end - start) * step:.1f}" height="{height}" '
        'fill="currentColor" opacity=".1"/>'
        f'<path d="M0 {zero:.1f}H{width}" stroke="currentColor" stroke-width=".5"/>'
        f'<path d="{bars}" stroke="#2c63b0" stroke-width="{max(step * 0.8, 0.6):.2f}" fill="none"/>'
    )
    return _svg(int(width), int(height), "contributions along the sequence", inner)


def page(
    windows: Sequence[Window], letters: Sequence[str], stretches: Sequence[tuple[int, int]],
    title: str, note: str,
) -> str:  # fmt: skip
    """One HTML page with track, logo and the strongest substitutions of each sequence."""
    sections = [_section(x, letters, y) for x, y in zip(windows, stretches, strict=True)]
    shown = "\n".join(sections) or "<p>There is no sequence to show.</p>"
    head = f'<h1>{escape(title)}</h1>\n<p class="note">{escape(note)}</p>'
    return web_page(title, _PAGE_STYLE, f"{head}\n{shown}")


def drawing(window: Window, letters: Sequence[str], stretch: tuple[int, int]) -> Logo:
    """The logo of a stretch of positions with the effects of all substitutions below it."""
    return logo(window.one_hot * window.contributions, letters, *stretch, window.effects)


def _section(window: Window, letters: Sequence[str], stretch: tuple[int, int]) -> str:
    start, end = stretch
    rows = "".join(
        f'<tr><td>{escape(label)}</td><td class="number">{i}</td>'
        f'<td class="number">{effect:+#.3g}</td></tr>'
        for label, i, effect in strongest(window, letters)
    )
    target, length = escape(window.target), len(window.contributions)
    return (
        f"<section><h2>{escape(window.name)}</h2>"
        f'<p class="note">score of {target} {window.score:#.3g}; {length:,} positions; '
        f"logo and squares show positions {start} to {end - 1}</p>"
        f'<div class="track">{track(window.contributions, stretch)}</div>'
        f'<div class="wide">{drawing(window, letters, stretch).svg}</div>'
        "<table><thead><tr><th>strongest substitutions</th><th>position</th><th>effect</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def strongest(
    window: Window, letters: Sequence[str], n: int = 5
) -> list[tuple[str, int, float]]:  # fmt: skip
    """The substitutions with the largest effects: name, position and effect."""
    flat = np.abs(window.effects).ravel()
    found = []
    for at in np.argsort(-flat, kind="stable")[:n]:
        a, i = np.unravel_index(at, window.effects.shape)
        effect = float(window.effects[a, i])
        if effect:
            ref = letters[int(window.one_hot[:, i].argmax())]
            found.append((window.where(int(i), ref, letters[a]), int(i), effect))
    return found


def _letter(letter: str, x: float, zero: float, height: float) -> str:
    """A symbol above the line, or upside down below it."""
    if abs(height) < 0.05:
        return ""
    color = _COLORS.get(letter, _OTHER)
    width = _STEP - 1
    top = (
        zero - height
    )  # for a letter below the line the lower edge, as its negative scale flips it
    move = f'transform="translate({x:.1f} {top:.2f}) scale({width} {height:.3f})"'
    if letter in _SHAPES:
        return f'<path fill="{color}" fill-rule="evenodd" {move} d="{_SHAPES[letter]}"/>'
    return (
        f'<text {move} x=".5" y="1" font-size="1.37" font-family="monospace" font-weight="bold" '
        f'text-anchor="middle" textLength="1" lengthAdjust="spacingAndGlyphs" fill="{color}">'
        f"{escape(letter)}</text>"
    )


def _squares(effects: np.ndarray, letters: Sequence[str], top: int) -> str:
    """A row for each letter: red where a substitution raises the score, blue where it lowers it."""
    largest = float(np.abs(effects).max(initial=0.0)) or 1.0
    found = []
    for a, letter in enumerate(letters):
        y = top + a * _CELL
        found.append(
            f'<text x="{_LEFT - 8}" y="{y + 10}" text-anchor="end">{escape(letter)}</text>'
        )
        for i, effect in enumerate(effects[a].tolist()):
            share = abs(effect) / largest
            if share >= 0.01:
                color = "#c8323c" if effect > 0 else "#2c63b0"
                found.append(
                    f'<rect x="{_LEFT + i * _STEP}" y="{y}" width="{_STEP - 1}" '
                    f'height="{_CELL - 1}" fill="{color}" opacity="{share:.2f}"/>'
                )
    return "".join(found)


def _axis(low: float, high: float, zero: float, scale: float, n: int) -> str:
    right = _LEFT + n * _STEP
    ticks = dict.fromkeys([high, 0.0, low])
    if any(0 < abs(x) * scale < 12 for x in ticks):
        ticks = {x: None for x in ticks if x == 0 or abs(x) * scale >= 12}
    texts = "".join(
        f'<text x="{_LEFT - 8}" y="{zero - x * scale + 4:.1f}" text-anchor="end">{x:.3g}</text>'
        for x in ticks
    )
    return f'<path d="M{_LEFT} {zero:.1f}H{right}" stroke="currentColor" stroke-width=".7"/>{texts}'


def _positions(start: int, n: int, top: int) -> str:
    first = -start % 10
    return "".join(
        f'<text x="{_LEFT + (i + 0.5) * _STEP - 0.5:.1f}" y="{top + 11}" text-anchor="middle">'
        f"{start + i}</text>"
        for i in range(first, n, 10)
    )


def _svg(width: int, height: int, label: str, inner: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" style="{_STYLE}"><title>{escape(label)}</title>{inner}</svg>'
    )
