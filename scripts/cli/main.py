"""The command `firnline`: the commands of `scripts/` under one name.

A command's module is imported when the command is called, so `firnline --help` and completion load typer alone.
"""

import importlib
import sys
from typing import Annotated, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from scripts.checkout import ROOT
from scripts.service.importing import importing

EXITS = """
Exit codes: 0 success; 1 failure, with the reason in one line on standard error; 2 wrong use of the command; 130 interrupted by
Ctrl-C (128 plus the number of any other signal). `serve` and `top` end in order at the first Ctrl-C, with 0.
"""


class Place(NamedTuple):
    """A command: the module, the name of its function or typer application there, and the first line of its help."""

    module: str
    name: str
    line: str


COMMANDS = {
    "serve": Place("scripts.service.serve", "main", "Consume the configured streams and answer over HTTP, until Ctrl-C."),
    "init": Place(
        "scripts.cli.init.command", "main", "Look at the newest records of a topic, and write a configuration that reads them."
    ),
    "produce": Place("scripts.produce.producer", "main", "Send records to Kafka in one of the patterns."),
    "query": Place("scripts.cli.query", "app", "Ask a running Firnline."),
    "sql": Place(
        "scripts.cli.sql", "main", "Ask with SQL: DuckDB runs the query here, over the rows that it asks the service for."
    ),
    "top": Place("scripts.cli.top", "main", "Watch a running Firnline: rates, generations, memory, actors."),
    "cluster": Place(
        "scripts.cli.cluster", "app", "Show a cluster, empty a process of it, and start processes on the nodes of Ray."
    ),
    "config": Place("scripts.cli.configuration.command", "app", "Check and explain the configuration."),
    "replay": Place("scripts.cli.replay", "replay", "Put dead letters back to the topics that they came from."),
    "broker": Place("scripts.broker", "app", "Run a Kafka broker on loopback until Ctrl-C."),
    "bench": Place("scripts.lab.measure.bench", "main", "Measure ingestion, memory and queries on a real broker."),
    "chaos": Place(
        "scripts.lab.chaos.chaos",
        "main",
        "Kill, stop and cut off the service under load, and compare every answer with what it must be.",
    ),
}


class Commands(TyperGroup):
    """Lists every command that is installed by its line, and imports only the one that is called."""

    def __init__(self, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]  # typer's own arguments
        for name, place in COMMANDS.items():
            self.add_command(TyperCommand(name, help=place.line, hidden=not is_installed(place)), name)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, TyperCommand | None, list[str]]:  # type: ignore[override]  # typer's own copy of click is private
        """Return the command that is called, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(name) if name in COMMANDS else command, rest  # type: ignore[return-value]


def is_installed(place: Place) -> bool:
    """Whether the command is here: a wheel has no laboratory."""
    return not place.module.startswith("scripts.lab.") or (ROOT / "scripts" / "lab").exists()


def loaded(name: str) -> TyperCommand:
    """Import a command. Raises SystemExit if it is not installed."""
    place = COMMANDS[name]
    if not is_installed(place):
        sys.exit(f"firnline: {name} is not part of the installed package: run scripts/{name}.py in a checkout")
    with importing():
        found = getattr(importlib.import_module(place.module), place.name)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        found = alone
    command = typer.main.get_command(found)
    command.name = name
    return command  # type: ignore[return-value]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Keeps the answers to a Kafka stream in memory, exact and compressed, and serves them over HTTP by time range.",
    epilog=EXITS,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # it takes 30 ms

        try:
            typer.echo(f"firnline {version('firnline')}")
        except PackageNotFoundError:
            typer.echo("firnline, a checkout")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]


@app.callback()
def root(*, version: Version = False) -> None:
    """Hold the options of the group; its help is above."""
    del version


def main() -> None:
    """Run the command that the process was called with."""
    app(prog_name="firnline")


if __name__ == "__main__":
    main()
