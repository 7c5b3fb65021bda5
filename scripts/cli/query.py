"""The command `query`: asks a running service by the Python client, and prints tables or JSON."""

import contextlib
import json
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
from rich.table import Table

from firnline.client import Client
from firnline.origin import Origin
from firnline.problems import FirnlineError, FirnlineWarning
from firnline.rows import EARLIEST, LATEST
from firnline.transport import HERE
from scripts.cli.printing import console_of, counted, instant, moment, size, took, visible, write_csv

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


def _one_form(context: typer.Context, value: bool) -> bool:
    """Return the value of --json or --csv. Raises BadParameter if the other one was given before it."""
    if value and (context.params.get("as_json") or context.params.get("as_csv")):
        raise typer.BadParameter("expected one of --json and --csv, got both")
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.", callback=_one_form)]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the rows as CSV, with times by RFC 3339.", callback=_one_form)]
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


class Asking:
    """Questions of one command to the stream with this name; None: to the `usual` one, or to the only one of the view."""

    def __init__(self, url: str, stream: str | None, usual: str, view: str | None = None) -> None:
        self._url = url
        self._of = Origin.of(stream, usual, view)
        self._client = Client(url)

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """The state of the stream that is meant. Its name goes with each further question."""
        with errors_as_exits():
            return self._client.state_of(self._of)

    def get(self, path: str = "", /, *, as_json: bool = False, **parameters: object) -> Any:
        """Return the JSON of a path below the stream's. With `as_json`, print it and exit instead, after this one request."""
        of = self._of if as_json else Origin(self.about["name"], self._of.view)
        with errors_as_exits():
            body = self._client.get_of(of, f"/{of.stream}{path}", parameters)
        if as_json:
            print(json.dumps(body))
            raise typer.Exit
        return body

    def print_csv(
        self, rows_of: Callable[[Client, str], Iterable[Mapping[str, Any]]], where: str, newest: int | None = None
    ) -> None:
        """Print rows as CSV as they come, of a client with datetimes and the stream's name; or the `newest`, the last ones.

        Without rows, one line on standard error says what is missing.
        """
        name = self.about["name"]
        with errors_as_exits():
            rows = rows_of(Client(self._url, times="datetime"), name)
            count = write_csv(map(_written, rows if newest is None else deque(rows, maxlen=newest)))
        if not count:
            print(f"query: {visible(name)}: {self.why_empty(where)}", file=sys.stderr)

    def why_empty(self, where: str) -> str:
        """Return why a table of the stream is empty. Asks for its stats if they can tell."""
        needs = self.about["trouble"] is None and (not self.about["events"] or self.about["span"] is None)
        return empty(self.about, where, self.get("/get-stats") if needs else {})


def _written(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as CSV has it."""
    return {name: _plain(value) for name, value in _flat(row).items()}


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
    asking: Asking | None = None,
    where: str = "yet",
) -> None:
    """Print rows that have the same keys, numbers to the right. Without rows, print what is missing in the stream."""
    if not rows and asking is not None:
        print(f"{visible(asking.about['name'])}: {asking.why_empty(where)}")
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
    asking = Asking(url, stream, "events", "sets")
    first, last = EARLIEST if start is None else start, LATEST if end is None else end
    if as_csv:
        asking.print_csv(
            lambda client, name: client.sets(first, last, limit=limit, cursor=cursor, stream=name), _in_range(start, end)
        )
        return
    page = {"startTime": first, "endTime": last, "limit": limit, "cursor": cursor, "coverage": 1}
    body = asking.get("/get-sets", as_json=as_json, **page)
    unit = asking.about["timeUnit"]
    if not body["sets"]:
        print(f"{visible(asking.about['name'])}: {asking.why_empty(_in_range(start, end))}")
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
    low, high = (body["coverage"][name] for name in ("completeFrom", "completeTo"))
    begins = "the beginning" if low is None else instant(low, unit)
    console_of(120).print(table)
    print(f"complete from {begins} to {'no time yet' if high is None else instant(high, unit)}")
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
    asking = Asking(url, stream, "events", "sets")
    if as_csv:
        asking.print_csv(lambda client, name: client.explain(step, time, stream=name), "at this time")
        return
    body = asking.get("/explain", as_json=as_json, step=step, time=time)
    about = asking.about
    rows = [
        {**{name: row[name] for name in ("count", "state", "reason")}, **_texts(row["set"], about["timeUnit"])}
        for row in body["events"]
    ]
    show_rows(visible(f"{about['name']}: {step} at {time}"), rows, asking=asking, where="at this time")


@app.command()
def summary(
    start: Start = None,
    end: End = None,
    by: Annotated[
        str | None, typer.Option(help="The length of a bucket, such as 1s, 5m, 1h30m or 1d. Default: one bucket.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of hours and days, such as Europe/Berlin.")] = None,
    stream: Stream = None,
    url: Url = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show how many answers there are, at what rate, and percentiles of what they have: of sets, how long they took."""
    asking = Asking(url, stream, "events")
    if as_csv:
        asking.print_csv(lambda client, name: client.summary(start, end, by=by, zone=zone, stream=name), _in_range(start, end))
        return
    times = {"startTime": start, "endTime": end, "by": by, "zone": zone}
    rows = asking.get("/summary", as_json=as_json, **times)["summary"]
    about, unit = asking.about, asking.about["timeUnit"]
    durations = ("p50", "p95", "max") if rows and "step" in rows[0] else ()
    shown = [_readable(each, unit, ("start", "end"), durations) for each in rows]
    show_rows(visible(about["name"]), shown, asking=asking, where=_in_range(start, end))


@app.command()
def top(limit: Limit = 20, stream: Stream = None, url: Url = HERE, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show the ids with the largest values, the largest first."""
    asking = Asking(url, stream, "dataset", "top")
    if as_csv:
        asking.print_csv(lambda *_: asking.get(limit=limit, values=1)["data"], "yet")
        return
    more = {} if as_json else {"values": 1}
    body = asking.get(limit=limit, as_json=as_json, **more)
    rows = [{"rank": rank, **each} for rank, each in enumerate(body["data"], 1)]
    show_rows(visible(f"{asking.about['name']}: the largest {len(rows)}"), rows, asking=asking)


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
    asking = Asking(url, stream, "uniques", "uniques")
    if as_csv:
        asking.print_csv(
            lambda client, name: client.uniques(granularity, start, end, stream=name), _in_range(start, end), newest=limit
        )
        return
    rows = asking.get(granularity=granularity, start=start, end=end, as_json=as_json)["uniques"]
    of_length = f" of a {rows[0]['granularity']}" if rows else ""
    shown = [_readable(each, "s", ("start", "end")) for each in rows[-limit:]]
    title = visible(f"{asking.about['name']}: {counted(len(rows), 'period')}{of_length}")
    show_rows(title, shown, caption=_of(len(rows), limit), asking=asking, where=_in_range(start, end))


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
    asking, where = Asking(url, stream, "words", "words"), _in_range(last or start, end)

    def counts(client: Client, name: str | None) -> Iterable[Mapping[str, Any]]:
        of: Literal["types", "words"] = "types" if types else "words"
        return client.words(of=of, last=last, start=start, end=end, limit=limit, stream=name)

    if as_csv:
        asking.print_csv(counts, where)
        return
    name = stream if as_json else asking.about["name"]
    with errors_as_exits():
        rows = list(counts(Client(url), name))
    if as_json:
        print(json.dumps(rows))
        return
    show_rows(visible(f"{name}: events by type" if types else f"{name}: words"), rows, asking=asking, where=where)


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
    asking = Asking(url, stream, "segments", "segments")
    if as_csv:
        asking.print_csv(lambda client, name: client.segments(after=after, limit=limit, pending=pending, stream=name), "yet")
        return
    body = asking.get("/pending" if pending else "", after=after, limit=limit, as_json=as_json)
    rows = body["pending" if pending else "segments"]
    where = "pending" if pending else "finished"
    title = visible(f"{asking.about['name']}: {counted(len(rows), 'batch', 'batches')} {where}")
    show_rows(title, rows, asking=asking, where=where)


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
    asking = Asking(url, stream, "funnel", "funnel")
    if as_csv:
        where = _in_range(start, end)
        if key is not None:
            asking.print_csv(lambda client, name: client.story(key, stream=name), where, newest=limit)
        elif state is not None or missing is not None:
            asking.print_csv(
                lambda client, name: client.sequences(start, end, state=state, missing=missing, limit=limit, stream=name), where
            )
        else:
            asking.print_csv(lambda client, name: client.funnel(start, end, by=by, zone=zone, stream=name), where)
        return
    times = {"startTime": start, "endTime": end}
    if key is not None:
        body = asking.get(f"/keys/{quote(key, safe='')}", as_json=as_json)
        about, title = asking.about, visible(f"{asking.about['name']}: {key}")
        events = [_readable(each, about["timeUnit"], ("time",)) for each in body["events"][-limit:]]
        show_rows(f"{title}, {counted(len(body['events']), 'event')}", events, asking=asking, where="of this key")
    elif state is not None or missing is not None:
        body = asking.get("/sequences", as_json=as_json, **times, state=state, missing=missing, limit=limit)
        about, title, more = asking.about, visible(asking.about["name"]), "there are more: --limit" if "next" in body else None
        unit = about["timeUnit"]
        rows = [{**{name: row[name] for name in ("key", "state")}, **_texts(row["steps"], unit)} for row in body["sequences"]]
        show_rows(f"{title}: {counted(len(rows), 'sequence')}", rows, caption=more, asking=asking, where="of this kind")
    else:
        body = asking.get(as_json=as_json, **times, by=by, zone=zone)
        about, title = asking.about, visible(asking.about["name"])
        counts = ", ".join(f"{body[name]:,} {name}" for name in ("complete", "open", "lapsed"))
        rows = [{name: _seconds(name, value) for name, value in each.items()} for each in body["steps"]]
        show_rows(f"{title}: {counts}", [_readable(each, about["timeUnit"], ("start",)) for each in rows], asking=asking)


@app.command()
def streams(url: Url = HERE, as_json: AsJson = False) -> None:
    """Show every stream: its view, source, state, counts and time range."""
    with errors_as_exits():
        body = Client(url).streams()
    if as_json:
        print(json.dumps(body))
        return
    names = ("name", "view", "state", "source", "events", "collectors")
    rows = [{**{name: each[name] for name in names}, **_range(each["span"], each["timeUnit"])} for each in body["streams"]]
    show_rows(counted(len(rows), "stream"), rows)


@app.command()
def stats(stream: Stream = None, url: Url = HERE, as_json: AsJson = False) -> None:
    """Show the collectors of a stream, its memory and its counters."""
    asking = Asking(url, stream, "events")
    body = asking.get("/get-stats", as_json=as_json)
    memory = body["memory"]
    table = Table(title=f"{asking.about['name']}: {body['state']}, {counted(body['events'], 'event')}", show_footer=True)
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
    asking = Asking(url, stream, "events")
    body = asking.get("/rejects", as_json=as_json)
    if not body["rejects"]:
        print(f"{visible(asking.about['name'])}: {_no_rejects(asking.about)}")
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
        return empty(about, "refused", {})
    return f"no record was refused; {about['state']}"


def empty(about: Mapping[str, Any], where: str, stats: Mapping[str, Any]) -> str:
    """Return why a table is empty: nothing was read yet, and what to do about it; or where the stream has something.

    `stats` has what came of the records; it may be empty if the stream is in trouble or has answers.
    """
    trouble = about["trouble"]
    if trouble is not None:
        return visible(f"nothing {where}: {'; '.join(trouble['reasons'])}; next: {trouble['next']}")
    if not about["events"] and stats.get("records"):
        return visible(f"nothing {where}: none of {stats['records']:,} records of {about['source']} is an event{_lost(stats)}")
    if not about["events"]:
        return visible(f"nothing {where}: no event was read from {about['source']}; {about['state']}")
    if about["span"] is not None:
        start, end = (_bound(time, about["timeUnit"]) for time in about["span"])
        return f"nothing {where}; the stream holds {about['events']:,} events, and answers from {start} to {end}"
    absent = [step for step, count in stats.get("total", {}).get("waitingByStep", {}).items() if not count]
    which = f", none of step {' or '.join(absent)}" if absent else ""
    return visible(f"nothing {where}: {about['events']:,} events wait for a match{which}; {about['state']}")


def _lost(stats: Mapping[str, Any]) -> str:
    """Return what came of records that are no events."""
    rejects: Mapping[str, int] = stats["rejects"]
    parts = [f"{stats['other']:,} have no step of the configuration"] if stats["other"] else []
    if rejects:
        most = max(rejects, key=rejects.__getitem__)
        parts.append(f"{sum(rejects.values()):,} were refused, most often {most}; `query rejects` shows them")
    return f": {'; '.join(parts)}" if parts else ""


def _bound(time: int | None, unit: str) -> str:
    return "any time" if time is None else moment(time, unit)


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
