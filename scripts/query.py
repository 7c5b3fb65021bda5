"""Ask a running service from the terminal: sets of a time range, stats, or rejects, as tables or as JSON."""

import http.client
import json
import sys
import urllib.parse
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, help="Ask a running Firnline.")

Url = Annotated[str, typer.Option(help="Where the service listens.", envvar="FIRNLINE_URL")]
Stream = Annotated[str, typer.Option(help="The stream's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as it came.")]
HERE = "http://127.0.0.1:8080"


def fetch(url: str, path: str, **arguments: object) -> Any:
    """Return the JSON of a path; what goes wrong is one line on standard error, and exit code 1."""
    given = {name: value for name, value in arguments.items() if value is not None}
    parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    try:
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 8080, timeout=60)
        connection.request("GET", f"{path}?{urllib.parse.urlencode(given)}" if given else path)
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"query: {url}: {error}; is the service running?")
    if response.status != http.client.OK:
        told = body.get("error", {})
        sys.exit(f"query: {told.get('where')}: expected {told.get('expected')}, got {told.get('got')}")
    return body


def show(table: Table) -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


@app.command()
def sets(
    start: Annotated[int, typer.Option(help="From this time of the first event on.")] = 0,
    end: Annotated[int, typer.Option(help="Up to, and without, this time.")] = 2**63 - 1,
    limit: Annotated[int, typer.Option(min=1, help="Sets of the page.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    stream: Stream = "events",
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Show complete sets of a time range, by the time of their first event."""
    body = fetch(url, f"/{stream}/get-sets", startTime=start, endTime=end, limit=limit, cursor=cursor, coverage=1)
    if as_json:
        print(json.dumps(body))
        return
    table = Table(title=f"{len(body['sets'])} sets")
    names = [step["name"] for step in body["sets"][0].values()] if body["sets"] else ["no sets in this range"]
    for name in names:
        table.add_column(name, justify="right", style=name if name in {"red", "green", "blue"} else "")
    for each in body["sets"]:
        table.add_row(*(str(step["timestamp"]) for step in each.values()))
    coverage = body["coverage"]
    table.caption = f"complete from {coverage['completeFrom'] or 'the beginning'} to {coverage['completeTo']}"
    show(table)
    if "next" in body:
        print(f"more: --cursor {body['next']}")


def _figure(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@app.command()
def stats(stream: Stream = "events", url: Url = HERE, as_json: AsJson = False) -> None:
    """Show the collectors, and what is beside them."""
    body = fetch(url, f"/{stream}/get-stats")
    if as_json:
        print(json.dumps(body))
        return
    memory = body["memory"]
    table = Table(title=f"{stream}: {body['state']}, {body['events']:,} events", show_footer=True)
    total = body["total"]
    table.add_column("collector", footer="all since the start")
    known = {"setSize": "sets", "bound": "bound", "outOfOrderMessagesCount": "waiting"}
    shown = [key for key in known if key in total] or list(total)
    for key in shown:
        table.add_column(known.get(key, key), footer=_figure(total[key]), justify="right")
    table.add_column("bytes", footer=f"{memory['accountedBytes']:,} of {memory['budgetBytes']:,}", justify="right")
    for name in ("from", "to"):
        table.add_column(name, justify="right")
    for row in body["data"]:
        figures = [_figure(row[key]) for key in (*shown, "bytes")]
        table.add_row(row["state"], *figures, *map(str, row["span"] or ["", ""]))
    table.caption = (
        f"late {body['late']:,}; rejects {sum(body['rejects'].values()):,}; dropped {sum(body['dropped'].values()):,}; "
        f"lag {sum(body['lag'].values()):,}; RSS {memory['rssBytes'] / 1e6:,.0f} MB"
    )
    show(table)


@app.command()
def rejects(stream: Stream = "events", url: Url = HERE, as_json: AsJson = False) -> None:
    """Show the newest records that were refused, and why."""
    body = fetch(url, f"/{stream}/rejects")
    if as_json:
        print(json.dumps(body))
        return
    table = Table(title=", ".join(f"{reason} {count:,}" for reason, count in body["rejects"].items()) or "no rejects")
    for name in ("partition", "offset", "reason", "length", "head"):
        table.add_column(name, no_wrap=name != "head")
    for each in body["newest"]:
        table.add_row(*(str(each[name])[:60] for name in ("partition", "offset", "reason", "length", "head")))
    show(table)


if __name__ == "__main__":
    app()
