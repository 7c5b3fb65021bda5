"""The command `sql`: a query over the streams of a running service, by DuckDB in this process."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.table import Table

from firnline.client import Client
from firnline.tables import Request
from firnline.transport import HERE
from scripts.cli.printing import console_of, visible, write_csv
from scripts.cli.query import errors_as_exits

_MOST = 100


def main(
    query: Annotated[str, typer.Argument(help="The query in the SQL of DuckDB. Each stream is a table; files are tables too.")],
    *,
    url: Annotated[str, typer.Option(help="The address of the service.", envvar="FIRNLINE_URL")] = HERE,
    explain: Annotated[bool, typer.Option("--explain", help="Print the requests of the query, not its rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a row a line as JSON, all of them.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
) -> None:
    """Ask with SQL: DuckDB runs the query here, over the rows that it asks the service for.

    Conditions on the time go with the requests. Without an option, the first 100 rows are shown. Times are in UTC. Needs the
    extra `sql`. If the service needs a token, set FIRNLINE_TOKEN.
    """
    if explain + as_json + as_csv > 1:
        raise typer.BadParameter("expected one of --explain, --json and --csv, got several")
    with errors_as_exits("sql"):
        rows = Client(url).sql(query)
        if explain:
            for _ in rows:
                pass
            _print_requests(rows.requests)
        elif as_json:
            for row in rows:
                print(json.dumps(row, default=str, ensure_ascii=False))
        elif as_csv:
            write_csv(rows)
        else:
            _print_table(list(islice(rows, _MOST + 1)))


def _print_requests(requests: Sequence[Request]) -> None:
    for each in requests:
        print(f"GET {each.target}: {each.rows:,} rows, {each.nbytes:,} bytes")


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(caption=f"the first {_MOST:,} rows; --json and --csv print all" if len(rows) > _MOST else None)
    for name, value in (rows[0] if rows else {"no rows": ""}).items():
        table.add_column(visible(name), justify="right" if isinstance(value, int | float) else "left")
    for row in rows[:_MOST]:
        table.add_row(*("" if value is None else visible(str(value)) for value in row.values()))
    console_of(160).print(table)
