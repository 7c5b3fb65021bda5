"""The counts of `words` equal those of a plain list of its events. Every other record is refused with a reason."""

import gc
import json
import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns import snapshot
from actors.columns.record_text import BOM
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.span import EVER, Span
from actors.views.words.arguments import Counting
from actors.views.words.frequent import Frequent
from actors.views.words.table import Tally
from actors.views.words.view import WordsTotal, WordsView
from tests.support.polled import polled
from tests.support.rendered import rendered
from tests.support.trees import kept

TYPES, WORDS = Counting("types"), Counting("words")
BOTH = (TYPES, WORDS)
OTHER = "expected JSON with event_type, data and timestamp, got other members: use record.format"
REASONS = {
    "empty",
    "framed",
    "not_text",
    "not_json",
    "not_utf8",
    "too_deep",
    "no_event_type",
    "no_data",
    "no_timestamp",
    "wrong_type",
    "timestamp_out_of_range",
    OTHER,
}


class Seen(NamedTuple):
    """One event of the oracle."""

    timestamp: float
    type: str
    data: str

    def line(self) -> bytes:
        return json.dumps({"event_type": self.type, "data": self.data, "timestamp": self.timestamp}).encode()

    @property
    def second(self) -> int:
        return math.floor(self.timestamp * 1000) // 1000


def counted(events: list[Seen], span: Span, arguments: Counting) -> dict[str, int]:
    """Count by brute force."""
    counts: Counter[str] = Counter()
    for event in events:
        if span.start < (event.second + 1) * 1000 and event.second * 1000 < span.end and span.start < span.end:
            counts.update([event.type] if arguments.of == "types" else event.data.split())
    return dict(sorted(sorted(counts.items()), key=lambda each: -each[1])[: arguments.limit])


def shown(view: WordsView, partial: Any, arguments: Counting, form: str = "json", **members: object) -> bytes:
    if members:
        members = {**view.remarks(partial, arguments), **members}
    return b"".join(rendered(view, partial, EVER, arguments, form, members))


def answered(view: WordsView, slices: list[Any], span: Span, arguments: Counting) -> dict[str, int]:
    text = shown(view, view.merge([each.read(span, arguments) for each in slices]), arguments)
    found = json.loads(text)
    assert text == json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    return found


def fed(view: WordsView, live: Any, events: list[Seen]) -> Any:
    live.add(view.decode(polled([event.line() for event in events])).batch, None)
    return live


def settled(live: Any) -> Any:
    frozen, carry = live.freeze()
    assert carry is None
    while frozen.settle():
        pass
    return frozen


class Stream(NamedTuple):
    view: WordsView
    events: list[Seen]
    slices: list[Any]


def stream(seed: int, *, max_pairs: int = 60) -> Stream:
    """Return slices after a random stream with late events, and its events."""
    chance, view = random.Random(seed), WordsView(max_pairs=max_pairs)
    events: list[Seen] = []
    made: list[Any] = []
    live: Any = view.open(None)
    time = 1_500.0
    for _ in range(25):
        part = []
        for _ in range(chance.randrange(30)):
            time += chance.random() * 2
            words = " ".join(chance.choices("abcdefghijé", k=chance.randrange(5)))
            part.append(Seen(chance.choice([time, time - chance.randrange(90), int(time)]), chance.choice("xyz"), words))
        fed(view, live, part)
        events += part
        if live.full:
            frozen, carry = live.freeze()
            while chance.random() < 0.6 and frozen.settle():
                pass
            made.append(frozen)
            live = view.open(carry)
    return Stream(view, events, [*made, live])


def spans(seed: int) -> Iterator[Span]:
    chance = random.Random(-seed)
    yield from (EVER, Span(0, 0), Span(1_700_500, 1_700_500), Span(INT64_MIN, 1_600_000), Span(1_600_000, INT64_MAX + 1))
    for _ in range(25):
        start = chance.randrange(1_400_000, 2_000_000)
        yield Span(start, start + chance.choice([1, 999, 1_000, 10_000, chance.randrange(400_000)]))


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_answers_equal_a_count_of_a_plain_list_for_any_span(seed: int):
    view, events, slices = stream(seed)
    assert len(slices) > 3
    for span in spans(seed):
        for arguments in (*BOTH, Counting("words", 3), Counting("types", 0)):
            assert list(answered(view, slices, span, arguments).items()) == list(counted(events, span, arguments).items())


def test_a_slice_of_many_blocks_answers_like_a_plain_list():
    chance, view = random.Random(3), WordsView()
    events = [Seen(chance.randrange(300), "t", f"w{chance.randrange(40_000)} v{index}") for index in range(20_000)]
    frozen = settled(fed(view, view.open(None), events))
    for span in (EVER, Span(10_000, 11_000), Span(40_500, 200_001)):
        assert answered(view, [frozen], span, WORDS) == counted(events, span, WORDS)


def test_a_span_is_widened_to_whole_seconds():
    view = WordsView()
    live = fed(view, view.open(None), [Seen(10.0, "a", "x"), Seen(10.999, "a", "x"), Seen(11, "a", "x"), Seen(-0.5, "a", "x")])
    for each in (live, settled(fed(view, view.open(None), [Seen(10.0, "a", "x"), Seen(10.999, "a", "x"), Seen(11, "a", "x")]))):
        assert answered(view, [each], Span(10_500, 10_501), WORDS) == {"x": 2}
        assert answered(view, [each], Span(10_000, 11_001), WORDS) == {"x": 3}
        assert answered(view, [each], Span(11_000, 12_000), WORDS) == {"x": 1}
        assert answered(view, [each], Span(12_000, 13_000), WORDS) == {}
        assert answered(view, [each], Span(10_500, 10_500), WORDS) == {}
    assert answered(view, [live], Span(-1, 0), WORDS) == {"x": 1}


def test_the_span_of_a_slice_is_the_hull_of_its_seconds():
    view = WordsView()
    live = view.open(None)
    assert live.meta().span is None
    assert live.read(EVER, WORDS) == ()
    fed(view, live, [Seen(10.5, "a", "")])
    assert live.meta().span == Span(10_000, 11_000)
    fed(view, live, [Seen(-3.2, "a", "b"), Seen(7, "a", "")])
    assert (live.meta().span, live.meta().events) == (Span(-4_000, 11_000), 3)
    assert settled(live).meta().span == Span(-4_000, 11_000)


def test_a_slice_is_full_at_its_pairs_or_at_their_share_of_text():
    view = WordsView(max_pairs=4)
    live = fed(view, view.open(None), [Seen(1, "a", "x"), Seen(1, "a", "x"), Seen(2, "a", "")])
    assert not live.full
    fed(view, live, [Seen(2, "a", "x")])
    assert live.full
    assert fed(view, view.open(None), [Seen(1, "a", "x" * 2_000)]).full


# Dropped slices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_total_counts_outlive_dropped_slices(seed: int):
    view, events, slices = stream(seed)
    for count in range(len(slices)):
        gone = view.nothing()
        for each in slices[:count]:
            gone = gone.then(each.meta().summary)
        rest = [each.read(EVER, WORDS) for each in slices[count:]]
        found = shown(view, view.merge([view.recall(gone, EVER, WORDS), *rest]), WORDS)
        assert json.loads(found) == counted(events, EVER, WORDS)
        assert view.recall(gone, Span(0, INT64_MAX), WORDS) == ()


def test_summaries_compose_in_any_grouping_and_stay_as_they_are():
    view, events, slices = stream(4)
    summaries = [each.meta().summary for each in slices]
    for cut in range(len(summaries) + 1):
        left, right = view.nothing(), view.nothing()
        for each in summaries[:cut]:
            left = left.then(each)
        for each in summaries[cut:]:
            right = right.then(each)
        before = shown(view, view.recall(left, EVER, TYPES), TYPES)
        both = left.then(right)
        assert json.loads(shown(view, view.recall(both, EVER, TYPES), TYPES)) == counted(events, EVER, TYPES)
        assert (both.events, both.pairs) == (len(events), sum(each.pairs for each in summaries))
        assert shown(view, view.recall(left, EVER, TYPES), TYPES) == before


def test_dropped_slices_are_not_recalled_for_a_span_that_ends_among_them():
    view = WordsView()
    gone = view.nothing().then(fed(view, view.open(None), [Seen(10, "a", "x"), Seen(20, "a", "x")]).meta().summary)
    assert view.recall(gone, Span(INT64_MIN, 15_000), WORDS) == ()
    assert json.loads(shown(view, view.recall(gone, Span(INT64_MIN, 21_000), WORDS), WORDS)) == {"x": 2}


def test_the_summary_of_a_frozen_slice_keeps_only_its_totals_in_memory():
    view = WordsView()
    frozen = settled(fed(view, view.open(None), [Seen(index, "t", "a b c") for index in range(20_000)]))
    summary = frozen.meta().summary
    held = {id(each) for each in _reachable(summary)}
    blocks = frozen._tables["words"]._blocks
    assert blocks
    assert not any(id(block) in held for block in blocks)


def _reachable(root: object) -> list[object]:
    found, waiting = {id(root): root}, [root]
    while waiting:
        for each in gc.get_referents(waiting.pop()):
            if id(each) not in found and not isinstance(each, type) and type(each).__name__ != "module":
                found[id(each)] = each
                waiting.append(each)
    return list(found.values())


# Text of answers -----------------------------------------------------------------------------------------------------


def test_counts_are_written_highest_first_and_equal_ones_by_code_points():
    view = WordsView()
    partial = fed(view, view.open(None), [Seen(1, "t", "b a é B b 𝄞 \uffff __proto__")]).read(EVER, WORDS)
    expected = '{"b":2,"B":1,"__proto__":1,"a":1,"é":1,"\uffff":1,"𝄞":1}'.encode()
    assert shown(view, partial, WORDS) == expected
    assert shown(view, partial, Counting("words", 2)) == b'{"b":2,"B":1}'
    assert shown(view, partial, Counting("words", 2), "ndjson") == b'{"name":"b","count":2}\n{"name":"B","count":1}\n'


def test_members_are_written_after_the_counts_and_their_error():
    view = WordsView()
    partial = fed(view, view.open(None), [Seen(1, "t", "b")]).read(EVER, WORDS)
    assert shown(view, partial, WORDS, complete=True) == b'{"counts":{"b":1},"max_error":0,"complete":true}'
    assert shown(view, (), WORDS, complete=True) == b'{"counts":{},"max_error":0,"complete":true}'
    assert shown(view, (), WORDS, "ndjson", complete=True) == b""


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_long_answer_comes_in_blocks_of_bounded_size(form: str):
    view = WordsView()
    events = [Seen(1, "t", " ".join(f"word{index}" for index in range(20_000)) + " " + "x" * 1_000_000)]
    blocks = list(rendered(view, fed(view, view.open(None), events).read(EVER, WORDS), EVER, WORDS, form, {"a": 1}))
    assert len(blocks) > 10
    assert max(map(len, blocks)) <= 65_536
    text = b"".join(blocks)
    found = (
        json.loads(text)["counts"]
        if form == "json"
        else {line["name"]: line["count"] for line in map(json.loads, text.splitlines())}
    )
    assert found == counted(events, EVER, WORDS)


def test_counts_of_too_many_names_exceed_the_truth_by_at_most_the_stated_error():
    view, chance = WordsView(max_pairs=200, max_names=50), random.Random(1)
    events, gone, slices, live = [], view.nothing(), [], view.open(None)
    for index in range(60):
        part = [Seen(index, "t", f"w{int(chance.paretovariate(0.5))} frequent") for _ in range(30)]
        events += part
        if fed(view, live, part).full:
            slices.append(settled(live))
            live = view.open(None)
    for each in slices[:3]:
        gone = gone.then(each.meta().summary)
    assert len(gone.words) <= 100
    partial = view.merge([view.recall(gone, EVER, WORDS), *(each.read(EVER, WORDS) for each in (*slices[3:], live))])
    found = json.loads(shown(view, partial, WORDS, a=1))
    true, error = counted(events, EVER, WORDS), found["max_error"]
    assert 0 < error == view.remarks(partial, WORDS)["max_error"] <= sum(true.values()) // 51
    assert all(0 <= count - true.get(name, 0) <= error for name, count in found["counts"].items())
    assert all(name in found["counts"] for name, count in true.items() if count > error)
    assert len(found["counts"]) <= 100
    assert view.remarks(partial, TYPES)["max_error"] == error
    assert view.remarks(live.read(EVER, WORDS), WORDS)["max_error"] == 0
    unknown = view.merge([each.read(EVER, WORDS) for each in slices])
    assert view.remarks(unknown, WORDS)["max_error"] == json.loads(shown(view, unknown, WORDS, a=1))["max_error"] > 0


def test_many_slices_of_the_same_few_names_are_exact():
    view = WordsView(max_names=3)
    slices = [fed(view, view.open(None), [Seen(index, "t", "a b c")]) for index in range(50)]
    partial = view.merge([each.read(EVER, WORDS) for each in slices])
    assert view.remarks(partial, WORDS)["max_error"] == 0
    assert json.loads(shown(view, partial, WORDS)) == {"a": 50, "b": 50, "c": 50}


def test_stats_report_types_words_and_pairs():
    view = WordsView()
    live = fed(view, view.open(None), [Seen(1, "t", "a b"), Seen(2, "u", "a"), Seen(2, "u", "")])
    for each in (live, settled(fed(view, view.open(None), [Seen(1, "t", "a b"), Seen(2, "u", "a")]))):
        assert view.describe(view.nothing(), each.meta()) == WordsTotal(types=2, words=2, pairs=5)


@pytest.mark.parametrize("limit", [-1, -100])
def test_a_negative_limit_is_refused(limit: int):
    with pytest.raises(ValueError, match="at least"):
        Counting("words", limit)


# Records -------------------------------------------------------------------------------------------------------------


REFUSED = {
    None: "empty",
    b"": "empty",
    b" \n": "empty",
    b"{": "not_json",
    b'{"event_type": "baz", "da': "not_json",
    b"\x00": "not_text",
    b"\x00\x00\x00\x00\x07" + Seen(1, "a", "b").line(): "framed",
    Seen(1, "a", "b").line() * 2: "not_json",
    b'{"event_type": "\xff", "data": "", "timestamp": 1}': "not_utf8",
    b"\x80\xff": "not_utf8",
    b'{"event_type": "a", "data": "\\ud800", "timestamp": 1}': "not_json",
    b'{"event_type": "\\udc00 ", "data": "", "timestamp": 1}': "not_json",
    b'{"event_type": "a", "data": "\xed\xa0\x80", "timestamp": 1}': "not_utf8",
    b'{"data": "", "timestamp": 1}': "no_event_type",
    b"{}": "no_event_type",
    b'{"type": "a", "text": "b", "at": 1}': OTHER,
    b'{"data": "b", "at": 1}': "no_event_type",
    b'{"event_type": "a", "timestamp": 1}': "no_data",
    b'{"event_type": "a", "data": ""}': "no_timestamp",
    b'{"event_type": 1, "data": "", "timestamp": 1}': "wrong_type",
    b'{"event_type": "a", "data": null, "timestamp": 1}': "wrong_type",
    b'{"event_type": "a", "data": "", "timestamp": "1"}': "wrong_type",
    b'{"event_type": "a", "data": "", "timestamp": true}': "wrong_type",
    b'{"event_type": "a", "data": ["b"], "timestamp": 1}': "wrong_type",
    b"[]": "wrong_type",
    b"1": "wrong_type",
    b"null": "wrong_type",
    b'{"event_type": "a", "data": "", "timestamp": NaN}': "not_json",
    b'{"event_type": "a", "data": "", "timestamp": Infinity}': "not_json",
    b'{"event_type": "a", "data": "", "timestamp": 1e300}': "timestamp_out_of_range",
    b'{"event_type": "a", "data": "", "timestamp": -1e999}': "timestamp_out_of_range",
    b'{"event_type": "a", "data": "", "timestamp": 253402300800}': "timestamp_out_of_range",
    b'{"event_type": "a", "data": "", "timestamp": -62135596801}': "timestamp_out_of_range",
    b'{"event_type": "a", "data": "", "timestamp": 1513765893000}': "timestamp_out_of_range",
    b'{"event_type": "a", "data": "", "timestamp": 1' + b"0" * 5_000 + b"}": "timestamp_out_of_range",
    b'{"z": ' + b"[" * 100_000 + b"]" * 100_000 + b', "event_type": "a", "data": "", "timestamp": 1}': "too_deep",
}


@pytest.mark.parametrize(("line", "reason"), REFUSED.items(), ids=lambda each: repr(each)[:60])
def test_an_invalid_record_is_refused_with_a_reason(line: bytes | None, reason: str):
    decoded = WordsView().decode(polled([Seen(1, "a", "x").line(), line, Seen(2, "a", "x").line()]))
    assert [tuple(each) for each in decoded.refusals] == [(1, reason)]
    assert decoded.accepted is not None
    assert decoded.accepted.tolist() == [True, False, True]
    assert decoded.times.tolist() == [1_000, 2_000]


def test_refusals_are_in_order_of_arrival_whatever_their_reason():
    good, far, bad = Seen(1, "a", "x").line(), Seen(1e15, "a", "x").line(), b"?"
    decoded = WordsView().decode(polled([bad, good, far, bad, far, good, bad]))
    assert [each.place for each in decoded.refusals] == [0, 2, 3, 4, 6]
    assert [each.reason for each in decoded.refusals if each.place in {2, 4}] == ["timestamp_out_of_range"] * 2
    assert decoded.accepted is not None
    assert decoded.accepted.nonzero()[0].tolist() == [1, 5]
    assert decoded.times.tolist() == [1_000, 1_000]


GARBAGE = [
    "",
    " ",
    "lorem ipsum",
    " lorem",
    "lorem\n",
    "l0rem",
    "don't",
    "\0\x85\xff",
    "e\u0301",
    "lorem.",
    "\u200b",
    "42",
    "_",
]
LETTERS = ["lorem", "É", "ß", "ж", "語", "ʰ", "ª", "xÿ"]


def test_alphabetic_words_refuse_garbage_and_count_neither_its_type_nor_its_words():
    view, chance = WordsView(words="alphabetic"), random.Random(1)
    events = [Seen(number, f"type {len(data)}", data) for number, data in enumerate(GARBAGE + LETTERS)]
    chance.shuffle(events)
    lines = [b"?", *(event.line() for event in events), Seen(1e15, "far", "0").line(), BOM + Seen(1, "b", "2").line()]
    decoded = view.decode(polled(lines))
    refused = [place for place, event in enumerate(events, 1) if event.data in GARBAGE]
    places = [0, *refused, len(lines) - 2, len(lines) - 1]
    assert [each.place for each in decoded.refusals] == places
    reasons = ["not_json", *["not_alphabetic"] * len(refused), "timestamp_out_of_range", "not_alphabetic"]
    assert [each.reason for each in decoded.refusals] == reasons
    assert decoded.accepted is not None
    assert (~decoded.accepted).nonzero()[0].tolist() == places
    live = view.open(None)
    live.add(decoded.batch, None)
    good = [event for event in events if event.data in LETTERS]
    assert [answered(view, [live], EVER, each) for each in BOTH] == [counted(good, EVER, each) for each in BOTH]


def test_by_default_garbage_is_counted():
    lines = [Seen(1, "a", data).line() for data in GARBAGE + LETTERS]
    assert WordsView().decode(polled(lines)).refusals == []
    assert WordsView(words="alphabetic").decode(polled([Seen(1, "a", "x").line()])).accepted is None


@pytest.mark.parametrize(
    "timestamp", [1_513_765_893, 1_513_765_893.123, 0, -0.0, -0.0005, 253_402_300_799.999, -62_135_596_800, 1e-300, 0.9999]
)
def test_times_are_milliseconds_rounded_down(timestamp: float):
    decoded = WordsView().decode(polled([Seen(timestamp, "a", "b").line()]))
    assert decoded.times.tolist() == [math.floor(timestamp * 1000)]
    assert decoded.accepted is None
    assert decoded.batch.first() == decoded.batch.last() == math.floor(timestamp * 1000)


def test_times_are_in_order_of_arrival_and_a_batch_has_its_first_and_last():
    decoded = WordsView().decode(polled([Seen(each, "a", "b").line() for each in (5, 3.5, 9, 3.7)]))
    assert decoded.times.tolist() == [5_000, 3_500, 9_000, 3_700]
    assert (decoded.batch.count, decoded.batch.first(), decoded.batch.last()) == (4, 3_500, 9_000)
    nothing = WordsView().decode(polled([])).batch
    assert (nothing.count, nothing.nbytes, nothing.first(), nothing.last()) == (0, 0, None, None)


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("", ""),
        ("a", " \t\n\u2003\u0085\x1f "),
        ("a b\n", "tabs\tand\nlines\r\nand\u2003wide\xa0blanks"),
        ("__proto__", "__proto__ constructor toString"),
        ("nul\0", "a\0b \0 c"),
        ("𝄞", "𝄞 \uffff e\u0301 é"),
        ("a", "x" * 1_000_000),
        ('"\\', '" \\ </script> %s'),
    ],
    ids=lambda each: ascii(each)[:30],
)
def test_any_text_is_counted_as_python_splits_it(type_: str, data: str):
    view, events = WordsView(), [Seen(1, type_, data), Seen(1.5, type_, data), Seen(70, type_, data)]
    live = fed(view, view.open(None), events)
    read = [answered(view, [live], span, each) for span in (EVER, Span(0, 2_000)) for each in BOTH]
    assert read == [counted(events, span, each) for span in (EVER, Span(0, 2_000)) for each in BOTH]
    frozen = settled(live)
    assert [answered(view, [frozen], span, each) for span in (EVER, Span(0, 2_000)) for each in BOTH] == read


def test_other_members_are_ignored_and_the_last_of_two_equal_members_counts():
    line = b'{"z": {"event_type": "no"}, "event_type": "a", "event_type": "b", "data": "x", "timestamp": 1, "\xc3\xbf": null}'
    view = WordsView()
    live = view.open(None)
    live.add(view.decode(polled([line])).batch, None)
    assert answered(view, [live], EVER, TYPES) == {"b": 1}


def as_python_reads(line: bytes) -> Seen | None:
    """Return the event of a line by another parser, or None if the line is certainly not an event."""
    try:
        found = json.loads(line.decode())
        event = Seen(found["timestamp"], found["event_type"], found["data"])
        (event.type + event.data).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_number = type(event.timestamp) in {int, float} and -62_135_596_800 <= event.timestamp < 253_402_300_800
    return event if is_number else None


@pytest.mark.parametrize("seed", range(3))
def test_a_corrupted_line_is_an_event_or_a_refusal_and_never_raises(seed: int):
    chance, view = random.Random(seed), WordsView()
    lines = []
    for index in range(2_000):
        line = bytearray(Seen(1_513_765_893 + index / 7, chance.choice("xyz"), "lorem ipsum é").line())
        for _ in range(chance.choice([0, 0, 1, 1, 3])):
            line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            line = bytearray(chance.randbytes(chance.randrange(40)))
        lines.append(bytes(line[: chance.choice([None, None, None, chance.randrange(len(line) + 1)])]))
    decoded = view.decode(polled(lines))
    assert decoded.accepted is not None
    refused = [each.place for each in decoded.refusals]
    assert decoded.batch.count == decoded.times.size == len(lines) - len(refused)
    assert refused == sorted(set(refused))
    assert decoded.accepted.nonzero()[0].tolist() == sorted(set(range(len(lines))) - set(refused))
    assert {each.reason for each in decoded.refusals} <= REASONS
    # Python accepts more lines than the decoder, such as wrong UTF-8 in ignored members, but not fewer.
    taken = [as_python_reads(lines[place]) for place in decoded.accepted.nonzero()[0].tolist()]
    known = [(event, time) for event, time in zip(taken, decoded.times.tolist(), strict=True) if event is not None]
    assert len(known) > 500
    assert all(math.floor(event.timestamp * 1000) == time for event, time in known)
    assert not any(as_python_reads(lines[place]) for place in refused)
    live = view.open(None)
    live.add(decoded.batch, None)
    assert live.meta().events == len(lines) - len(refused)
    assert sum(answered(view, [live], EVER, TYPES).values()) == len(lines) - len(refused)


EVENTS = st.builds(
    Seen,
    st.integers(-5, 40) | st.floats(-5, 40),
    st.text(max_size=3),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


@given(
    st.lists(st.lists(EVENTS, max_size=12), max_size=6),
    st.tuples(st.integers(-6_000, 41_000), st.integers(-6_000, 41_000)),
    st.sets(st.integers(0, 5)),
)
def test_any_events_in_any_slices_are_counted_as_by_hand(parts: list[list[Seen]], ends: tuple[int, int], frozen: set[int]):
    view, span = WordsView(), Span(min(ends), max(ends))
    slices = [fed(view, view.open(None), part) for part in parts]
    slices = [settled(each) if index in frozen else each for index, each in enumerate(slices)]
    events = [event for part in parts for event in part]
    for asked in (span, EVER):
        for arguments in (*BOTH, Counting("words", 2)):
            assert answered(view, slices, asked, arguments) == counted(events, asked, arguments)


# State ---------------------------------------------------------------------------------------------------------------


def test_a_settled_slice_that_was_read_stays_compressed_and_in_its_file():
    view, chance = WordsView(), random.Random(3)
    events = [Seen(chance.randrange(300), "t", f"w{chance.randrange(10_000)} v{index}") for index in range(20_000)]
    live, blocks = fed(view, view.open(None), events), list[bytes]()
    for frozen in (live.freeze()[0], settled(live)):
        blocks.clear()
        snapshot.write("words", frozen.state(), lambda block: blocks.append(bytes(block)))
        data = b"".join(blocks)
        again = view.thaw(snapshot.read("words", data))
        assert again.meta().nbytes == pytest.approx(frozen.meta().nbytes, rel=0.02)
        assert again.settle() == frozen.settle()
        for span in (EVER, Span(40_500, 200_001)):
            assert answered(view, [again], span, WORDS) == counted(events, span, WORDS)
    inside = np.frombuffer(data, np.uint8)
    for run in again._tables["words"].totals.runs:
        assert np.shares_memory(np.frombuffer(run.names, np.uint8), inside)
    for block in again._tables["words"]._blocks:
        assert all(np.shares_memory(np.frombuffer(column, np.uint8), inside) for column in block.columns)


def test_later_events_do_not_change_a_state():
    view = WordsView()
    events = [Seen(second, "t", "a b") for second in range(10)]
    live = fed(view, view.open(None), events)
    state = live.state()
    fed(view, live, [Seen(3, "t", "a c"), Seen(-1, "u", "d"), Seen(20, "t", "a")])
    again = view.revive(kept(state))
    for span in (EVER, Span(3_000, 5_000)):
        for arguments in BOTH:
            assert answered(view, [again], span, arguments) == counted(events, span, arguments)


@pytest.mark.parametrize("damage", ["second", "name"])
def test_a_state_with_a_second_or_a_name_twice_is_refused(damage: str):
    view = WordsView()
    state: Any = fed(view, view.open(None), [Seen(1, "t", "a b"), Seen(2, "t", "a b")]).state()
    name, column = ("seconds", [1, 1]) if damage == "second" else ("numbers", [0, 0, 0, 1])
    kind = {"seconds": "<i8", "numbers": "<u4"}[name]
    with pytest.raises(ValueError, match="different"):
        view.revive({**state, "words": {**state["words"], name: np.array(column, kind).tobytes()}})


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("max_names", [2, 5])
def test_a_summary_restored_at_any_point_gives_the_same_counts(seed: int, max_names: int):
    _, _, slices = stream(seed)
    view = WordsView(max_names=max_names)
    gone = again = view.nothing()
    for each in slices:
        summary = each.meta().summary
        gone = gone.then(summary)
        again = view.summary(kept(again.then(view.summary(kept(summary.state()))).state()))
        assert (again.events, again.pairs, again.span) == (gone.events, gone.pairs, gone.span)
        for arguments in BOTH:
            one, other = view.recall(gone, EVER, arguments), view.recall(again, EVER, arguments)
            assert shown(view, other, arguments) == shown(view, one, arguments)
            assert view.remarks(other, arguments)["max_error"] == view.remarks(one, arguments)["max_error"]


def test_a_partial_range_cannot_be_saved_as_a_summary():
    view, _, slices = stream(1)
    (piece,) = slices[0].read(Span(1_501_000, 1_502_000), WORDS)
    nothing = view.nothing()
    with pytest.raises(TypeError, match="got Clipped"):
        type(nothing)(1, 1, 1, None, piece, piece).state()


# Frequent ------------------------------------------------------------------------------------------------------------


COUNTS = st.dictionaries(st.text("abcdefghij", min_size=1, max_size=2), st.integers(1, 50), max_size=15)


@given(st.integers(1, 8), st.lists(st.lists(COUNTS, max_size=5), max_size=5), st.randoms(use_true_random=False))
def test_frequent_keeps_its_bounds_after_any_merges(capacity: int, groups: list[list[dict[str, int]]], chance: random.Random):
    true: Counter[str] = Counter()
    parts = []
    for group in groups:
        frequent = Frequent(capacity)
        for counts in group:
            frequent.update(counts)
            true.update(counts)
        parts.append(frequent)
    while len(parts) > 1:
        one = parts.pop(chance.randrange(len(parts)))
        other = parts[chance.randrange(len(parts))]
        before = (other.most(), other.max_error)
        twin = other.copy()
        twin.merge(one)
        assert (other.most(), other.max_error) == before
        other.merge(one)
        assert (twin.most(), twin.max_error) == (other.most(), other.max_error)
    frequent = parts[0] if parts else Frequent(capacity)
    reported, error = dict(zip(*frequent.most(), strict=True)), frequent.max_error
    assert len(frequent) == len(reported) <= 2 * capacity
    assert all(count - error <= true[name] <= count for name, count in reported.items())
    assert all(name in reported for name, count in true.items() if count > error)
    assert error * (capacity + 1) <= true.total()
    if len(true) <= capacity:
        assert (reported, error) == (dict(true), 0)
    for limit in range(len(reported) + 2):
        assert frequent.most(limit) == tuple(column[:limit] for column in frequent.most())


def test_a_frequent_name_is_not_lost_among_rare_ones():
    frequent = Frequent(1)
    for counts in ({"a": 10}, {"b": 1}, {"c": 1}):
        frequent.update(counts)
    assert (frequent.most(), frequent.max_error) == ((["a"], [10]), 1)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity: int):
    with pytest.raises(ValueError, match="at least 1"):
        Frequent(capacity)


# Memory --------------------------------------------------------------------------------------------------------------


def test_endless_different_words_take_bounded_memory_once_their_slices_are_dropped():
    view = WordsView(max_pairs=500, max_names=125)
    gone, live, peaks = view.nothing(), view.open(None), []
    tracemalloc.start()
    try:
        for start in range(0, 5_000, 125):
            fed(view, live, [Seen(index // 400, "baz", f"word{index} other{index}") for index in range(start, start + 125)])
            if live.full:
                gone = gone.then(settled(live).meta().summary)
                live = view.open(None)
            assert len(gone.words) <= 250
            if start % 250 == 0:
                gc.collect()
                peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(peaks[10:]) < 1.2 * max(peaks[:10])
    assert gone.events > 3_750
    assert 0 < view.remarks(view.recall(gone, EVER, WORDS), WORDS)["max_error"] <= 2 * gone.events // 126


def test_the_counts_of_a_live_slice_can_be_summed_up_at_any_moment():
    """Another thread computes statistics while the slice adds: here, between new names and their counts."""
    tally, sums = Tally(), Frequent(capacity=1_000)
    tally.count(tally.numbers({"lorem": 1}), [5])
    tally.numbers({f"name {number}": 1 for number in range(50)})
    tally.add_to(sums)
    assert sums.most(1) == (["lorem"], [5])
