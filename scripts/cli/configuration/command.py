"""The commands `firnline config check`, `explain`, `try` and `schema`, and what they print."""

import difflib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from config.load import DEFAULT, Reading, SettingsError, chosen, read
from scripts.brokers.settings import refused as refused_settings
from scripts.cli.configuration.entries import Entry, entries
from scripts.cli.configuration.schema import json_schema
from scripts.cli.printing import console_of, lasting, rounded, size, visible

if TYPE_CHECKING:
    from scripts.cli.configuration.check import Checked

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check and explain the configuration.")

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="A setting over the file: streams.events.max_sets=1000. May be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RATE = 10_000.0


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The YAML file; by default Firnline's own.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The YAML file, as `serve` takes it.")] = None,
    overrides: Overrides = None,
    only: Annotated[list[str] | None, typer.Option(help="Check this stream alone; may be repeated.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.001, help="Records a second of each stream, to compute how long memory lasts.")
    ] = RATE,
    *,
    connect: Annotated[bool, typer.Option("--connect", help="Also check that the broker answers and has the topics.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a configuration as `serve` does, and print what it means on this machine.

    Exits with 0 if the service can run with it, even if some settings are odd; otherwise with 1.
    """
    if file is not None and config is not None:
        raise typer.BadParameter(f"expected one file, got {file} and --config {config}")
    file = file or config
    settings = _read(file, overrides).settings
    # The libraries of the service count against the memory budget, so they are imported here; that takes half a second.
    from scripts.cli.configuration.check import check as check_settings  # noqa: PLC0415

    try:
        settings = chosen(settings, only or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    found = check_settings(settings, rate, os.environ, connect=connect)
    if as_json:
        _print_json({"file": str(file or DEFAULT), **asdict(found)})
    else:
        _print_checked(file or DEFAULT, found)
    if found.wrong:
        raise typer.Exit(1)


@app.command()
def explain(
    key: Annotated[str | None, typer.Argument(help="A setting, such as memory.budget, or a section; by default all.")] = None,
    file: Annotated[Path | None, typer.Option("--config", help="The YAML file; by default Firnline's own.")] = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain a setting: description, type, default, value, where it was set, and when a change of it takes effect."""
    found = entries(_read(file, overrides))
    shown = [each for each in found if key is None or each.key == key or each.key.startswith(f"{key}.")]
    if not shown:
        near = difflib.get_close_matches(key or "", [each.key for each in found], n=1)
        raise typer.BadParameter(f"expected a setting{f', {near[0]} perhaps' if near else ''}, got {key}", param_hint="KEY")
    if as_json:
        _print_json([{**asdict(each), "applies": each.applies.value if each.applies else None} for each in shown])
    elif len(shown) == 1:
        _print_entry(shown[0])
    else:
        _print_tree(shown)


@app.command("try")
def try_(
    file: Annotated[Path | None, typer.Option("--config", help="The YAML file; by default Firnline's own.")] = None,
    stream: Annotated[str | None, typer.Option(help="The stream; by default the only one.")] = None,
    lines: Annotated[Path | None, typer.Option("--from", help="Read this file of lines, and not the stream's source.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="The broker, in place of that of the configuration.")] = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the first 20 records of a stream's topic or file as the configuration reads them: times, roles, or why refused.

    Commits nothing and creates nothing in Kafka. Exits with 0 if at least one record is an event; otherwise with 1.
    """
    more = [f"kafka.bootstrap.servers={bootstrap}"] if bootstrap is not None else []
    settings = _read(file, [*(overrides or []), *more]).settings
    names = list(settings.streams)
    if stream is None and len(names) == 1:
        (stream,) = names
    if stream not in settings.streams:
        raise typer.BadParameter(f"expected one of {', '.join(names)}, got {stream or 'none'}", param_hint="--stream")
    from scripts.cli.configuration.tried import RECORDS, first, printed, tried  # noqa: PLC0415  # the engine takes half a second

    stanza = settings.streams[stream]
    try:
        found = tried(stanza, first(stanza, settings.client, lines, RECORDS), _complain)
    except ValueError as error:
        sys.exit(f"config try: {error}")
    if as_json:
        _print_json([asdict(each) for each in found])
    else:
        printed(stanza, found)
    if not any(each.read == "event" for each in found):
        sys.exit(f"config try: {'no record is an event' if found else 'there are no records yet'}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings, by which editors complete and check a YAML file.

    For yaml-language-server: `firnline config schema > firnline.schema.json`, and in the file's first line
    `# yaml-language-server: $schema=firnline.schema.json`.
    """
    _print_json(json_schema())


def _complain(text: str) -> None:
    print(f"config try: {visible(text)}", file=sys.stderr)


def _read(file: Path | None, overrides: Sequence[str] | None) -> Reading:
    """Read the settings. Raises SystemExit with every problem in a line."""
    try:
        return read(file, overrides or [], os.environ, refused=refused_settings)
    except SettingsError as error:
        sys.exit(f"config: {error}")


def _print_checked(file: Path, found: "Checked") -> None:
    console, budget = console_of(160, soft_wrap=True), found.budget
    state = "cannot run here" if found.wrong else "is good"
    console.print(f"{file} {state}", style="bold red" if found.wrong else "bold green")
    console.print(f"this machine  {size(found.limit_bytes)} ({found.limit_origin}), {found.processors} processors")
    if budget is not None:
        console.print(
            f"memory        {size(budget.total)} in all; {size(budget.baseline)} before any event and for replies, "
            f"{size(budget.total - budget.baseline)} for answers"
        )
        if budget.total >= found.limit_bytes / 2:
            console.print("              memory.budget=1GiB, or another size, leaves more to other programs")
        table = Table("stream", "view", "has", "bytes each", "holds about", "which is", "of a stream with")
        for column in table.columns[2:4]:
            column.justify = "right"
        for each in found.holds:
            count, until = f"{rounded(each.count)} {each.what}", f", bound by {each.bound_by}" if each.bound_by else ""
            duration = lasting(each.seconds) + until
            table.add_row(each.stream, each.view, size(each.room_bytes), f"{each.bytes_each:.2f}", count, duration, each.of)
        console.print(table)
    for line in found.wrong:
        console.print(f"wrong  {line}", style="red")
    for line in found.odd:
        console.print(f"odd    {line}", style="yellow")


def _print_entry(each: Entry) -> None:
    console = console_of(160, soft_wrap=True)
    console.print(each.key, style="bold", highlight=False)
    lines = {
        "what": each.description,
        "type": each.type,
        "default": "none: it must be set" if each.required else _written(each.default),
        "value": _written(each.value),
        "set in": each.place or "nowhere: it has its default",
        "a change": str(each.applies or ""),
    }
    for name, text in lines.items():
        console.print(f"  {name.ljust(10)}{text}", highlight=False)


def _print_tree(shown: Sequence[Entry]) -> None:
    """Print settings as a tree, each with its value, marked if it is not the default."""
    root = Tree("settings", hide_root=True)
    places: dict[str, Tree] = {}
    for each in shown:
        above, _, name = each.key.rpartition(".")
        while above and above not in places:  # a Kafka setting has dots in its name
            above, _, head = above.rpartition(".")
            name = f"{head}.{name}"
        line = Text.assemble((name if above else each.key, "bold"))
        if not each.section:
            line.append(f" = {_written(each.value)}")
            if each.value != each.default:
                line.append(f"  (default {_written(each.default)})", "yellow")
        line.append(f"  {each.description}", "dim")
        places[each.key] = places.get(above, root).add(line)
    console_of(160, soft_wrap=True).print(root, highlight=False)


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
