"""The command `cluster`: who has the shards of a cluster, as one of its processes knows it."""

import json
from typing import Annotated

import typer
from rich.table import Table

from firnline.client import Client
from firnline.transport import HERE
from scripts.cli.printing import console_of
from scripts.cli.query import errors_as_exits

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show a cluster.\n\nIf the service needs a token, set FIRNLINE_TOKEN."
)


@app.callback()
def root() -> None:
    """Hold the commands of the group; its help is above."""


@app.command()
def status(
    url: Annotated[str, typer.Option(help="The address of any process of the cluster.", envvar="FIRNLINE_URL")] = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Show each shard of each stream: its state, where it is, and its lease. Exits with 1 if a shard is nowhere."""
    with errors_as_exits("cluster"):
        found = Client(url).get("/streams")["streams"]
    shards = {each["name"]: each["shards"] for each in found if "shards" in each}
    if as_json:
        print(json.dumps(shards, indent=2))
    elif not shards:
        print("this process is in no cluster")
    else:
        table = Table("stream", "shard", "state", "where", "epoch")
        for name, own in shards.items():
            for each in own:
                where = "this process" if each["host"] is None else f"{each['host']}:{each['port']}"
                where = "-" if each["epoch"] is None else where
                table.add_row(
                    name, str(each["shard"]), each["state"], where, "-" if each["epoch"] is None else str(each["epoch"])
                )
        console_of(100).print(table)
    if any(each["state"] == "nowhere" for own in shards.values() for each in own):
        raise typer.Exit(1)
