"""A record among others of its shape is decoded exactly as alone, by the JSON parser, whatever bytes lie between the records."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.json import alike, lists
from actors.columns.record_text import BOM
from actors.columns.text import Text
from actors.columns.values import Values
from actors.durability.spool import Spool
from actors.views.segments.view import SegmentsView
from actors.views.uniques.view import UniquesView
from actors.views.view import Decoded
from actors.views.words.decode import WordBatch
from actors.views.words.grouping import counted, numbered, split
from actors.views.words.view import WordsView
from tests.support.framed import FRAMES, framed
from tests.support.polled import polled

TEXT = st.text("ab c", max_size=12) | st.text(max_size=4) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NUMBERS = st.integers(1_700_000_000, 1_700_000_009) | st.integers(-(2**70), 2**70) | st.floats() | st.none() | st.just("17")


def frame_of(uid: str, ts: object, **more: object) -> bytes:
    return json.dumps({"v": 1, **more, "ts": ts, "uid": uid, "tags": ["a"]}, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def line_of(kind: str, data: str, timestamp: object, **more: object) -> bytes:
    return json.dumps({"event_type": kind, "data": data, "timestamp": timestamp, **more}).encode()


def segment_of(batch: object, place: object, data: object, separator: str = ",", **more: object) -> bytes:
    return json.dumps({**more, "batch_id": batch, "segment_id": place, "data": data}, separators=(separator, ":")).encode()


FRAME = st.builds(frame_of, TEXT, NUMBERS, page=st.integers(0, 99)) | st.builds(frame_of, TEXT, st.just(1_700_000_000))
LINE = st.builds(line_of, TEXT, TEXT, NUMBERS) | st.builds(line_of, TEXT, TEXT, st.just(1_700_000_000), x=st.integers(0, 9))
EDGES = [0, 9, 10, 99, 10**8 - 1, 10**8, 10**16 - 1, 10**16, 2**63 - 1, 2**63, -1]
DATA = st.lists(st.integers(0, 10**9) | st.sampled_from(EDGES), max_size=8).map(sorted) | st.lists(
    st.integers(0, 99), max_size=3
)
SEGMENT = st.builds(segment_of, NUMBERS, NUMBERS, DATA | st.none(), st.sampled_from([",", ", ", " ,"]), x=st.integers(0, 9))
PIECES = st.sampled_from(
    [
        b'"',
        b"\\",
        b"{",
        b"}",
        b",",
        b":",
        b" ",
        b"\t",
        b"0",
        b"7",
        b".",
        b"-",
        b"\xff",
        b"\0",
        b"uid",
        b"data",
        b"[",
        b"]",
        b"0,",
    ]
)


@st.composite
def polls(
    draw: st.DrawFn, records: st.SearchStrategy[bytes], common: st.SearchStrategy[bytes]
) -> tuple[list[bytes | None], bytes]:
    """Return records, most of them of one shape and some changed at random, and the bytes between them."""
    values: list[bytes | None] = []
    for record in draw(st.lists(records | common | common, min_size=1, max_size=30)):
        value = record
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            at = draw(st.integers(0, len(value)))
            value = value[:at] + draw(PIECES) + value[at + draw(st.integers(0, 2)) :]
        values.append(draw(st.sampled_from([value] * 9 + [BOM + value, value + b"\r\n", value[: len(value) // 2], b"", None])))
    return values, draw(st.sampled_from(FRAMES))


def decoded(view: Any, values: Values, fewest: int) -> Decoded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "_FEWEST", fewest)
        patch.setattr(alike, "_WORTH", 0.0)
        patch.setattr(lists, "_FEWEST", fewest)
        poll = polled([None] * len(values))
        return view.decode(type(poll)(values, poll.partitions, poll.offsets, poll.timestamps))


def alone(view: Any, values: list[bytes | None]) -> Iterator[tuple[int, Decoded]]:
    """Yield each record's own decoding, which is never by a template."""
    return enumerate(decoded(view, Values.of([value]), 2) for value in values)


def pairs(batch: WordBatch) -> tuple[Counter[tuple[int, str]], ...]:
    """Return the counts of types and words by second and name."""
    found = []
    for parts in (batch.types, batch.words):
        counts: Counter[tuple[int, str]] = Counter()
        for part in parts:
            keys = list(zip(part.seconds.tolist(), part.numbers.tolist(), strict=True))
            assert keys == sorted(set(keys)), "pairs are different and ascend"
            assert len(set(part.names)) == len(part.names)
            for (second, number), count in zip(keys, part.counts.tolist(), strict=True):
                counts[second, part.names[number]] += count
        found.append(counts)
    return tuple(found)


def check(view: Any, values: list[bytes | None], frame: bytes) -> tuple[Decoded, list[Decoded]]:
    """Check times and refusals of a poll, and return the poll and its records decoded alone."""
    together = decoded(view, framed(values, frame), 1)
    single = list(alone(view, values))
    refused = [(row, each.refusals[0].reason) for row, each in single if each.refusals]
    assert [tuple(refusal) for refusal in together.refusals] == refused
    assert together.times.tolist() == [time for _, each in single for time in each.times.tolist()]
    if refused:
        assert together.accepted is not None
        assert (~together.accepted).nonzero()[0].tolist() == [row for row, _ in refused]
    else:
        assert together.accepted is None
    return together, [each for _, each in single]


@given(polls(FRAME, st.builds(frame_of, st.text("uv", max_size=30), st.integers(1_700_000_000, 1_700_000_099))))
def test_a_frame_is_decoded_as_alone(poll: tuple[list[bytes | None], bytes]):
    together, single = check(UniquesView(), *poll)
    assert together.batch.times is together.times or together.batch.times.tolist() == together.times.tolist()
    assert together.batch.hashes.tolist() == [user for each in single for user in each.batch.hashes.tolist()]


@given(polls(SEGMENT, st.builds(segment_of, st.integers(0, 99), st.integers(0, 10), DATA, st.just(", "))), st.integers(1, 20))
def test_a_segment_is_decoded_as_alone(poll: tuple[list[bytes | None], bytes], at_once: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "_BYTES", 20 * at_once)
        together, single = check(SegmentsView(spool=Spool()), *poll)
    assert together.batch.segment_ids == [place for each in single for place in each.batch.segment_ids]
    owned = [run for each in single for run in each.batch.runs]
    for run, own in zip(together.batch.runs, owned, strict=True):
        assert (run.count, run.first, run.last, run.digest) == (own.count, own.first, own.last, own.digest)
        assert [piece.open().tolist() for piece in run.pieces] == [piece.open().tolist() for piece in own.pieces]


@pytest.mark.parametrize("words", ["any", "alphabetic"])
@given(polls(LINE, st.builds(line_of, st.sampled_from("xyz"), st.text("ab ", max_size=70), st.integers(0, 10**12))))
def test_a_line_of_words_is_decoded_as_alone(words: Any, poll: tuple[list[bytes | None], bytes]):
    together, single = check(WordsView(words=words), *poll)
    types, found = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for each in single:
        own = pairs(each.batch)
        types, found = types + own[0], found + own[1]
    batch = together.batch
    assert pairs(batch) == (types, found)
    times = together.times
    ends = (int(times.min()), int(times.max())) if times.size else (None, None)
    assert (batch.count, batch.first(), batch.last()) == (times.size, *ends)


# Names ---------------------------------------------------------------------------------------------------------------


LONG = st.text("ab", min_size=1, max_size=3).map("the same beginning ".__add__)
NAMES = st.lists(st.text("ab", max_size=3) | st.text("abc", min_size=7, max_size=20) | LONG, max_size=60)


@given(NAMES, st.booleans())
def test_equal_names_have_one_number_even_if_hashes_collide(names: list[str], collide: bool):
    with pytest.MonkeyPatch.context() as patch:
        if collide:
            patch.setattr(Text, "hashes", lambda text: np.zeros(text.starts.size, np.uint64))
        found, numbers = numbered(Text.of([name.encode() for name in names]))
    assert [found[number] for number in numbers.tolist()] == names
    assert sorted(found) == sorted(set(names))


@given(st.lists(st.text("ab ", max_size=80), max_size=40), st.sampled_from(FRAMES))
def test_texts_are_split_as_python_splits_them(texts: list[str], frame: bytes):
    rows, words = split(framed([text.encode() for text in texts], frame).text)
    owned: list[list[bytes]] = [[] for _ in texts]
    for row, word in zip(rows.tolist(), words.take(np.arange(rows.size)), strict=True):
        owned[row].append(word)
    assert owned == [text.encode().split() for text in texts]


@given(st.lists(st.tuples(st.integers(-5, 5) | st.sampled_from([-(10**10), 10**11]), st.integers(0, 3)), max_size=60))
def test_occurrences_are_counted_by_second_and_name(events: list[tuple[int, int]]):
    seconds, numbers = (np.array([event[each] for event in events], np.int64) for each in (0, 1))
    found = counted("abcd", numbers, seconds)
    rows = zip(found.seconds.tolist(), found.numbers.tolist(), found.counts.tolist(), strict=True)
    assert [((second, number), count) for second, number, count in rows] == sorted(Counter(events).items())
