"""Coverage has no integer that stands for the absence of one: an unknown bound is null, in every view, state and format."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from actors.replies import Answer, Coverage, Query, Stats
from actors.sources.polled import Gap, Polled, Reason
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from gateway.api.formats import write
from gateway.api.params import UNITS
from gateway.coverage import coverage_header, coverage_of, coverage_within, span_of
from gateway.page.picture import picture
from gateway.routes.stats import stats_of
from gateway.stream import Served
from gateway.watch.readings import OF_STREAMS, Reading
from tests.support.listed import ListedSource
from tests.support.running import Stream, stream
from tests.support.samples import SAMPLES
from tests.support.waiting import until

BEYOND = 2**62
"""No time of these samples, and no count, is as large."""

SPANS = [EVER, Span(EVER.start, EVER.end - 1), Span(EVER.start, 5), Span(5, EVER.end), Span(5, 50)]


class GappedSource(ListedSource):
    """Has the gaps of `found` at its opening or, if `late`, behind its records; two partitions, one without records."""

    def __init__(self, values: list[bytes], found: list[Gap], *, late: bool) -> None:
        super().__init__(values)
        self._found = found
        self._late = late

    def poll(self, count: int, timeout_s: float) -> Polled:
        self._late = self._late and self._next < len(self._values)
        return super().poll(count, timeout_s)

    def gaps(self) -> list[Gap]:
        if self._late:
            return []
        found, self._found = self._found, []
        return found


REASONS: tuple[Reason, ...] = ("deleted", "recreated", "shrank", "interrupted")
STATES = {
    "nothing is read": (0, [], False),
    "records without a gap": (400, [], False),
    "gaps before the first record": (400, [Gap(0, 3, "deleted"), Gap(1, None, "recreated")], False),
    "gaps and no record": (0, [Gap(0, None, reason) for reason in REASONS] + [Gap(7, None, "recreated")], False),
    "gaps behind the records": (400, [Gap(0, None, reason) for reason in REASONS] + [Gap(1, 4, "deleted")], True),
    "fewer partitions than before": (400, [Gap(number, None, "recreated") for number in range(4)], True),
}


@pytest.fixture(params=[(view, state) for view in SAMPLES for state in STATES], ids=str)
def held(request: pytest.FixtureRequest) -> Iterator[tuple[Stream, str]]:
    """Yield a stream of each view in each state, and the name of its view."""
    name, state = request.param
    count, gaps, late = STATES[state]
    sample, values = (
        SAMPLES[name],
        [value for _, values in zip(range(400), SAMPLES[name].records(random.Random(1)), strict=False) for value in values],
    )
    records = values[:count]
    source: Callable[..., Any] = lambda *_, **__: GappedSource(records, list(gaps), late=late)  # noqa: E731  # it is a class elsewhere
    with stream("", "listed", source=source, view=VIEWS[name](**sample.options), max_aged=1) as running:
        until(
            lambda: (
                not (stats := running.stats()).starting and (stats.progress.records, len(stats.missing)) == (count, len(gaps))
            )
        )
        yield running, name


def integers(value: Any) -> list[int]:
    """Return every integer in a JSON value."""
    match value:
        case bool() | str() | float() | None:
            return []
        case int():
            return [value]
        case dict():
            return [each for member in value.values() for each in integers(member)]
        case _:
            return [each for member in value for each in integers(member)]


def shown(running: Stream, name: str) -> Iterator[Any]:
    """Yield everything that a client can see of the coverage, as JSON values."""
    stats: Stats = running.stats()
    served = Served("events", name, None, unit_of=lambda: "ms" if stats.view.timed else "batch")  # type: ignore[arg-type]  # not asked
    yield msgspec.to_builtins(stats_of(stats))
    yield picture(served, stats).now
    yield picture(served, stats).memory
    yield [[value for _, value in metric.read(Reading(served, stats, 1.0), stats)] for metric in OF_STREAMS]
    for span in SPANS:
        for arguments in SAMPLES[name].arguments:
            answer: Answer = running.ask(running.running.manager, lambda reply_to: Query(span, arguments, 10.0, reply_to))  # noqa: B023
            header, body = json.loads(coverage_header(answer.coverage)["Firnline-Coverage"]), coverage_of(answer.coverage)
            assert header == body
            yield body
            within = coverage_within(answer.coverage, span)
            yield json.loads(within["firnline.coverage"])
            yield [table_coverage(answer, within)]


def table_coverage(answer: Answer, within: dict[str, str]) -> Any:
    """Return the coverage in the metadata of an Arrow table."""
    pa = pytest.importorskip("pyarrow")
    with pa.ipc.open_stream(b"".join(write(answer, "arrow", {}, within))) as reader:
        return json.loads(reader.schema.metadata[b"firnline.coverage"])


def test_no_bound_is_an_integer_that_stands_for_none(held: tuple[Stream, str]):
    for found in shown(*held):
        assert not [number for number in integers(found) if not -BEYOND < number < BEYOND], found


def test_an_axis_that_is_no_time_has_no_watermark(held: tuple[Stream, str]):
    running, name = held
    stats = running.stats()
    if name == "segments":
        assert (stats.progress.watermark, stats.coverage.complete_to, stats.coverage.final_until) == (None, None, None)
        assert {span for _, span, _ in stats.missing} <= {EVER}
    assert stats.view.timed == (name != "segments")


@pytest.mark.parametrize("bound", [EVER.start, EVER.end - 1, EVER.end])
def test_the_ends_of_all_time_are_null_and_their_neighbours_are_not(bound: int):
    said = coverage_of(Coverage(bound, bound, bound, (Span(EVER.start, 7), Span(7, EVER.end - 1), Span(8, EVER.end))))
    assert said == {"completeFrom": None, "completeTo": None, "finalUntil": None, "missing": [[None, 7], [7, None], [8, None]]}
    assert span_of(Span(EVER.start + 1, EVER.end - 2)) == [EVER.start + 1, EVER.end - 2]
    assert span_of(None) is None
    assert UNITS.get("batch") is None, "batches have no unit of time"
