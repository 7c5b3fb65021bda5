"""The command `firnline`: what `scripts/` does, under one name. Each command is imported when it is called, and not before.

So `firnline --help`, and the completion of a command's name, cost no more than typer itself.
"""

import importlib
from typing import Annotated, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

EXITS = """
Exit codes: 0 it is done; 1 it failed, and one line on standard error says why; 2 the command was used wrongly; 130 it was
interrupted by Ctrl-C (128 and the number of any other signal). `serve` and `top`, interrupted once, end in order, with 0.
"""


class Place(NamedTuple):
    """Where a command is: a module, its function or its typer application there, and the first line of its help."""

    module: str
    name: str
    line: str


COMMANDS = {
    "serve": Place("scripts.service.serve", "main", "Consume the configured streams and answer over HTTP, until Ctrl-C."),
    "produce": Place(
        "scripts.produce.producer",
        "main",
        "Send records to Kafka in one of the patterns.",
    ),
    "query": Place("scripts.cli.query", "app", "Ask a running Firnline."),
    "top": Place("scripts.cli.top", "main", "Watch a running Firnline: rates, generations, memory, actors."),
    "bench": Place("scripts.lab.measure.bench", "main", "Measure ingestion, memory and queries on a real broker."),
    "chaos": Place(
        "scripts.lab.chaos.chaos",
        "main",
        "Kill, stop and cut off the service under load, and compare every answer with what it must be.",
    ),
    "config": Place("scripts.cli.config", "app", "Say what the configuration means: check, explain, schema."),
}


class Commands(TyperGroup):
    """Lists every command by its line, and loads the one that is called."""

    def __init__(self, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]  # typer's own arguments, handed on
        for name, place in COMMANDS.items():
            self.add_command(TyperCommand(name, help=place.line), name)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, TyperCommand | None, list[str]]:  # type: ignore[override]  # typer's own copy of click is private
        """Find the command that is called, and load it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(name) if name in COMMANDS else command, rest  # type: ignore[return-value]


def loaded(name: str) -> TyperCommand:
    """Import a command."""
    place = COMMANDS[name]
    found = getattr(importlib.import_module(place.module), place.name)
    if not isinstance(found, typer.Typer):
        one = typer.Typer(add_completion=False)
        one.command(name)(found)
        found = one
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


def _tell_version(wanted: bool) -> None:  # typer calls it so
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # 30 ms that nothing else needs

        try:
            typer.echo(f"firnline {version('firnline')}")
        except PackageNotFoundError:
            typer.echo("firnline, a checkout")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Say the version, and end.", callback=_tell_version, is_eager=True)]


@app.callback()
def root(*, version: Version = False) -> None:
    """Do nothing: the group's help stands above."""
    del version


def main() -> None:
    """Run the command that the process was called with."""
    app(prog_name="firnline")


if __name__ == "__main__":
    main()
