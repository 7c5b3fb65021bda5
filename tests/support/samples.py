"""A sample of each view: its options, random records, and questions. A run feeds the view as its actors do.

`SAMPLES` has one sample for each view. `VARIANTS` has these too, and samples whose slices reach less usual states.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from actors.durability.spool import Spool
from actors.records.form import Form, TimeAt
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views.funnel.arguments import Cursor, Listing, Story, Totals
from actors.views.kinds import VIEWS
from actors.views.segments.arguments import Listing as Batches
from actors.views.sets.arguments import Page
from actors.views.top.arguments import CLEAR_KEY, CLEAR_VALUE, Top
from actors.views.uniques.arguments import Rows
from actors.views.view import Due, Silence
from actors.views.words.arguments import Counting
from tests.support.polled import polled
from tests.support.rendered import rendered
from tests.support.trees import kept

Polls = Iterator[list[bytes]]


def of_sets(chance: random.Random, *, late: int = 0) -> Polls:
    time = 0
    while True:
        values = []
        for _ in range(chance.randrange(60)):
            time += chance.randrange(4)
            values.append(f"{chance.choice('RGB')}_{max(0, time - chance.choice([0, 0, late]))}".encode())
        yield values


def of_json_sets(chance: random.Random) -> Polls:
    """Yield the events of sets as JSON, with records of other kinds among them."""
    names = {"R": ["red"], "G": ["green", "verde"], "B": ["B"]}
    for values in of_sets(chance, late=20):
        records = []
        for value in values:
            step, time = value.decode().split("_")
            kind = "other" if chance.random() < 0.1 else chance.choice(names[step])
            stamp = datetime.fromtimestamp(int(time) / 1000, UTC).isoformat(timespec="milliseconds")
            records.append(json.dumps({"id": chance.randrange(9), "type": kind, "meta": {"ts": stamp}}).encode())
        yield records


def of_json(polls: Callable[[random.Random], Polls], shape: Callable[[Any], Any], chance: random.Random) -> Polls:
    """Yield the records of another sample with their members at other places, and some in an unusual form."""
    for values in polls(chance):
        records = []
        for value in values:
            given = json.loads(value) if value.startswith(b"{") else value.decode().split("_")
            record = json.dumps(shape(given), ensure_ascii=chance.random() < 0.5).encode()
            records.append(record if chance.random() < 0.9 else b" " + record.replace(b"a", b"\\u0061"))
        yield records


def of_top(chance: random.Random) -> Polls:
    while True:
        yield [f"id{chance.randrange(80)}_{chance.randrange(-50, 50)}".encode() for _ in range(chance.randrange(60))]


def of_top_with_clears(chance: random.Random) -> Polls:
    while True:
        values = [b"x" * chance.randrange(40) + b"%d_%d" % (chance.randrange(400), chance.randrange(10**6)) for _ in range(30)]
        yield [CLEAR_VALUE if chance.random() < 0.002 else value for value in values]


def of_segments(chance: random.Random) -> Polls:
    batch, waiting = 0, []
    while True:
        for _ in range(chance.randrange(6)):
            batch += 1
            for segment in range(3):
                data = sorted(chance.randrange(1_000) for _ in range(chance.randrange(5)))
                waiting.append(json.dumps({"batch_id": batch, "segment_id": segment, "data": data}).encode())
        chance.shuffle(waiting)
        cut = chance.randrange(len(waiting) + 1)
        yield waiting[:cut]
        waiting = waiting[cut:]


def of_repeated_segments(chance: random.Random) -> Polls:
    """Yield segments of 30 batches in any order, some of them twice, with the same numbers or with others."""
    while True:
        values = []
        for _ in range(chance.randrange(30)):
            batch, segment = chance.randrange(30), chance.randrange(3)
            same = random.Random(f"{batch} {segment} {chance.random() < 0.1}")
            data = sorted(same.randrange(-(2**40), 2**40) for _ in range(same.choice([0, 3, 90, 300])))
            values.append(json.dumps({"batch_id": batch, "segment_id": segment, "data": data}).encode())
        yield values


def of_uniques(chance: random.Random, *, frames: int = 60, users: int = 40, step_s: float = 20) -> Polls:
    time = 1_468_244_384.0
    while True:
        values = []
        for _ in range(chance.randrange(frames)):
            time += chance.expovariate(1 / step_s)
            late = chance.random() < 0.02
            frame = {"ts": time - (200 * step_s if late else 0), "uid": f"u{chance.randrange(users)}"}
            values.append(json.dumps(frame).encode())
        yield values


def of_words(chance: random.Random) -> Polls:
    time = 1_513_765_893.0
    while True:
        values = []
        for _ in range(chance.randrange(60)):
            time += chance.random() / 2
            data = " ".join(chance.choices(["lorem", "ipsum", "dolor", "ä"], k=chance.randrange(4)))
            late = chance.choice([0, 0, 0, chance.randrange(90)])
            values.append(json.dumps({"event_type": chance.choice("abc"), "data": data, "timestamp": time - late}).encode())
        yield values


def of_funnel(chance: random.Random, *, keys: int = 60, late: int = 0, other: int = 0, events: int = 35) -> Polls:
    """Yield events of orders as JSON: most follow their steps, and others come twice, too early, too late or late."""
    time, kinds = 1_700_000_000_000, ["created", "paid", "shipped", "other"]
    while True:
        values = []
        for _ in range(chance.randrange(events)):
            time += chance.randrange(9)
            kind = chance.choices(kinds, [4, 3, 2, other])[0]
            stamp = time - chance.choice([0, 0, late])
            key: int | str = chance.randrange(keys) if chance.random() < 0.5 else f"ä{chance.randrange(keys)}"
            record = json.dumps({"order": key, "type": kind, "at": stamp}, ensure_ascii=False).encode()
            values.append(record if chance.random() < 0.9 else b" " + record)
        yield values


@dataclass(frozen=True)
class Sample:
    """The options of a view, its records and questions, and how the answers of two spans make that of both."""

    view: str
    options: dict[str, Any]
    records: Callable[[random.Random], Polls]
    arguments: list[Any]
    halves: str = "joined"
    """The answers of two spans are "joined" as rows or "merged" as partial answers. "": no span is cut."""
    granule: int = 1
    """A span may be cut at multiples of this time."""
    epoch_records: int = 10**9
    """The topic is recreated after this many records."""
    constants: Mapping[str, int] = field(default_factory=dict)
    """Constants of modules, to be patched: small ones let small streams reach every branch."""


ROWS = [Rows("minute"), Rows("hour"), Rows("week"), Rows("year")]
COUNTS = [Counting("types"), Counting("words"), Counting("words", 2)]
FUNNEL = {
    "steps": ["created", "paid", "shipped"],
    "within": 150,
    "max_sequences": 25,
    "record": Form({"step": "/type", "key": "/order"}, TimeAt("/at", "ms")),
}
TOLD = [Totals(), Story("ä3".encode()), Story(b"5")]
SAMPLES = {
    "sets": Sample("sets", {"steps": ["R", "G", "B"], "max_sets": 40}, of_sets, [Page()]),
    "top": Sample("top", {}, of_top, [Top(), Top(7)], "merged"),
    "segments": Sample(
        "segments", {"segments": 3, "max_batches": 6, "spool": Spool(None), "spill_bytes": 400}, of_segments, [Batches()]
    ),
    "uniques": Sample("uniques", {"zone": "Europe/Berlin", "max_cells": 60}, of_uniques, ROWS),
    "words": Sample("words", {"max_pairs": 60}, of_words, COUNTS, "merged", granule=1_000),
    "funnel": Sample("funnel", FUNNEL, of_funnel, [Listing(), Listing(key=b"7")], "joined"),
}
_SMALL = {"CHUNK": 4, "OPEN_SETS": 8}
_CHUNKS = {
    **{f"actors.views.sets.slices.{name}": value for name, value in _SMALL.items()},
    "actors.columns.column.CHUNK": 8,
    "actors.columns.column._SEAL_AT": 24,
}
JSON_SETS = Form({"step": "/type"}, TimeAt("/meta/ts", "rfc3339"), "ms", {"R": ["red"], "G": ["green", "verde"]})
JSON = {
    "top": (of_top, lambda given: {"it": {"name": given[0]}, "n": int(given[1])}, Form({"id": "/it/name", "value": "/n"})),
    "segments": (
        of_segments,
        lambda given: [given["data"], {"b": given["batch_id"], "s": given["segment_id"]}],
        Form({"batch": "/1/b", "segment": "/1/s", "data": "/0"}),
    ),
    "uniques": (
        of_uniques,
        lambda given: {"by": {"id": given["uid"]}, "at": given["ts"]},
        Form({"user": "/by/id"}, TimeAt("/at", "s")),
    ),
    "words": (
        of_words,
        lambda given: {"k": given["event_type"], "t": given["data"], "at": given["timestamp"]},
        Form({"type": "/k", "text": "/t"}, TimeAt("/at", "s")),
    ),
}
_TABLE = {"_KEPT_CANDIDATES": 8, "_MOST_CANDIDATES": 40, "_LEAST": 16}
VARIANTS = {
    **SAMPLES,
    "late sets in small chunks": Sample(
        "sets", {"steps": ["R", "G", "B"], "max_sets": 50}, partial(of_sets, late=40), [Page(), Page(5)], "", constants=_CHUNKS
    ),
    "sets within a time": Sample(
        "sets",
        {"steps": ["R", "G", "B"], "max_sets": 30, "within": 25},
        partial(of_sets, late=30),
        [Page(), Page(5)],
        "",
        constants=_CHUNKS | {f"actors.views.sets.within.slices.{name}": value for name, value in _SMALL.items()},
    ),
    "sets of JSON records": Sample(
        "sets", {"steps": ["R", "G", "B"], "max_sets": 40, "record": JSON_SETS}, of_json_sets, [Page()]
    ),
    **{
        f"{name} of JSON records": replace(
            SAMPLES[name], options={**SAMPLES[name].options, "record": form}, records=partial(of_json, records, shape)
        )
        for name, (records, shape, form) in JSON.items()
    },
    "totals of a funnel": Sample(
        "funnel",
        FUNNEL,
        partial(of_funnel, events=60),
        [Totals(), Totals("minute"), Totals("day", "Europe/Berlin")],
        "merged",
        granule=86_400_000,
    ),
    "late events of a funnel": Sample(
        "funnel",
        FUNNEL | {"within": 400},
        partial(of_funnel, keys=15, late=300, other=1, events=60),
        [Listing(limit=5), Listing("open"), Listing("lapsed", 2), Listing(missing=1, limit=3, after=Cursor(0, 0, 0)), *TOLD],
        "",
        constants={"actors.views.funnel.pieces.PIECE_ROWS": 16, "actors.views.funnel.store._ALWAYS": 20},
    ),
    "a funnel with a step twice": Sample(
        "funnel",
        FUNNEL | {"steps": ["created", "paid", "created"], "labels": ["created", "paid", "created_2"]},
        partial(of_funnel, keys=25, late=200, other=1, events=60),
        [Listing(limit=5), Listing("open"), Listing("lapsed", 2), Totals(), *TOLD],
        "",
        constants={"actors.views.funnel.pieces.PIECE_ROWS": 16, "actors.views.funnel.store._ALWAYS": 20},
    ),
    "top with clears": Sample(
        "top",
        {},
        of_top_with_clears,
        [Top(), Top(3), Top(50), Top(7, values=True)],
        "merged",
        epoch_records=200,
        constants={f"actors.views.top.table.{name}": value for name, value in _TABLE.items()},
    ),
    "repeated segments": Sample(
        "segments",
        {"segments": 3, "max_batches": 5, "spool": Spool(None), "spill_bytes": 3_000},
        of_repeated_segments,
        [Batches(), Batches(pending=True), Batches(after=3, limit=2)],
        "",
        epoch_records=200,
    ),
    "estimated uniques": Sample(
        "uniques", {"zone": "Asia/Kolkata", "max_cells": 150, "exact_users": 8}, partial(of_uniques, step_s=300), ROWS
    ),
    "many uniques": Sample(
        "uniques",
        {"zone": "America/New_York", "max_hashes": 20_000},
        partial(of_uniques, frames=900, users=5_000, step_s=0.3),
        ROWS,
    ),
}


class Run:
    """A view that is fed as actors feed it: full slices are frozen, and due results are published.

    The slices are `aged` and `live`; `gone` is the summary of those that were dropped.
    """

    def __init__(self, name: str) -> None:
        self.sample = VARIANTS[name]
        self.view: Any = VIEWS[self.sample.view](**self.sample.options)
        self.live = self.view.open(None)
        self.aged: list[Any] = []
        self.gone = self.view.nothing()
        self.records = self.events = self.dropped = 0
        self.lost: Counter[str] = Counter()
        self.published: list[bytes] = []

    @property
    def parts(self) -> list[Any]:
        return [*self.aged, self.live]

    def poll(self, values: Sequence[bytes], *, idle: bool) -> None:
        keys = {place: CLEAR_KEY for place, value in enumerate(values) if value == CLEAR_VALUE}
        records = polled(values, first=self.records, keys=keys, epoch=self.records // self.sample.epoch_records)
        times, batch, accepted, refusals = self.view.decode(records)
        left = 0 if accepted is None else len(values) - int(accepted.sum()) - len(refusals)
        assert left >= 0
        assert left == 0 or "record" in self.sample.options, "only a view with names counts records as others"
        self.records += len(values)
        self.events += times.size
        watermark = int(times.max()) if times.size else None
        if times.size:
            self.lost.update(self.live.add(batch.ordered() if isinstance(batch, Batch) else batch, watermark))
        due = self.live.close(watermark, Silence(watermark) if idle else None)
        if due is not None:
            self.published.append(self._results(due))
            assert self.published[-1].endswith(b"\n") or (self.sample.view == "funnel" and not self.published[-1])

    def _results(self, due: Due) -> bytes:
        asked = [] if due.arguments is None else [part.read(due.span, due.arguments) for part in self.parts]
        return b"".join(self.view.publish(self.view.merge([due.partial, *asked]), due))

    def age(self, chance: random.Random) -> None:
        while self.live.full:
            self.freeze()
            while chance.random() < 0.5 and self.aged[-1].settle():
                pass

    def freeze(self) -> None:
        frozen, carry = self.live.freeze()
        self.aged.append(frozen)
        self.live = self.view.open(carry)

    def finish(self) -> None:
        """Freeze the live slice if the view can, and compress and coarsen every frozen slice."""
        if self.sample.view != "top":
            self.freeze()
        for frozen in self.aged:
            while frozen.settle():
                pass
            frozen.coarsen()

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        shed = self.live.shed(nbytes)
        self.lost.update(shed[0])
        return shed

    def drop(self) -> None:
        meta = self.aged.pop(0).meta()
        self.gone, self.dropped = self.gone.then(meta.summary), self.dropped + meta.events

    def restart(self) -> None:
        """Continue with what a checkpoint keeps of the slices."""
        *self.aged, self.live = [self.restored(part, kept(part.state())) for part in self.parts]
        self.gone = self.view.summary(kept(self.gone.state()))

    def restored(self, part: Any, state: Any) -> Any:
        return self.view.revive(state) if part is self.live else self.view.thaw(state)

    def merged(self, span: Span, arguments: Any, parts: Sequence[Any] | None = None) -> Any:
        found = [part.read(span, arguments) for part in (self.parts if parts is None else parts)]
        return self.view.merge([self.view.recall(self.gone, span, arguments), *found])

    def shown(self, partial: Any, span: Span, arguments: Any, form: str = "json") -> bytes:
        return b"".join(rendered(self.view, partial, span, arguments, form, {}))

    def answers(self, *spans: Span, parts: Sequence[Any] | None = None) -> list[bytes]:
        """Return the answers to all questions for each of `spans`, by default for all time."""
        asked = [(span, each) for span in spans or (EVER,) for each in self.sample.arguments]
        return [self.shown(self.merged(span, each, parts), span, each) for span, each in asked]

    def hull(self) -> Span:
        spans = [span for part in self.parts if (span := part.meta().span) is not None]
        return Span(min(span.start for span in spans), max(span.end for span in spans)) if spans else Span(0, 10)

    def cuts(self) -> list[int]:
        hull, granule = self.hull(), self.sample.granule
        return [(hull.start + (hull.end - hull.start) * tenth // 10) // granule * granule for tenth in range(12)]

    def spans(self) -> list[Span]:
        cuts = self.cuts()
        return [EVER, *(Span(start, end) for start, end in zip(cuts, cuts[2:], strict=False))]


def fed(name: str, seed: int, polls: int = 20) -> Run:
    """Return a run of a sample after some polls of a random stream."""
    chance, run = random.Random(seed), Run(name)
    records = run.sample.records(chance)
    for _ in range(polls):
        run.poll(next(records), idle=chance.random() < 0.1)
        run.age(chance)
    return run


def patch_constants(name: str, patch: pytest.MonkeyPatch) -> None:
    """Patch the constants of a sample."""
    for constant, value in VARIANTS[name].constants.items():
        patch.setattr(constant, value)
