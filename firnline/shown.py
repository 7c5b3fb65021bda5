"""The first rows of an answer as people read them: a table in text, and one in HTML for notebooks. Pure."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

FEW = 10
"""Rows that are shown at most."""

_LONGEST = 60


def as_text(title: str, rows: Sequence[Any]) -> str:
    """Return a title, and a table of the first rows; `…` if there are more.

    >>> print(as_text("two rows", [{"r": 10, "name": "a"}, {"r": 5, "name": "b"}]))
    two rows
     r  name
    10     a
     5     b
    """
    names, cells = _table(rows)
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    shown = [names, *cells] if any(names) else cells  # rows that are no mappings have no names
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join([title, *(lines if rows else ["no rows"]), *(["…"] if len(rows) > FEW else [])])


def as_html(title: str, rows: Sequence[Any]) -> str:
    """Return the same as HTML, with all text escaped."""
    names, cells = _table(rows)
    titles = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    head = f"<thead><tr>{titles}</tr></thead>" if any(names) else ""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    table = f"<table>{head}<tbody>{body}</tbody></table>" if rows else "<p>no rows</p>"
    return f"<div><p>{html.escape(title)}</p>{table}{'<p>…</p>' if len(rows) > FEW else ''}</div>"


def _table(rows: Sequence[Any]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, and the cells of the first rows. A row that is no mapping is one cell."""
    mappings: list[Mapping[str, Any]] = [row if isinstance(row, Mapping) else {"": row} for row in rows[:FEW]]
    names = list(dict.fromkeys(name for row in mappings for name in row))
    return [_cell(name) for name in names], [[_cell(row.get(name)) for name in names] for row in mappings]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
