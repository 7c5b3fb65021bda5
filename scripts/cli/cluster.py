"""The commands `cluster`: who has the shards of a cluster, as one of its processes knows it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from firnline.client import Client
from firnline.transport import HERE
from scripts.cli.printing import console_of, figure, size
from scripts.cli.query import errors_as_exits

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show a cluster.\n\nIf the service needs a token, set FIRNLINE_TOKEN."
)
Url = Annotated[str, typer.Option(help="The address of any process of the cluster.", envvar="FIRNLINE_URL")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.callback()
def root() -> None:
    """Hold the commands of the group; its help is above."""


@app.command()
def status(url: Url = HERE, as_json: AsJson = False) -> None:
    """Show each shard of each stream: its state, its process, its lease, its lag and its memory.

    Exits with 1 if a shard is nowhere.
    """
    with errors_as_exits("cluster"):
        found = Client(url).get("/streams")["streams"]
    shards = {each["name"]: each["shards"] for each in found if "shards" in each}
    if as_json:
        print(json.dumps(shards, indent=2))
    elif not shards:
        print("this process is in no cluster")
    else:
        table = Table("stream", "shard", "state", "where", "pid", "epoch", "not read", "memory")
        for name, own in shards.items():
            for each in own:
                table.add_row(name, *_row(each))
        console_of(100).print(table)
    if any(each["state"] == "nowhere" for own in shards.values() for each in own):
        raise typer.Exit(1)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the table shows of a shard. A dash is not known."""
    where = "-" if each["host"] is None else f"{each['host']}:{each['port']}"
    plain = ("-" if each[name] is None else str(each[name]) for name in ("pid", "epoch"))
    lag = "-" if each["lag"] is None else figure(each["lag"])
    return (str(each["shard"]), each["state"], where, *plain, lag, "-" if each["bytes"] is None else size(each["bytes"]))
