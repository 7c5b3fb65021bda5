"""Segments of a batch, in any order of arrival, are merged to one sorted line: the same as sorting plain lists."""

import gc
import json
import random
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns import snapshot
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.durability.spool import Spool
from actors.timeline.span import EVER, Span
from actors.views.segments import decode as decode_module
from actors.views.segments.arguments import Listing
from actors.views.segments.carry import RECENT
from actors.views.segments.id_set import IdSet
from actors.views.segments.runs import merging
from actors.views.segments.runs.merging import Result, lines, merged
from actors.views.segments.runs.run import EMPTY, Raw, Run, RunBuilder, Sealed, Spooled, raw_runs, run_of
from actors.views.segments.view import SegmentsTotal, SegmentsView
from actors.views.view import Silence
from tests.support.polled import polled
from tests.support.rendered import rendered
from tests.support.trees import kept

ALL = Listing()
PENDING = Listing(pending=True)


def record(batch: Any, segment: Any, data: Any, **other: Any) -> bytes:
    return json.dumps({"batch_id": batch, "segment_id": segment, "data": data, **other}).encode()


def line(numbers: Iterable[int]) -> bytes:
    return b", ".join(b"%d" % number for number in sorted(numbers)) + b"\n"


class Feed:
    """A view with its slices, fed poll by poll. Collects the published lines and the lost events."""

    def __init__(self, *, segments: int = 3, max_batches: int = 100_000, spill_bytes: int = 32 << 20):
        self.spool = Spool()
        weakref.finalize(self, self.spool.close)
        self.view = SegmentsView(segments=segments, max_batches=max_batches, spill_bytes=spill_bytes, spool=self.spool)
        self.live = self.view.open(None)
        self.frozen: list[Any] = []
        self.output = b""
        self.published: list[tuple[int, int]] = []
        self.orders: list[int] = []
        self.lost: dict[str, int] = {}
        self.refused: list[str] = []
        self.taken = 0

    def add(self, *values: bytes | None, epoch: int = 0) -> dict[str, int]:
        decoded = self.view.decode(polled(list(values), epoch=epoch))
        self.refused += [refusal.reason for refusal in decoded.refusals]
        assert len(decoded.times) == decoded.batch.count == len(values) - len(decoded.refusals)
        self.taken += decoded.batch.count
        lost = dict(self.live.add(decoded.batch, None))
        for reason, count in lost.items():
            self.lost[reason] = self.lost.get(reason, 0) + count
        self.check()
        return lost

    def close(self) -> bytes:
        due = self.live.close(None, None)
        if due is None:
            return b""
        text = b"".join(self.view.publish(self.view.merge([due.partial]), due))
        assert b"".join(self.view.publish(due.partial, due)) == text
        for result in due.partial:
            self.published.append((result.epoch, result.batch_id))
            self.orders.append(result.order)
            assert due.span.start <= result.batch_id < due.span.end
        self.output += text
        return text

    def freeze(self, *, settle: int = 100) -> None:
        frozen, carry = self.live.freeze()
        while settle and frozen.settle():
            settle -= 1
        self.frozen.append(frozen)
        self.live = self.view.open(carry)

    def check(self) -> None:
        self.live._check()
        held = sum(part.meta().events for part in [*self.frozen, self.live])
        assert self.taken == held + sum(self.lost.values())

    def answer(self, arguments: Listing = ALL, span: Span = EVER, form: str = "json") -> Any:
        parts = [*self.frozen, self.live]
        chosen = self.view.select([part.meta() for part in parts], span, arguments)
        partial = self.view.merge([parts[index].read(span, arguments) for index in chosen])
        text = b"".join(rendered(self.view, partial, span, arguments, form, {}))
        return json.loads(text) if form == "json" else text


def test_a_batch_is_published_as_one_sorted_line_when_its_last_segment_arrives():
    feed = Feed()
    assert feed.add(record(1, 0, [1, 3]), record(1, 2, [1, 9])) == {}
    assert feed.close() == b""
    feed.add(record(1, 1, [-5, 3]))
    assert feed.close() == b"-5, 1, 1, 3, 3, 9\n"
    assert feed.close() == b""
    assert feed.answer() == {"segments": [{"batch": 1, "epoch": 0, "order": 1, "count": 6, "first": -5, "last": 9}]}


def test_ten_segments_are_the_default():
    feed = Feed()
    view = SegmentsView(spool=feed.spool)
    batch = view.decode(polled([record(7, place, [place]) for place in range(10)])).batch
    live = view.open(None)
    live.add(batch, None)
    due = live.close(None, Silence(None))
    assert due is not None
    assert b"".join(view.publish(due.partial, due)) == b"0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
    assert view.decode(polled([record(7, 10, [])])).refusals == [(0, "segment_out_of_range")]


def test_runs_of_many_pieces_are_merged_with_duplicates_and_without_empty_blocks():
    def run(*pieces: list[int]) -> Run:
        data = tuple(Raw(np.array(piece, np.int64).tobytes()) for piece in pieces)
        return run_of(sum(map(len, pieces)), pieces[0][0], pieces[-1][-1], 0, data)

    # Equal numbers at the end of one piece and the start of the next one, and runs that end early.
    runs = [run([1, 3, 3], [3, 9], [9, 9]), run([2], [3], [4, 20]), run([-5, 0]), EMPTY, run([3, 3], [21])]
    blocks = [block.tolist() for block in merged(runs)]
    assert blocks == [[-5, 0, 1, 2], [3, 3, 3, 3, 3], [3, 4, 9], [9, 9, 20, 21]]


def test_a_batch_of_empty_segments_is_an_empty_line_and_has_no_first_number():
    feed = Feed()
    feed.add(*(record(5, place, []) for place in range(3)), *(record(6, place, []) for place in range(2)))
    feed.add(record(6, 2, [0]))
    assert feed.close() == b"\n0\n"
    assert [(row["count"], row["first"], row["last"]) for row in feed.answer()["segments"]] == [(0, None, None), (1, 0, 0)]


def test_the_extremes_of_int64_are_exact():
    numbers = [[INT64_MIN, INT64_MIN, -1], [], [0, INT64_MAX]]
    feed = Feed()
    for batch in (INT64_MIN, INT64_MAX):
        feed.add(*(record(batch, place, data) for place, data in enumerate(numbers)))
    assert feed.close() == 2 * line(chain.from_iterable(numbers))
    before = feed.answer()
    assert before["segments"][0]["first"] == INT64_MIN
    assert before["segments"][1]["batch"] == INT64_MAX
    feed.freeze()
    assert feed.answer() == before


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        (b"[" * 100_000, "not_object"),
        (b'{"x":' + b"[" * 1_000_000, "not_json"),
        (b"[1]", "not_object"),
        (b"null", "not_object"),
        (b'{"segment_id":1,"data":[]}', "no_batch_id"),
        (b"{}", "no_batch_id"),
        (b'{"b":1,"s":1}', "expected JSON with batch_id, segment_id and data, got other members: use record.format"),
        (b'{"batch_id":1,"data":[]}', "no_segment_id"),
        (b'{"batch_id":1,"segment_id":1}', "no_data"),
        (record("1", 1, []), "wrong_batch_id"),
        (record(1.0, 1, []), "wrong_batch_id"),
        (record(2**63, 1, []), "wrong_batch_id"),
        (record(True, 1, []), "wrong_batch_id"),
        (record(1, None, []), "wrong_segment_id"),
        (record(1, 3, [1]), "segment_out_of_range"),
        (record(1, -1, [1]), "segment_out_of_range"),
        (record(1, 10**30, [1]), "segment_out_of_range"),
        (record(1, 1, "[1]"), "wrong_data"),
        (record(1, 1, None), "wrong_data"),
        (record(1, 1, {"0": 1}), "wrong_data"),
        (record(1, 1, [1.0]), "wrong_number"),
        (record(1, 1, [1, None]), "wrong_number"),
        (record(1, 1, [[1]]), "wrong_number"),
        (record(1, 1, ["1"]), "wrong_number"),
        (record(1, 1, [True]), "wrong_number"),
        (record(1, 1, [1, 2**63]), "wrong_number"),
        (record(1, 1, [-(2**63) - 1]), "wrong_number"),
        (record(1, 1, [2**80]), "wrong_number"),
        (b'{"batch_id":1,"segment_id":1,"data":[' + b"9" * 9_000 + b"]}", "wrong_number"),
        (record(1, 1, [2, 1]), "unsorted"),
    ],
)
@pytest.mark.parametrize("long_from", [decode_module.LONG_BYTES, 0])
def test_an_invalid_record_is_refused_with_its_reason(
    value: bytes | None, reason: str, long_from: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(decode_module, "LONG_BYTES", long_from)
    monkeypatch.setattr(decode_module, "_BLOCK_BYTES", 4)
    feed = Feed()
    feed.add(record(1, 0, [5]), value, record(1, 2, [4]))
    assert feed.refused == [reason]
    feed.add(record(1, 1, [3]))
    assert feed.close() == b"3, 4, 5\n"


def test_refusals_name_the_place_and_the_rest_keeps_its_order():
    feed = Feed()
    values = [record(1, 0, [2, 1]), record(2, 0, []), b"", record(3, 0, [3]), record(4, 1, [4, 5, 3]), record(5, 2, [9])]
    decoded = feed.view.decode(polled(values, epoch=4))
    assert decoded.refusals == [(0, "unsorted"), (2, "empty"), (4, "unsorted")]
    assert decoded.accepted is not None
    assert decoded.accepted.tolist() == [False, True, False, True, False, True]
    assert decoded.times.tolist() == [2, 3, 5]
    assert decoded.batch.epoch == 4
    assert [run.count for run in decoded.batch.runs] == [0, 1, 1]
    assert (decoded.batch.first(), decoded.batch.last()) == (2, 5)
    assert feed.view.decode(polled([record(1, 0, [1])])).accepted is None
    nothing = feed.view.decode(polled([]))
    assert (nothing.batch.count, nothing.batch.first(), nothing.batch.last()) == (0, None, None)


NUMBERS = st.lists(st.integers(INT64_MIN, INT64_MAX), max_size=40).map(sorted)


@given(st.lists(NUMBERS, max_size=8), st.integers(1, 60), st.sampled_from([None, (",", ":"), (" ,\n", " : ")]))
def test_a_record_is_decoded_to_the_same_run_at_any_block_size(
    lists: list[list[int]], size: int, separators: tuple[str, str] | None
):
    values = [json.dumps({"batch_id": 1, "segment_id": 0, "data": data}, separators=separators).encode() for data in lists]
    view = Feed().view
    whole = view.decode(polled(values)).batch.runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_module, "LONG_BYTES", 0)
        patch.setattr(decode_module, "_BLOCK_BYTES", size)
        parts = view.decode(polled(values)).batch.runs
    for one, other, data in zip(whole, parts, lists, strict=True):
        assert (one.count, one.first, one.last, one.digest) == (other.count, other.first, other.last, other.digest)
        for run in (one, other):
            assert [number for piece in run.pieces for number in piece.open().tolist()] == data


@pytest.mark.parametrize("text", [b"[1,]", b"[,1]", b"[1,,2]", b"[1],[2]", b"[[1,2]]", b'["1,2"]', b"[1 2]", b"1,2", b"[", b""])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_invalid_list_is_refused_at_any_block_size(text: bytes, size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode_module, "_BLOCK_BYTES", size)
    with pytest.raises(decode_module.UNREADABLE):
        list(decode_module._blocks(memoryview(text)))


EDGES = (INT64_MIN, -(2**31) - 1, -(2**31), -1, 0, 2**31 - 1, 2**31, INT64_MAX)


@given(st.lists(st.lists(st.sampled_from(EDGES), max_size=4).map(sorted), min_size=3, max_size=3), st.booleans())
def test_numbers_of_32_and_of_64_bits_are_merged_and_saved_alike(lists: list[list[int]], spills: bool):
    feed = Feed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.views.segments.runs.run.SPILL_FROM_BYTES", 0 if spills else 512)
        feed.add(record(7, 0, lists[0]), record(7, 1, lists[1]))
        if spills:
            feed.live.shed(1 << 30)
    state = kept(feed.live.state())
    saved = b"".join(map(bytes, state["carry"]["runs"]["data"]))
    assert saved == np.array([*lists[0], *lists[1]], np.int64).tobytes(), "a file has 64 bits of each number"
    again = feed.view.revive(state)
    for live in (feed.live, again):
        live.add(feed.view.decode(polled([record(7, 2, lists[2])])).batch, None)
        due = live.close(None, None)
        assert due is not None
        assert b"".join(feed.view.publish(due.partial, due)) == ", ".join(map(str, sorted(chain(*lists)))).encode() + b"\n"


def made(numbers: list[int], kind: type[Raw | Sealed]) -> Run:
    """Return a run of `numbers`: compressed, or raw with 32 or 64 bits."""
    data = np.array(numbers, np.int64)
    if kind is Sealed:
        builder = RunBuilder(Spool())
        assert builder.extend(data)
        return builder.run()
    (run,) = raw_runs(data, np.array([0]), np.array([data.size]))
    assert run is not None
    return run


SOME = st.lists(st.integers(0, 10**9) | st.integers(0, 99) | st.sampled_from(EDGES), max_size=6).map(sorted)
BATCH = st.lists(
    st.tuples(st.lists(st.integers(0, 99), max_size=6).map(sorted) | SOME, st.sampled_from([Raw, Sealed])), min_size=1
)


@given(st.lists(BATCH, max_size=8), st.integers(1, 20))
def test_batches_of_any_kinds_of_runs_are_written_as_sorted_lines(
    batches: list[list[tuple[list[int], type[Raw | Sealed]]]], at_once: int
):
    results = [Result(0, number, number + 1, tuple(made(*each) for each in batch)) for number, batch in enumerate(batches)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "AT_ONCE", at_once)
        written = b"".join(lines(results))
    assert written == b"".join(line(chain.from_iterable(numbers for numbers, _ in batch)) for batch in batches)


@given(NUMBERS, NUMBERS)
def test_different_contents_have_different_digests(one: list[int], other: list[int]):
    runs = Feed().view.decode(polled([record(1, 0, one), record(1, 0, other)])).batch.runs
    assert (runs[0].digest == runs[1].digest) == (one == other)


@given(st.binary(max_size=60), st.integers(0, 2**32))
def test_corrupted_records_are_decoded_or_refused_alike_at_any_block_size(junk: bytes, seed: int):
    chance = random.Random(seed)
    broken = bytearray(record(3, 1, sorted(chance.randrange(-50, 1_000) for _ in range(12)), more={"a": [None, "x"]}))
    for _ in range(chance.randrange(1, 4)):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    cut = bytes(broken[: chance.randrange(len(broken))])
    feed = Feed()
    seen = []
    for length, size in ((16_384, 512), (0, 512), (0, 5)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decode_module, "LONG_BYTES", length)
            patch.setattr(decode_module, "_BLOCK_BYTES", size)
            decoded = feed.view.decode(polled([junk, bytes(broken), cut]))
            seen.append([(run.digest, run.count) for run in decoded.batch.runs])
    assert seen[0] == seen[1] == seen[2]


def test_a_repeated_segment_is_a_duplicate_or_a_conflict_if_its_numbers_differ():
    feed = Feed()
    feed.add(record(1, 0, [1, 2]))
    assert feed.add(record(1, 0, [1, 2]), record(1, 0, [1, 3]), record(1, 0, [])) == {"duplicate": 1, "conflict": 2}
    feed.add(record(1, 1, []), record(1, 2, [0]))
    assert feed.add(record(1, 1, []), record(1, 1, [0])) == {"duplicate": 1, "conflict": 1}
    feed.freeze()
    assert feed.add(record(1, 2, [0]), record(1, 2, [1])) == {"duplicate": 1, "conflict": 1}
    assert feed.close() == b"0, 1, 2\n"
    assert feed.close() == b""


def test_a_repeated_segment_of_an_old_batch_is_a_duplicate_with_any_numbers():
    feed = Feed(segments=1)
    feed.add(*(record(batch, 0, [batch]) for batch in range(RECENT + 1)))
    assert feed.add(record(0, 0, [77]), record(1, 0, [77])) == {"duplicate": 1, "conflict": 1}
    feed.freeze()
    assert feed.add(record(0, 0, [77]), record(1, 0, [77])) == {"duplicate": 1, "conflict": 1}


def test_a_recreated_topic_drops_pending_batches_and_starts_a_new_epoch():
    feed = Feed()
    feed.add(*(record(1, place, [place]) for place in range(3)), record(2, 0, [5]), record(3, 0, [6]))
    assert feed.add(record(1, 0, [8]), epoch=2) == {"topic_recreated": 2}
    assert feed.add(record(2, 1, [1]), record(2, 2, [1]), epoch=1) == {"topic_recreated": 2}
    assert feed.answer(PENDING) == {"pending": [{"batch": 1, "epoch": 2, "missing": [1, 2]}]}
    feed.add(record(1, 1, [8]), record(1, 2, [9]), epoch=2)
    assert feed.close() == b"0, 1, 2\n8, 8, 9\n"
    feed.freeze()
    assert [(row["epoch"], row["batch"], row["order"]) for row in feed.answer()["segments"]] == [(0, 1, 1), (2, 1, 2)]
    assert feed.answer(Listing(after=0))["segments"] == feed.answer()["segments"][1:]
    assert feed.answer(Listing(after=1)) == {"segments": []}


def test_a_poll_without_segments_may_begin_an_epoch():
    feed = Feed()
    feed.add(record(1, 0, [1]))
    assert feed.add(epoch=1) == {"topic_recreated": 1}
    assert feed.add(b"junk", epoch=0) == {}


def test_a_slice_is_full_at_its_limit_and_the_next_one_continues_the_order():
    feed = Feed(segments=1, max_batches=2)
    for batch in range(7):
        feed.add(record(batch, 0, [batch]))
        if feed.live.full:
            feed.freeze()
    assert [frozen.meta().events for frozen in feed.frozen] == [2, 2, 2]
    feed.close()
    assert feed.orders == [1, 2, 3, 4, 5, 6, 7]


def test_answers_are_limited_and_begin_after_a_batch():
    feed = Feed(segments=2)
    for batch in (9, 3, 5, 7):
        feed.add(record(batch, 0, [1]), record(batch, 1, []))
        if batch == 3:
            feed.freeze()
    feed.add(record(4, 1, []), record(6, 0, []), record(2, 1, []))

    def batches(**arguments: Any) -> list[int]:
        (rows,) = feed.answer(Listing(**arguments)).values()
        return [row["batch"] for row in rows]

    assert batches() == [3, 5, 7, 9]
    assert batches(limit=3) == [3, 5, 7]
    assert batches(after=4, limit=1) == [5]
    assert batches(after=9) == []
    assert batches(limit=0) == []
    assert batches(pending=True) == [2, 4, 6]
    assert batches(pending=True, after=2, limit=1) == [4]
    assert feed.answer(PENDING)["pending"][1] == {"batch": 4, "epoch": 0, "missing": [0]}
    assert feed.answer(span=Span(4, 8), form="ndjson").count(b"\n") == 2
    assert feed.answer(PENDING, form="ndjson").splitlines()[0] == b'{"batch":2,"epoch":0,"missing":[0]}'


def test_members_are_written_at_the_end_of_the_object():
    feed = Feed(segments=1)
    for expected in (
        b'{"segments":[],"x":1}',
        b'{"segments":[{"batch":1,"epoch":0,"order":1,"count":0,"first":null,"last":null}],"x":1}',
    ):
        partial = feed.live.read(EVER, ALL)
        assert b"".join(rendered(feed.view, partial, EVER, ALL, "json", {"x": 1})) == expected
        feed.add(record(1, 0, []))


def test_a_long_answer_comes_in_bounded_blocks():
    feed = Feed(segments=1)
    feed.add(*(record(batch, 0, [batch]) for batch in range(20_000)))
    feed.freeze()
    feed.add(*(record(batch, 0, [batch]) for batch in range(20_000, 20_100)))
    partial = feed.view.merge([part.read(EVER, ALL) for part in (feed.live, *feed.frozen)])
    blocks = list(rendered(feed.view, partial, EVER, ALL, "ndjson", {}))
    assert max(map(len, blocks)) < 128 << 10
    assert [json.loads(row)["batch"] for row in b"".join(blocks).splitlines()] == list(range(20_100))
    assert feed.frozen[0].meta().nbytes < 20_000 * 8


def run_of_chance(chance: random.Random) -> list[int]:
    size = chance.choice([0, 1, 2, 10, chance.randrange(200)])
    width = chance.choice([3, 1_000, 2**62])
    return sorted(chance.randrange(-width, width) for _ in range(size))


class Oracle:
    """The expected results with plain lists: segments by batch, and a line once a batch has all of them."""

    def __init__(self, segments: int):
        self.segments = segments
        self.epoch = 0
        self.kept: dict[int, dict[int, list[int]]] = {}
        self.done: set[int] = set()
        self.lines: list[tuple[tuple[int, int], bytes]] = []
        self.lost: Counter[str] = Counter()

    def recreate(self, epoch: int) -> None:
        self.lost["topic_recreated"] += sum(len(self.kept[batch]) for batch in self.waiting())
        self.epoch, self.kept, self.done = epoch, {}, set()

    def waiting(self) -> list[int]:
        return sorted(set(self.kept) - self.done)

    def missing(self, batch: int) -> list[int]:
        return [place for place in range(self.segments) if place not in self.kept[batch]]

    def add(self, epoch: int, batch: int, place: int, data: list[int]) -> None:
        before = self.kept.get(batch, {}).get(place)
        if epoch < self.epoch:
            self.lost["topic_recreated"] += 1
        elif before is not None:
            self.lost["duplicate" if before == data else "conflict"] += 1
        else:
            self.kept.setdefault(batch, {})[place] = data
            if not self.missing(batch):
                self.done.add(batch)
                self.lines.append(((epoch, batch), line(chain.from_iterable(self.kept[batch].values()))))


def freeze_and_compare(feed: Feed, settle: int) -> None:
    asked = [(ALL, EVER), (PENDING, EVER), (ALL, Span(-20, 20)), (Listing(after=3, limit=2), EVER)]
    before = [feed.answer(*each) for each in asked]
    feed.freeze(settle=settle)
    assert [feed.answer(*each) for each in asked] == before
    feed.check()


@pytest.mark.parametrize("seed", range(12))
def test_every_batch_is_published_once_in_order_of_completion(seed: int):
    chance = random.Random(seed)
    oracle = Oracle(chance.choice([1, 2, 3, 10]))
    feed = Feed(
        segments=oracle.segments, max_batches=chance.choice([3, 10, 1_000]), spill_bytes=chance.choice([0, 2_000, 1 << 20])
    )
    coming: list[tuple[int, int]] = []
    for _ in range(chance.randrange(20, 120)):
        epoch = oracle.epoch
        if chance.random() < 0.03:
            epoch += chance.randrange(1, 3)
            oracle.recreate(epoch)
        elif epoch and chance.random() < 0.03:
            epoch -= 1
        values = []
        for _ in range(chance.randrange(12)):
            while len(coming) < 12 * oracle.segments:
                batch = chance.randrange(-60, 60)
                coming += [(batch, place) for place in range(oracle.segments)]
                chance.shuffle(coming)
            batch, place = coming.pop()
            again = oracle.kept.get(batch, {}).get(place)
            data = again if again is not None and chance.random() < 0.6 else run_of_chance(chance)
            values.append(record(batch, place, data))
            oracle.add(epoch, batch, place, data)
        feed.add(*values, epoch=epoch)
        if chance.random() < 0.2:
            feed.close()
        if feed.live.full or chance.random() < 0.1:
            freeze_and_compare(feed, chance.randrange(4))
        if chance.random() < 0.2:
            assert feed.live.shed(chance.randrange(5_000)) == ({}, None)
            feed.check()
        waiting = [(row["batch"], row["missing"]) for row in feed.answer(PENDING)["pending"]]
        assert waiting == [(batch, oracle.missing(batch)) for batch in oracle.waiting()]
        rows = [(row["epoch"], row["batch"]) for row in feed.answer()["segments"]]
        assert rows == sorted(name for name, _ in oracle.lines)
    feed.close()
    assert feed.published == [name for name, _ in oracle.lines]
    assert feed.orders == list(range(1, len(oracle.lines) + 1))
    assert feed.output == b"".join(text for _, text in oracle.lines)
    assert feed.lost == +oracle.lost
    total = feed.view.nothing()
    for part in [*feed.frozen, feed.live]:
        total = total.then(part.meta().summary)
    numbers = sum(len(text.split(b",")) for _, text in oracle.lines if text != b"\n")
    assert (total.finished, total.pending, total.numbers) == (len(oracle.lines), len(oracle.waiting()), numbers)


def test_the_span_of_a_slice_is_the_hull_of_its_batches():
    feed = Feed(segments=2)
    assert feed.live.meta().span is None
    feed.add(record(50, 0, []), record(7, 0, []))
    assert feed.live.meta().span == Span(7, 51)
    feed.add(record(7, 1, []))
    assert feed.live.meta().span == Span(7, 51)
    feed.freeze()
    assert feed.frozen[0].meta().span == Span(7, 8)
    assert feed.live.meta().span == Span(50, 51)
    feed.add(record(50, 1, []), record(60, 0, []))
    feed.add(epoch=1)
    assert feed.live.meta().span == Span(50, 51)
    feed.freeze()
    assert feed.live.meta().span is None


def test_a_row_of_the_stats_counts_batches_numbers_and_bytes_on_disk():
    feed = Feed(segments=2, spill_bytes=0)
    feed.add(record(1, 0, [1, 2]), record(1, 1, [3]), record(2, 0, list(range(200))))
    feed.live.shed(1)
    row = feed.view.describe(feed.view.nothing(), feed.live.meta())
    assert row == SegmentsTotal(finished=1, pending=1, numbers=3, spilled_bytes=800)
    assert feed.view.recall(feed.view.nothing(), EVER, ALL) == feed.view.merge([])


def test_an_add_without_room_in_the_spool_changes_nothing():
    feed = Feed(spill_bytes=0)
    feed.add(record(1, 0, list(range(500))))
    before = feed.live.meta()

    def fail(data: bytes) -> Any:
        raise OSError(28, "no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed.spool, "put", fail)
        decoded = feed.view.decode(polled([record(1, 1, [1]), record(2, 1, [1])], epoch=1))
        with pytest.raises(OSError, match="no space"):
            feed.live.add(decoded.batch, None)
    assert feed.live.meta() == before
    feed.check()


def long_batch(seed: int, segments: int, count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    return [np.sort(chance.integers(-(10**6), 10**9, count)) for _ in range(segments)]


def test_spilling_changes_no_published_byte_and_frees_its_space():
    numbers = [part.tolist() for part in long_batch(1, 3, 40_000)]
    numbers[1] = sorted(numbers[1][:20_000] + [7] * 40_000)
    texts = []
    for spill_bytes in (0, 1 << 30):
        feed = Feed(spill_bytes=spill_bytes)
        for place, data in enumerate(numbers[:2]):
            feed.add(record(1, place, data))
        assert (feed.live.meta().summary.spilled_bytes > 0) == (spill_bytes == 0)
        feed.add(record(1, 2, numbers[2]))
        texts.append(feed.close())
        gc.collect()
        assert feed.spool.nbytes == 0
    assert texts[0] == texts[1] == line(chain.from_iterable(numbers))


def test_shedding_moves_the_oldest_batches_first_and_frees_the_requested_bytes():
    feed = Feed(segments=2)
    for batch in (5, 1, 3):
        feed.add(record(batch, 0, [*range(1_999), 2**31]))
    before = feed.live.meta()
    assert feed.live.shed(10_000) == ({}, None)
    after = feed.live.meta()
    assert 10_000 <= before.nbytes - after.nbytes <= 16_000
    spooled = [batch for batch, waiting in feed.live._waiting.items() if waiting.runs[0].spooled_bytes]
    assert spooled == [5]
    assert after.summary.spilled_bytes == 16_000
    feed.live.shed(10**9)
    feed.check()
    assert feed.live.meta().nbytes < 3_000


def test_a_revived_slice_spills_batches_in_the_same_order():
    feed = Feed(segments=3)
    feed.add(record(1, 0, []), record(2, 0, list(range(500))), record(1, 1, list(range(500))))
    twin = feed.view.revive(kept(feed.live.state()))
    for live in (feed.live, twin):
        live.shed(1)
        spilled = [batch for batch, held in live._waiting.items() if any(run.spooled_bytes for run in held.present())]
        assert spilled == [2]


def test_a_very_long_run_is_written_to_the_spool_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.views.segments.runs.run.SPOOL_FROM", 50_000)
    numbers = [part.tolist() for part in long_batch(2, 2, 70_000)]
    feed = Feed(segments=2)
    run = feed.view.decode(polled([record(1, 0, numbers[0])])).batch.runs[0]
    assert {type(piece) for piece in run.pieces} == {Spooled}
    assert run.nbytes < 10_000
    assert [number for piece in run.pieces for number in piece.open().tolist()] == numbers[0]
    shorter = feed.view.decode(polled([record(1, 0, numbers[0][:49_000])])).batch.runs[0]
    assert {type(piece) for piece in shorter.pieces} == {Sealed}
    feed.add(record(1, 0, numbers[0]), record(1, 1, numbers[1]))
    assert feed.close() == line(chain.from_iterable(numbers))
    assert feed.view.decode(polled([record(1, 0, [*numbers[0], 0])])).refusals == [(0, "unsorted")]
    del run
    gc.collect()
    assert feed.spool.nbytes == 0


def test_ten_long_segments_merge_in_a_fraction_of_their_memory():
    parts = long_batch(3, 10, 100_000)
    raw_bytes = sum(part.nbytes for part in parts)
    expected = b", ".join(map(b"%d".__mod__, np.sort(np.concatenate(parts)).tolist())) + b"\n"
    values = [record(1, place, part.tolist()) for place, part in enumerate(parts)]
    feed = Feed(segments=10, spill_bytes=1 << 10)
    tracemalloc.start()
    for value in values:
        feed.live.add(feed.view.decode(polled([value])).batch, None)
    due = feed.live.close(None, None)
    assert due is not None
    at = 0
    for place, block in enumerate(feed.view.publish(due.partial, due)):
        if place == 30:
            # The first half of the merge has its peak; tracing the rest would take long.
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert len(block) <= 256 << 10
        assert expected.startswith(block, at)
        at += len(block)
    assert at == len(expected)
    assert peak < raw_bytes / 2


@given(st.lists(st.integers(-30, 30), unique=True))
def test_an_id_set_contains_exactly_the_added_ids(numbers: list[int]):
    ids = IdSet()
    for number in numbers:
        assert number not in ids
        ids.add(number)
        ids._check()
    assert [number for number in range(-31, 32) if number in ids] == sorted(numbers)
    assert ids.ranges == sum(number - 1 not in numbers for number in numbers)


def test_consecutive_ids_take_one_range():
    ids = IdSet()
    for number in (INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, *range(1_000)):
        ids.add(number)
    assert ids.ranges == 3
    assert INT64_MAX in ids


@pytest.mark.parametrize("seed", range(3))
def test_a_spool_returns_stored_data_and_reuses_its_gaps(seed: int):
    chance = random.Random(seed)
    spool = Spool()
    held: dict[Any, bytes] = {}
    most = 0
    for _ in range(600):
        if held and chance.random() < 0.5:
            handle = chance.choice(list(held))
            assert spool.get(handle) == held.pop(handle)
            spool.free(handle)
        else:
            data = chance.randbytes(chance.randrange(1, 3_000))
            held[spool.put(data)] = data
        spool._check()
        most = max(most, sum(map(len, held.values())))
        assert spool.nbytes <= 2 * most + 3_000
    assert all(spool.get(handle) == data for handle, data in held.items())
    for handle in held:
        spool.free(handle)
    assert spool.nbytes == 0
    assert spool.get(spool.put(b"")) == b""
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.put(b"more")
    with pytest.raises(ValueError, match="closed"):
        spool.get(next(iter(held)) if held else None)
    spool.free((0, 1))


def test_an_unused_state_frees_its_space_in_the_spool():
    feed = Feed(segments=2, spill_bytes=0)
    feed.add(record(1, 0, [*range(999), 2**31]))
    feed.live.shed(10**6)
    state = feed.live.state()
    feed.add(epoch=1)
    gc.collect()
    assert feed.spool.nbytes == 8_000
    del state
    gc.collect()
    assert feed.spool.nbytes == 0


def test_a_state_shares_its_numbers_and_long_runs_are_restored_piece_by_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.views.segments.runs.run.SPOOL_FROM", 20_000)
    feed = Feed(segments=9, spill_bytes=1 << 30)
    parts = long_batch(5, 8, 250_000)
    feed.add(*(record(1, place, part.tolist()) for place, part in enumerate(parts)))
    feed.add(*(record(batch, 0, list(range(900))) for batch in range(2, 400)))
    spooled = feed.live.meta().summary.spilled_bytes
    assert spooled > 3 << 20
    tracemalloc.start()
    try:
        state = feed.live.state()
        assert tracemalloc.get_traced_memory()[1] < 300_000
        blocks: list[int] = []
        tracemalloc.reset_peak()
        snapshot.write("state", state, lambda data: blocks.append(len(data)))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        assert max(blocks) < 2 << 20
        assert sum(blocks) > spooled + 398 * 900 * 8
        tree = kept(state)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        live = feed.view.revive(tree)
        assert tracemalloc.get_traced_memory()[1] - before < 398 * 900 * 8 + (1 << 20)
    finally:
        tracemalloc.stop()
    assert live.meta() == feed.live.meta()


def test_revive_fails_without_room_in_the_spool_and_leaves_no_data_there():
    feed = Feed(spill_bytes=0)
    feed.add(*(record(batch, 0, list(range(500))) for batch in range(5)))
    feed.live.shed(10**6)
    tree = kept(feed.live.state())
    other = Feed(spill_bytes=0)
    left, put = [3], other.spool.put

    def fail(data: bytes) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "no space left")
        return put(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other.spool, "put", fail)
        with pytest.raises(OSError, match="no space"):
            other.view.revive(tree)
    gc.collect()
    assert other.spool.nbytes == 0
    assert other.view.revive(tree).meta() == feed.live.meta()


def test_a_slice_thawed_half_compressed_is_compressed_to_the_same_size():
    feed = Feed(segments=1)
    feed.add(*(record(batch, 0, [batch]) for batch in range(200)), epoch=1)
    feed.add(*(record(batch, 0, [batch]) for batch in range(3, 153)), epoch=2)
    feed.freeze(settle=1)
    thawed = feed.view.thaw(kept(feed.frozen[0].state()))
    assert thawed.meta() == feed.frozen[0].meta()
    for frozen in (thawed, feed.frozen[0]):
        while frozen.settle():
            pass
    assert thawed.meta() == feed.frozen[0].meta()
    assert thawed.meta().nbytes < 350 * 40 / 4
    before = feed.answer()
    feed.frozen = [feed.view.thaw(kept(thawed.state()))]
    assert feed.answer() == before


def test_a_state_of_other_segments_is_refused():
    feed = Feed(segments=3)
    feed.add(*(record(1, place, [place]) for place in range(3)), record(2, 2, []))
    tree = kept(feed.live.state())
    for segments in (2, 4):
        with pytest.raises(ValueError, match="expected"):
            SegmentsView(segments=segments, spool=feed.spool).revive(tree)
