"""Curves over time, as a page that needs no internet. Drawn by plotly, a package of the `dev` extra."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of a curve, from left to right, and its name in the legend."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def draw(path: Path, charts: Sequence[tuple[str, Sequence[Curve]]], below: str) -> None:
    """Write a page of `charts`, each a title and its curves, one below the other over one x axis named `below`."""
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415  # an extra of development, and slow to import
    from plotly.subplots import make_subplots  # noqa: PLC0415

    titles = tuple(title for title, _ in charts)
    figure: Figure = make_subplots(rows=len(charts), cols=1, shared_xaxes=True, subplot_titles=titles)
    for row, (_, curves) in enumerate(charts, 1):
        for curve in curves:
            figure.add_trace(Scatter(x=list(curve.x), y=list(curve.y), name=curve.name), row, 1)
    figure.update_xaxes(title_text=below, row=len(charts), col=1)
    figure.write_html(path, include_plotlyjs=True)
