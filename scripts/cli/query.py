"""The command `query`: asks a running service by the Python client, and prints tables or JSON."""

import contextlib
import csv
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
from rich.table import Table

from firnline.client import Client
from firnline.problems import FirnlineError, FirnlineWarning
from firnline.rows import EARLIEST, LATEST, Rows
from firnline.transport import HERE
from scripts.cli.printing import console_of, counted, instant, moment, size, took, visible

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Ask a running Firnline.\n\nIf the service needs a token, set FIRNLINE_TOKEN.",
)


Granularity = Literal["minute", "hour", "day", "week", "month", "year"]
Period = Literal["minute", "hour", "day"]
SequenceState = Literal["complete", "open", "lapsed"]
Url = Annotated[str, typer.Option(help="The address of the service.", envvar="FIRNLINE_URL")]
Stream = Annotated[
    str | None, typer.Option(help="The stream's name. Default: the usual one, such as events, or the only one of the view.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the rows as CSV, with times by RFC 3339.")]
Start = Annotated[
    str | None,
    typer.Option(help="The first time: a number (of uniques and words: Unix seconds), a date, RFC 3339, now or -5m."),
]
End = Annotated[str | None, typer.Option(help="The end of the range, in the same notation. It is not part of the range.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows to show at most.")]


@contextlib.contextmanager
def errors_as_exits(command: str = "query") -> Iterator[None]:
    """Turn a client error into one line on standard error and exit code 1, and a wrong address into wrong use.

    A warning of the client is one line on standard error too.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FirnlineWarning)
        try:
            yield
        except FirnlineError as error:
            sys.exit(f"{command}: {error}")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        finally:
            for text in dict.fromkeys(str(each.message) for each in caught):
                print(f"{command}: warning: {visible(text)}", file=sys.stderr)


def fetch(url: str, path: str, *, as_json: bool, of: tuple[str, str | None] | None = None, **arguments: object) -> Any:
    """Return the JSON of a path, an answer `of` this stream and view. With `as_json`, print it and exit instead."""
    with errors_as_exits():
        client = Client(url)
        body = client.get(path, **arguments) if of is None else client.get_of(*of, path, arguments)
    if as_json:
        print(json.dumps(body))
        raise typer.Exit
    return body


def about_of(url: str, stream: str | None, usual: str, view: str | None = None) -> Mapping[str, Any]:
    """Return the state of the stream with this name; without a name, of the `usual` one, or of the only one of the view."""
    with errors_as_exits():
        return Client(url).stream(stream, usual, view)


def csv_client(url: str, *, as_json: bool) -> Client:
    """Return a client whose rows have datetimes. Raises BadParameter if JSON is wanted too."""
    if as_json:
        raise typer.BadParameter("expected one of --json and --csv, got both")
    return Client(url, times="datetime")


def print_csv(rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any], where: str) -> None:
    """Print rows as CSV as they come. Without rows, one line on standard error says what is missing."""
    writer, names = csv.writer(sys.stdout, lineterminator="\n"), None
    with errors_as_exits():
        for row in rows:
            flat = _flat(row)
            if names is None:
                names = list(flat)
                writer.writerow(names)
            writer.writerow([_plain(flat.get(name)) for name in names])
    if names is None:
        print(f"query: {visible(about['name'])}: {empty(about, where)}", file=sys.stderr)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the members of its objects as members of its own, as the service writes CSV."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= value if isinstance(value, Mapping) else {name: value}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        digits = "microseconds" if value.microsecond % 1_000 else "milliseconds"
        return value.isoformat(timespec=digits).replace("+00:00", "Z")
    return json.dumps(value) if isinstance(value, list | bool) else value


def show_rows(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    caption: str | None = None,
    about: Mapping[str, Any] | None = None,
    where: str = "yet",
    waiting: Mapping[str, int] | None = None,
) -> None:
    """Print rows that have the same keys, numbers to the right. Without rows, print what is missing in the stream `about`."""
    if not rows and about is not None:
        print(f"{visible(about['name'])}: {empty(about, where, waiting)}")
        return
    table = Table(title=title, caption=caption)
    for name, value in (rows[0] if rows else {"none": ""}).items():
        is_number = isinstance(value, int | float) or (isinstance(value, str) and value[:1].isdigit())
        table.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console_of(120).print(table)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name not in {"start", "end", "batch", "time"}:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else visible(str(value))


@app.command()
def sets(
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    cursor: Annotated[str | None, typer.Option(help="The cursor that the page before printed.")] = None,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the complete sets of a time range, by the time of their first event."""
    about = about_of(url, stream, "events", "sets")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        print_csv(
            client.sets(
                EARLIEST if start is None else start, LATEST if end is None else end, limit=limit, cursor=cursor, stream=name
            ),
            about,
            _in_range(start, end),
        )
        return
    times = {"startTime": EARLIEST if start is None else start, "endTime": LATEST if end is None else end}
    page = {**times, "limit": limit, "cursor": cursor, "coverage": 1}
    body = fetch(url, f"/{name}/get-sets", of=(name, "sets"), as_json=as_json, **page)
    unit = about["timeUnit"]
    if not body["sets"]:
        print(f"{visible(name)}: {empty(about, _in_range(start, end), _waiting(url, about))}")
        return
    table = Table(title=counted(len(body["sets"]), "set"))
    for step in body["sets"][0].values():
        style = step["name"] if step["name"] in {"red", "green", "blue"} else ""
        table.add_column(visible(step["name"]), justify="right", style=style)
    table.add_column("took", justify="right")
    for each in body["sets"]:
        steps = [step["timestamp"] for step in each.values()]
        gaps = [f"+{took(later - before, unit)}" for before, later in pairwise(steps)]
        table.add_row(instant(steps[0], unit), *gaps, took(steps[-1] - steps[0], unit))
    first, last = (body["coverage"][name] for name in ("completeFrom", "completeTo"))
    begins = "the beginning" if first is None else instant(first, unit)
    console_of(120).print(table)
    print(f"complete from {begins} to {'no time yet' if last is None else instant(last, unit)}")
    if "next" in body:
        print(f"more: --cursor {body['next']}")


@app.command()
def explain(
    step: Annotated[str, typer.Argument(help="The step of the event, such as G.")],
    time: Annotated[str, typer.Argument(help="Its time: a number in the stream's unit, a date, or RFC 3339.")],
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show in which sets the events of a step at a time stand, or why in none."""
    about = about_of(url, stream, "events", "sets")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        print_csv(client.explain(step, time, stream=name), about, "at this time")
        return
    body = fetch(url, f"/{name}/explain", of=(name, "sets"), as_json=as_json, step=step, time=time)
    rows = [
        {**{name: row[name] for name in ("count", "state", "reason")}, **_texts(row["set"], about["timeUnit"])}
        for row in body["events"]
    ]
    show_rows(visible(f"{name}: {step} at {time}"), rows, about=about, where="at this time")


@app.command()
def summary(
    start: Start = None,
    end: End = None,
    by: Annotated[
        str | None, typer.Option(help="The length of a bucket, such as 1s, 5m, 1h or 1d. Default: one bucket.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of hours and days, such as Europe/Berlin.")] = None,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show how many answers there are, at what rate, and percentiles of what they have: of sets, how long they took."""
    about = about_of(url, stream, "events")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        print_csv(client.summary(start, end, by=by, zone=zone, stream=name), about, _in_range(start, end))
        return
    times = {"startTime": start, "endTime": end, "by": by, "zone": zone}
    rows = fetch(url, f"/{name}/summary", of=(name, None), as_json=as_json, **times)["summary"]
    unit = about["timeUnit"]
    durations = ("p50", "p95", "max") if rows and "step" in rows[0] else ()
    shown = [_readable(each, unit, ("start", "end"), durations) for each in rows]
    show_rows(visible(name), shown, about=about, where=_in_range(start, end), waiting=_waiting(url, about))


@app.command()
def top(limit: Limit = 20, stream: Stream = None, url: Url = HERE, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show the ids with the largest values, the largest first."""
    about = about_of(url, stream, "dataset", "top")
    name = about["name"]
    if as_csv:
        body = csv_client(url, as_json=as_json).get_of(name, "top", f"/{name}", {"limit": limit, "values": 1})
        print_csv(body["data"], about, "yet")
        return
    more = {} if as_json else {"values": 1}
    body = fetch(url, f"/{name}", limit=limit, of=(name, "top"), as_json=as_json, **more)
    rows = [{"rank": rank, **each} for rank, each in enumerate(body["data"], 1)]
    show_rows(visible(f"{name}: the largest {len(rows)}"), rows, about=about)


@app.command()
def uniques(
    granularity: Annotated[
        Granularity | None, typer.Option(help="The length of a period. Default: the shortest one that the stream keeps.")
    ] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show unique users by period, the newest last."""
    about = about_of(url, stream, "uniques", "uniques")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        print_csv(client.uniques(granularity, start, end, limit=limit, stream=name), about, _in_range(start, end))
        return
    body = fetch(url, f"/{name}", granularity=granularity, start=start, end=end, of=(name, "uniques"), as_json=as_json)
    rows = body["uniques"]
    of_length = f" of a {rows[0]['granularity']}" if rows else ""
    shown = [_readable(each, "s", ("start", "end")) for each in rows[-limit:]]
    title = visible(f"{name}: {counted(len(rows), 'period')}{of_length}")
    show_rows(title, shown, caption=_of(len(rows), limit), about=about, where=_in_range(start, end))


@app.command()
def words(
    types: Annotated[bool, typer.Option("--types", help="Count events by type instead of words.")] = False,
    last: Annotated[int | None, typer.Option(min=1, help="Count only the last seconds, this many.")] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the counts of words, or of event types, the highest first."""
    about = about_of(url, stream, "words", "words")
    name = about["name"]
    if as_csv:
        of: Literal["types", "words"] = "types" if types else "words"
        counts = csv_client(url, as_json=as_json).words(of=of, last=last, start=start, end=end, limit=limit, stream=name)
        print_csv(counts, about, _in_range(last or start, end))
        return
    client = Client(url)
    with errors_as_exits():
        found = client.words(of="types" if types else "words", last=last, start=start, end=end, limit=limit, stream=name)
        rows = list(found)
    if as_json:
        print(json.dumps(rows))
        return
    title, where = visible(f"{name}: events by type" if types else f"{name}: words"), _in_range(last or start, end)
    show_rows(title, rows, about=about, where=where)


@app.command()
def segments(
    pending: Annotated[bool, typer.Option("--pending", help="Show unfinished batches, and what they lack.")] = False,
    after: Annotated[int | None, typer.Option(help="Show batches with a greater id, such as the last one shown.")] = None,
    limit: Limit = 20,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show finished batches of segments by id, or unfinished ones."""
    about = about_of(url, stream, "segments", "segments")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        print_csv(client.segments(after=after, limit=limit, pending=pending, stream=name), about, "yet")
        return
    path = f"/{name}/pending" if pending else f"/{name}"
    body = fetch(url, path, after=after, limit=limit, of=(name, "segments"), as_json=as_json)
    rows = body["pending" if pending else "segments"]
    title = visible(f"{name}: {counted(len(rows), 'batch', 'batches')} {'pending' if pending else 'finished'}")
    where = "pending" if pending else "finished"
    show_rows(title, rows, about=about, where=where)


@app.command()
def funnel(
    by: Annotated[Period | None, typer.Option(help="Count by this period.")] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of hours and days; UTC by default.")] = None,
    state: Annotated[SequenceState | None, typer.Option(help="List the sequences of this state instead.")] = None,
    missing: Annotated[str | None, typer.Option(help="List the sequences without this step instead.")] = None,
    key: Annotated[str | None, typer.Option(help="Show the events of this key instead.")] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 20,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show how many sequences reached each step of a funnel; or list sequences, or the events of a key."""
    about = about_of(url, stream, "funnel", "funnel")
    name = about["name"]
    if as_csv:
        client = csv_client(url, as_json=as_json)
        found: Rows[Any]
        if key is not None:
            found = client.story(key, stream=name)
        elif state is not None or missing is not None:
            found = client.sequences(start, end, state=state, missing=missing, limit=limit, stream=name)
        else:
            found = client.funnel(start, end, by=by, zone=zone, stream=name)
        print_csv(found, about, _in_range(start, end))
        return
    times = {"startTime": start, "endTime": end}
    of, title = (name, "funnel"), visible(name)
    if key is not None:
        body = fetch(url, f"/{name}/keys/{quote(key, safe='')}", of=of, as_json=as_json)
        events = [_readable(each, about["timeUnit"], ("time",)) for each in body["events"][-limit:]]
        show_rows(f"{title}: {visible(key)}, {counted(len(body['events']), 'event')}", events, about=about, where="of this key")
    elif state is not None or missing is not None:
        page = {**times, "state": state, "missing": missing, "limit": limit}
        body = fetch(url, f"/{name}/sequences", of=of, as_json=as_json, **page)
        unit, more = about["timeUnit"], "there are more: --limit" if "next" in body else None
        rows = [{**{name: row[name] for name in ("key", "state")}, **_texts(row["steps"], unit)} for row in body["sequences"]]
        show_rows(f"{title}: {counted(len(rows), 'sequence')}", rows, caption=more, about=about, where="of this kind")
    else:
        body = fetch(url, f"/{name}", of=of, as_json=as_json, **times, by=by, zone=zone)
        counts = ", ".join(f"{body[name]:,} {name}" for name in ("complete", "open", "lapsed"))
        rows = [{name: _seconds(name, value) for name, value in each.items()} for each in body["steps"]]
        show_rows(f"{title}: {counts}", [_readable(each, about["timeUnit"], ("start",)) for each in rows], about=about)


@app.command()
def streams(url: Url = HERE, as_json: AsJson = False) -> None:
    """Show every stream: its view, source, state, counts and time range."""
    body = fetch(url, "/streams", as_json=as_json)
    names = ("name", "view", "state", "source", "events", "collectors")
    rows = [{**{name: each[name] for name in names}, **_range(each["span"], each["timeUnit"])} for each in body["streams"]]
    show_rows(counted(len(rows), "stream"), rows)


@app.command()
def stats(stream: Stream = None, url: Url = HERE, as_json: AsJson = False) -> None:
    """Show the collectors of a stream, its memory and its counters."""
    about = about_of(url, stream, "events")
    name = about["name"]
    body = fetch(url, f"/{name}/get-stats", as_json=as_json)
    memory = body["memory"]
    table = Table(title=f"{name}: {body['state']}, {counted(body['events'], 'event')}", show_footer=True)
    total, unit = body["total"], (body["timeUnit"] or {"name": "batch"})["name"]
    table.add_column("collector", footer="all since the start")
    known = {"setSize": "sets", "bound": "bound", "outOfOrderMessagesCount": "waiting"}
    shown = [key for key in known if key in total] or list(total)
    for key in shown:
        table.add_column(known.get(key, key), footer=_cell(key, total[key]), justify="right")
    table.add_column("bytes", footer=f"{size(memory['accountedBytes'])} of {size(memory['budgetBytes'])}", justify="right")
    for column in _range(None, unit):
        table.add_column(column, justify="right")
    for row in body["data"]:
        figures = [_cell(key, row[key]) for key in (*shown, "bytes")]
        table.add_row(row["state"], *figures, *_range(row["span"], unit).values())
    table.caption = (
        f"late {body['late']:,}; rejects {sum(body['rejects'].values()):,}; dropped {sum(body['dropped'].values()):,}; "
        f"lag {sum(body['lag'].values()):,}; RSS {memory['rssBytes'] / 1e6:,.0f} MB"
    )
    console_of(120).print(table)


@app.command()
def rejects(stream: Stream = None, url: Url = HERE, as_json: AsJson = False) -> None:
    """Show the newest refused records, and the reason for each."""
    about = about_of(url, stream, "events")
    name = about["name"]
    body = fetch(url, f"/{name}/rejects", as_json=as_json)
    if not body["rejects"]:
        print(f"{visible(name)}: {_no_rejects(about)}")
        return
    title = ", ".join(f"{reason} {count:,}" for reason, count in body["rejects"].items())
    table = Table(title=title)
    columns = ("partition", "offset", "reason", "length", "head")
    for column in columns:
        table.add_column(column, no_wrap=column != "head")
    for each in body["newest"]:
        table.add_row(*(visible(str(each[column]))[:60] for column in columns))
    console = console_of(120)
    console.print(table)
    for reason, advice in body.get("advice", {}).items():
        console.print(f"{visible(reason)}: {visible(advice)}", markup=False)


def _no_rejects(about: Mapping[str, Any]) -> str:
    if about["trouble"] is not None or not about["events"]:
        return empty(about, "refused")
    return f"no record was refused; {about['state']}"


def empty(about: Mapping[str, Any], where: str, waiting: Mapping[str, int] | None = None) -> str:
    """Return why a table is empty: nothing was read yet, and what to do about it; or where the stream has something.

    `waiting` has the events of each step that wait for a match.
    """
    trouble = about["trouble"]
    if trouble is not None:
        return visible(f"nothing {where}: {'; '.join(trouble['reasons'])}; next: {trouble['next']}")
    if not about["events"]:
        return visible(f"nothing {where}: no event was read from {about['source']}; {about['state']}")
    if about["span"] is not None:
        start, end = (_bound(time, about["timeUnit"]) for time in about["span"])
        return f"nothing {where}; the stream holds {about['events']:,} events, and answers from {start} to {end}"
    absent = [step for step, count in (waiting or {}).items() if not count]
    which = f", none of step {' or '.join(absent)}" if absent else ""
    return visible(f"nothing {where}: {about['events']:,} events wait for a match{which}; {about['state']}")


def _bound(time: int | None, unit: str) -> str:
    return "any time" if time is None else moment(time, unit)


def _waiting(url: str, about: Mapping[str, Any]) -> Mapping[str, int]:
    """Return how many events of each step wait in a stream of sets that has no set; else nothing."""
    if about["view"] != "sets" or about["span"] is not None or not about["events"]:
        return {}
    found: Mapping[str, int] = fetch(url, f"/{about['name']}/get-stats", as_json=False)["total"].get("waitingByStep", {})
    return found


def _in_range(start: object, end: object) -> str:
    return "yet" if start is None and end is None else "in this range"


def _readable(row: Mapping[str, Any], unit: str, times: Sequence[str], durations: Sequence[str] = ()) -> dict[str, Any]:
    """Return a row with its times as dates, and its durations with a unit."""
    found = dict(row)
    for name in times:
        if found.get(name) is not None:
            found[name] = moment(found[name], unit)
    for name in durations:
        found[name] = "" if found[name] is None else took(found[name], unit)
    return found


def _seconds(name: str, value: Any) -> Any:
    return f"{value:,.3f} s" if name in {"p50", "p95", "max"} and value is not None else value


def _texts(times: Mapping[str, int | None], unit: str) -> dict[str, str]:
    return {name: "" if time is None else instant(time, unit) for name, time in times.items()}


def _range(span: Sequence[int | None] | None, unit: str) -> dict[str, str]:
    start, end = ("" if span is None else _bound(time, unit) for time in span or (None, None))
    return {"answers from": start, "to": end}


def _of(count: int, limit: int) -> str | None:
    return f"the newest {limit} of {count:,}" if count > limit else None
