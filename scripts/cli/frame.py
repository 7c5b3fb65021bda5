"""One frame of `firnline top`: a snapshot of a service as lines for a terminal of any size.

Pure. Colours only repeat what characters and words show.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from scripts.cli.printing import figure, moment, of_shard, size

_LEVELS = "▁▂▃▄▅▆▇█"
_SPILLED, _GONE = "░", "·"
_STYLES = {"live": "green", "aged": "blue", "spilled": "magenta", "gone": "dim"}
_LEGEND = f"  {_LEVELS[-1]} live or aged, by bytes  {_SPILLED} on the disk  {_GONE} gone"


def frame(snapshot: Mapping[str, Any], url: str, trouble: str | None, width: int, height: int) -> list[Text]:
    """Return at most `height` lines of at most `width` cells. Without room for all, problems are the last to be left out."""
    streams = [each for each in snapshot["streams"] if "records" in each]
    problems = _problems(snapshot, trouble)
    lines = [_header(snapshot, url, trouble, width), _memory(streams, width)]
    # At least two lines are for problems.
    room = height - len(lines) - min(2, len(problems))
    table, generations = _table(streams, snapshot["rates"], width), _generations(streams, snapshot["memory"], width)
    for part in (table, _shards(streams), generations):
        if room >= 3:
            shown = part if len(part) <= room else [*part[: room - 1], Text(f"  … {len(part) - room + 1} more", "dim")]
            lines += shown
            room -= len(shown)
    actors = _actors(snapshot.get("actors", []))
    wanted = max(0, len(problems) - 2)
    if room - wanted >= 3:
        lines += actors[: room - wanted]
    lines += problems[: height - len(lines)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _header(snapshot: Mapping[str, Any], url: str, trouble: str | None, width: int) -> Text:
    """Return the line with the address, the time since the start, and the state of the connection."""
    at = datetime.fromtimestamp(snapshot["at"], UTC).astimezone()
    up = str(timedelta(seconds=round(snapshot["at"] - snapshot.get("began", snapshot["at"]))))
    left = Text.assemble(("firnline ", "bold"), url, f"  {at:%H:%M:%S}  up {up}")
    right = Text("reconnecting", "bold red") if trouble else Text("q quits", "dim")
    gap = max(1, width - cell_len(left.plain) - cell_len(right.plain))
    return Text.assemble(left, " " * gap, right)


def _memory(streams: Sequence[Mapping[str, Any]], width: int) -> Text:
    """Return the line with the accounted memory as a bar of the budget, and the resident memory."""
    budget = sum(each["memory"]["budget"] for each in streams)
    accounted = sum(each["memory"]["accounted"] for each in streams)
    rss = max((each["memory"]["rss"] for each in streams), default=0)
    pulls = sum(each["memory"]["emergencies"] for each in streams)
    label = f" {size(accounted)} of {size(budget)}, RSS {size(rss)}" + (f", {pulls} emergencies" if pulls else "")
    cells = max(4, width - 7 - cell_len(label))
    full = min(cells, round(cells * accounted / budget)) if budget else 0
    style = "red" if budget and accounted > budget else "green"
    return Text.assemble("memory ", ("█" * full, style), ("░" * (cells - full), "dim"), label)


_COLUMNS = ("stream", "view", "in/s", "out/s", "held", "gens", "memory", "lag", "credits", "ckpt", "state")


def _table(streams: Sequence[Mapping[str, Any]], rates: Mapping[str, Mapping[str, float]], width: int) -> list[Text]:
    """Return the table of streams: input, answers, memory and state."""
    rows = [_row(each, rates.get(each["name"], {})) for each in streams]
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS) - 1)]
    lines = [Text(_laid(_COLUMNS, widths), "bold reverse")]
    lines[0].pad_right(max(0, width - len(lines[0].plain)))
    return [*lines, *(Text(_laid(row, widths)) for row in rows), Text("")]


def _row(each: Mapping[str, Any], rates: Mapping[str, float]) -> tuple[str, ...]:
    held, memory, checkpoint = each["held"], each["memory"], each["checkpoint"]
    share = f"{memory['accounted'] / memory['budget']:.0%}" if memory["budget"] else ""
    return (
        each["name"],
        each["view"],
        figure(rates.get("records")),
        figure(rates.get("answers")),
        figure(held["answers"]),
        str(held["generations"]) + (f"+{held['spilled']}d" if held["spilled"] else ""),
        share,
        figure(each["lagTotal"]),
        f"{figure(max(0, each['credits'] - each['inFlight']))}/{figure(each['credits'])}",
        _ago(checkpoint),
        each["state"],
    )


def _ago(checkpoint: Mapping[str, Any] | None) -> str:
    if checkpoint is None:
        return "off"
    return "none" if checkpoint["at"] is None else f"{max(0, time.time() - checkpoint['at']):.0f}s"


def _laid(row: Sequence[str], widths: Sequence[int]) -> str:
    """Align a row: two names to the left, figures to the right, then the state."""
    cells = [
        text.ljust(wide) if column < 2 else text.rjust(wide)
        for column, (text, wide) in enumerate(zip(row, widths, strict=False))
    ]
    return " ".join((*cells, row[-1]))


def _shards(streams: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Return a line for each shard of a cluster: its state, its process, what is not read yet, its memory, its problems."""
    rows = [(each["name"], shard) for each in streams for shard in each.get("shards", ())]
    if not rows:
        return []
    wide = max(len(name) for name, _ in rows)
    lines = [Text("shards", "bold")]
    for name, each in rows:
        where, lag, held = of_shard(each)
        style = {"nowhere": "red", "catching up": "yellow"}.get(each["state"], "")
        state = (each["state"].ljust(11), style)
        lines.append(Text.assemble(f"{name.ljust(wide)} {each['shard']:>3} ", state, f" {where:<21} lag {lag:>7} {held:>10}"))
        lines += [Text(f"  {problem}", "yellow") for problem in each.get("problems", ())]
    return [*lines, Text("")]


def _generations(streams: Sequence[Mapping[str, Any]], memory: Mapping[str, Any], width: int) -> list[Text]:
    """Return a picture of each stream's generations over event time."""
    if not streams:
        return []
    wide = max(len(each["name"]) for each in streams)
    lines = [Text.assemble(("generations over event time", "bold"), (_LEGEND, "dim"))]
    for each in streams:
        known = memory.get(each["name"], {"bars": [], "gone": []})
        bars = [*known["bars"], each["active"]]
        start, end, picture = drawn(bars, known["gone"], max(8, width - wide - 37))
        low, high = (moment(start, each["unit"]), moment(end, each["unit"])) if picture else ("", "")
        lines.append(Text.assemble(each["name"].ljust(wide), " ", low.rjust(17), " ", picture, " ", high))
    return [*lines, Text("")]


def drawn(bars: Sequence[Sequence[Any]], gone: Sequence[Sequence[Any]], cells: int) -> tuple[int, int, Text]:
    """Return the start and end of the generations in event time, and a picture that shows the largest one in each cell.

    Dropped generations take at most half of the picture.
    """
    held = [bar for bar in bars if bar[2] is not None and bar[3] > bar[2]]
    if not held:
        return 0, 0, Text("")
    low, end = min(bar[2] for bar in held), max(bar[3] for bar in held)
    start = max(min([low, *(each[1] for each in gone)]), low - (end - low))
    most = max(bar[6] + bar[7] for bar in held) or 1
    found: list[tuple[int, str, str]] = [(-1, " ", "")] * cells
    for each in gone:
        _put(found, each[1] - start, each[2] - start, end - start, (0, _GONE, "gone"))
    for _, state, first, last, _, _, memory, disk, *_ in held:
        sign = _SPILLED if state == "spilled" else _LEVELS[min(7, 8 * (memory + disk) // (most + 1))]
        _put(found, first - start, last - start, end - start, (memory + disk + 1, sign, state))
    picture = Text()
    for _, sign, state in found:
        picture.append(sign, _STYLES.get(state, ""))
    return start, end, picture


def _put(found: list[tuple[int, str, str]], low: int, high: int, all_of_it: int, cell: tuple[int, str, str]) -> None:
    first = max(0, low * len(found) // all_of_it)
    for place in range(first, max(first + 1, min(len(found), -(-high * len(found) // all_of_it)))):
        if 0 <= place < len(found) and cell[0] > found[place][0]:
            found[place] = cell


def _actors(actors: Sequence[Mapping[str, Any]]) -> list[Text]:
    """List the actors by how full their mailboxes are; the first one is the bottleneck."""
    if not actors:
        return []
    lines = [Text("actors, the fullest mailboxes first", "bold")]
    for each in sorted(actors, key=lambda each: (-_fill(each), -each["control"], each["stream"], each["actor"])):
        name = " ".join(filter(None, (each["stream"], each["actor"], each["state"])))
        name += f" x{each['count']}" if each["count"] > 1 else ""
        cells = 10
        full = min(cells, round(_fill(each) * cells))
        label = f" {each['data']:>6,} of {each['data_capacity']:,} data, {each['control']:,} control"
        held = Text("  waits for recovery", "red") if each["held"] else Text("")
        bar = ("█" * full, "yellow"), ("░" * (cells - full), "dim")
        lines.append(Text.assemble(name[:32].ljust(33), *bar, label, held))
    return lines


def _fill(actor: Mapping[str, Any]) -> float:
    return float(actor["data"] / actor["data_capacity"]) if actor["data_capacity"] else 0.0


def _problems(snapshot: Mapping[str, Any], trouble: str | None) -> list[Text]:
    """Return the problems, the worst first, or one line if there is no problem."""
    found = [("bold red", f"no connection: {trouble}")] if trouble else []
    found += [("bold red", f"{stream} was given up: {reason}") for stream, reason in snapshot.get("degraded", {}).items()]
    for each in snapshot["streams"]:
        name, checkpoint = each["name"], each.get("checkpoint") or {}
        if each.get("silent"):
            found.append(("red", f"{name} does not answer: {each['silent']}"))
        if trouble_of_source := each.get("trouble"):
            found.append(("bold red", f"{name}: {_in_words(trouble_of_source, snapshot['at'])}"))
        if checkpoint.get("problem"):
            found.append(("red", f"{name}: no checkpoint is written: {checkpoint['problem']}"))
        if checkpoint.get("unread"):
            found.append(("yellow", f"{name}: not read at the start: {'; '.join(checkpoint['unread'])}"))
        if each.get("dropped"):
            found.append(("yellow", f"{name}: dropped {_counts(each['dropped'])}"))
        if each.get("rejects"):
            found.append(("yellow", f"{name}: refused {_counts(each['rejects'])}"))
        if each.get("late"):
            found.append(("yellow", f"{name}: late {each['late']:,}"))
        if each.get("apart"):
            found.append(("yellow", f"{name}: {each['apart']:,} events ahead of the clock are kept apart"))
    found += [("yellow", f"{stream}: {count} restarts") for stream, count in snapshot.get("restarts", {}).items() if count]
    letters = snapshot.get("deadLetters", {"count": 0})
    if letters["count"]:
        newest = letters["newest"][0] if letters["newest"] else None
        of = f", the newest to {newest['actor']} of {newest['stream']}: {newest['reason']}" if newest else ""
        found.append(("yellow", f"{letters['count']} dead letters{of}"))
    return [Text(text, style) for style, text in found] or [Text("no problems", "green")]


def _in_words(trouble: Mapping[str, Any], at: float) -> str:
    """Describe why a stream's records cannot be read."""
    return f"{trouble['state']} for {max(0, at - trouble['since']):.0f} s: {'; '.join(trouble['reasons'])}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
