"""Curves as a drawing: SVG, written by hand, so that a plot needs no package and opens anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 170, 30, 40
_STEPS = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """Points, joined from left to right, and how they are called and coloured."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str


def drawing(charts: Sequence[tuple[str, Sequence[Curve]]], below: str) -> str:
    """Return an SVG document of `charts`, a title and curves each, one below the other; `below` is what the x axis shows."""
    height = _HEIGHT * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, curves) in enumerate(charts):
        parts += [f'<g transform="translate(0 {_HEIGHT * number})">', *_chart(title, curves, below), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def ticks(highest: float) -> list[float]:
    """Return round numbers from 0 to `highest` or a little more, in at most `_STEPS` steps.

    >>> ticks(256.0)
    [0.0, 100.0, 200.0, 300.0]
    """
    rough = max(highest, 1e-9) / _STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _chart(title: str, curves: Sequence[Curve], below: str) -> list[str]:
    across = max(max(curve.x, default=0.0) for curve in curves) or 1.0
    marks = ticks(max(max(curve.y, default=0.0) for curve in curves) or 1.0)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> str:
        return f"{_LEFT + wide * x / across:.1f},{_TOP + high * (1 - y / marks[-1]):.1f}"

    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for mark in marks:
        x, y = at(0, mark).split(",")
        parts += [
            f'<line x1="{x}" y1="{y}" x2="{_LEFT + wide}" y2="{y}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{mark:g}</text>',
        ]
    for mark in ticks(across):
        if mark <= across:
            x = at(mark, 0).split(",")[0]
            parts.append(f'<text x="{x}" y="{_TOP + high + 16}" text-anchor="middle">{mark:g}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2:.0f}" y="{_TOP + high + 32}" text-anchor="middle">{escape(below)}</text>')
    for place, curve in enumerate(curves):
        points = " ".join(at(x, y) for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline fill="none" stroke="{curve.colour}" stroke-width="1.5" points="{points}"/>')
        line = _TOP + 14 + 18 * place
        parts += [
            f'<rect x="{_LEFT + wide + 12}" y="{line - 6}" width="20" height="3" fill="{curve.colour}"/>',
            f'<text x="{_LEFT + wide + 38}" y="{line}">{escape(curve.name)}</text>',
        ]
    return parts
