"""`firnline config`: what the settings mean on this machine, what each of them is, and their schema for editors."""

import difflib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from config.explain import Entry, entries
from config.load import DEFAULT, SettingsError, load, read
from scripts.cli.frame import size

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check and explain the configuration.")

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="A setting over the file: streams.events.max_sets=1000. May be given again.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RATE = 10_000.0


@contextmanager
def told_plainly() -> Iterator[None]:
    """Make wrong settings an end with 1, and every problem a line."""
    try:
        yield
    except SettingsError as error:
        sys.exit(f"config: {error}")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The YAML file; without it, the one that comes with Firnline.")] = None,
    overrides: Overrides = None,
    only: Annotated[list[str] | None, typer.Option(help="This stream of the configuration alone; may be given again.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.001, help="Records a second of each stream, to say how long memory lasts.")
    ] = RATE,
    *,
    connect: Annotated[
        bool, typer.Option("--connect", help="Ask the broker too: whether it answers, and has the topics.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read a configuration as `serve` would, and say what it means on this machine.

    Ends with 0 where a service can run so, though something may be odd; with 1 where it cannot.
    """
    with told_plainly():
        settings = load(file, overrides or [], os.environ)
    # What the service loads weighs on the budget, so it is loaded here too; and it takes half a second.
    from scripts.service.check import check as check_settings  # noqa: PLC0415
    from scripts.service.serve import chosen  # noqa: PLC0415

    try:
        settings = chosen(settings, only or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    found = check_settings(settings, rate, os.environ, connect=connect)
    if as_json:
        _print_json({"file": str(file or DEFAULT), **asdict(found)})
    else:
        _tell(file or DEFAULT, found)
    if found.wrong:
        raise typer.Exit(1)


def _tell(file: Path, found: Any) -> None:
    """Print what was found, for people."""
    console = _console()
    budget = found.budget
    state = "cannot run here" if found.wrong else "is good"
    console.print(f"{file} {state}", style="bold red" if found.wrong else "bold green")
    console.print(f"this machine  {size(found.limit_bytes)} ({found.limit_origin}), {found.processors} processors")
    if budget is not None:
        left = budget.total - budget.baseline
        console.print(
            f"memory        {size(budget.total)} for all; {size(budget.baseline)} before any event and for replies, "
            f"{size(left)} for answers"
        )
        table = Table()
        for name in ("stream", "view", "has", "bytes each", "holds about", "which is", "of a stream with"):
            table.add_column(name, justify="right" if name in {"has", "bytes each"} else "left")
        for each in found.holds:
            until = f", bound by {each.bound_by}" if each.bound_by else ""
            held = f"{_rounded(each.count)} {each.what}"
            table.add_row(
                each.stream,
                each.view,
                size(each.room_bytes),
                f"{each.bytes_each:.2f}",
                held,
                lasting(each.seconds) + until,
                each.of,
            )
        console.print(table)
    for each in found.wrong:
        console.print(f"wrong  {each}", style="red")
    for each in found.odd:
        console.print(f"odd    {each}", style="yellow")


def lasting(seconds: float) -> str:
    """Return a length of time as people say it.

    >>> lasting(24_000), lasting(90), lasting(86_400 * 40)
    ('6.7 h', '1.5 min', '40 days')
    """
    for unit, factor, most in (("s", 1.0, 90), ("min", 60.0, 90), ("h", 3_600.0, 96), ("days", 86_400.0, 800)):
        if seconds < most * factor:
            return f"{seconds / factor:.2g} {unit}" if seconds < 10 * factor else f"{seconds / factor:,.0f} {unit}"
    return f"{seconds / 31_557_600:,.0f} years"


def _rounded(count: int) -> str:
    """Return a count to two figures, as it is no more exact than that."""
    for unit, factor in (("billion", 10**9), ("million", 10**6), ("thousand", 10**3)):
        if count >= factor:
            return f"{count / factor:.2g} {unit}" if count < 100 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count}"


@app.command()
def explain(
    key: Annotated[str | None, typer.Argument(help="A setting, such as memory.budget, or a section; without it, all.")] = None,
    file: Annotated[
        Path | None, typer.Option("--config", help="The YAML file; without it, the one that comes with Firnline.")
    ] = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what a setting is: description, type, default, value, where it was set, and when a change of it counts."""
    with told_plainly():
        known = entries(read(file, overrides or [], os.environ))
    chosen = known if key is None else [each for each in known if each.key == key or each.key.startswith(f"{key}.")]
    if not chosen:
        near = difflib.get_close_matches(key or "", [each.key for each in known], n=1)
        raise typer.BadParameter(f"expected a setting{f', {near[0]} perhaps' if near else ''}, got {key}", param_hint="KEY")
    if as_json:
        _print_json([_as_json(each) for each in chosen])
    elif len(chosen) == 1:
        _explain(chosen[0])
    else:
        _tree(chosen)


def _as_json(each: Entry) -> dict[str, Any]:
    told = asdict(each)
    return {**told, "applies": each.applies.value if each.applies else None}


def _explain(each: Entry) -> None:
    console = _console()
    console.print(each.key, style="bold", highlight=False)
    told = {
        "what": each.description,
        "type": each.type,
        "default": "none: it must be set" if each.required else _written(each.default),
        "value": _written(each.value),
        "set in": each.place or "nowhere: it has its default",
        "a change": str(each.applies or ""),
    }
    for name, text in told.items():
        console.print(f"  {name.ljust(10)}{text}", highlight=False)


def _tree(chosen: Sequence[Entry]) -> None:
    """Print settings as a tree, each with its value, marked where it is not the default."""
    root = Tree("settings", hide_root=True)
    places: dict[str, Tree] = {}
    for each in chosen:
        above = next((known for known in _heads(each.key) if known in places), "")
        name = each.key.removeprefix(f"{above}.") if above else each.key
        line = Text.assemble((name, "bold"))
        if not each.section:
            line.append(f" = {_written(each.value)}")
            if each.value != each.default:
                line.append(f"  (default {_written(each.default)})", "yellow")
        line.append(f"  {each.description}", "dim")
        places[each.key] = places.get(above, root).add(line)
    _console().print(root, highlight=False)


def _heads(key: str) -> Iterator[str]:
    """Yield what stands above a key, the nearest first."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings, by which editors complete and check a YAML file.

    For yaml-language-server: `firnline config schema > firnline.schema.json`, and in the file's first line
    `# yaml-language-server: $schema=firnline.schema.json`.
    """
    from config.schema import json_schema  # noqa: PLC0415  # seldom called

    _print_json(json_schema())


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _console() -> Console:
    """Return a console as wide as the terminal, or wide where there is none; what settings say is no markup."""
    width = None if Console().is_terminal else 160
    return Console(width=width, soft_wrap=True, markup=False, emoji=False)
