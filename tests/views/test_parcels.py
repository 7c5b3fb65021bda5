"""Parts of answers that go from one process of a cluster to another: they own their bytes, and give the answer of the whole."""

import json
import random
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import CARRIED, Moved, Part, Place
from actors.cluster.parcels import (
    arguments_of,
    parcel_of,
    part_bytes,
    part_of,
    parts_of,
    question_bytes,
    question_of,
    reply_bytes,
)
from actors.columns.text import Text
from actors.columns.times import NO_TIMES
from actors.protocol import Busy
from actors.replies import Coverage
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.top.arguments import Figures as TopFigures
from actors.views.top.arguments import RankOf, Top
from actors.views.top.decode import Upserts, places
from actors.views.uniques.arguments import Counts, Rows
from actors.views.words.arguments import Buckets, Figures
from config.streams import STREAMS
from tests.support.samples import SAMPLES, Run, fed

ASKED_ONCE = ("words", "uniques")
"""Views whose shards are asked what the client asks. The others have tests of their own below."""

JOINING = [name for name in VIEWS if find_spec(f"actors.views.{name}.parcel") is not None]


def sent(run: Run, partial: Any, arguments: Any) -> Any:
    """Return a partial as another process gets it."""
    part = Part(partial, Coverage(None, 5, None, (EVER, Span(1, 2))), ((1, 2),), idle=True, epoch=7)
    found = part_of(run.sample.view, run.view, part_bytes(run.sample.view, run.view, part, arguments))
    assert isinstance(found, Part)
    assert (found.coverage, found.origin, found.idle, found.epoch) == (part.coverage, part.origin, True, 7)
    return found.partial


def sent_together(run: Run, partials: list[Any], arguments: Any, processes: Sequence[Sequence[int]]) -> list[Any]:
    """Return the partials of shards as another process gets them, if each of the `processes` has some of the shards."""
    found: list[Any] = []
    for shards in processes:
        data = [question_bytes("s", shard, 7, span=EVER, arguments=arguments, deadline_s=1.0, joint=True) for shard in shards]
        asked = [(question_of(each), arguments) for each in data]
        parts = [Part(partials[shard], Coverage(None, shard, None), ((1, shard),), idle=True, epoch=7) for shard in shards]
        pieces = reply_bytes(run.sample.view, run.view, asked, parts)
        assert len(shards) == 1 or [len(each) for each in pieces[1:]] == [0] * (len(shards) - 1)
        told = parts_of(run.sample.view, run.view, pieces)
        assert [each.coverage.complete_to for each in told if isinstance(each, Part)] == list(shards)
        found += [each.partial for each in told if isinstance(each, Part) and each.partial is not CARRIED]
    assert len(found) == len(processes)
    return found


SPREADS = ([[0, 1], [2]], [[2, 0], [1]], [[0, 1, 2]])
"""How three shards may lie in processes that have several of them."""


def test_a_view_has_parcels_if_its_stanza_says_that_shards_answer_together():
    assert [name for name, stanza in STREAMS.items() if stanza.joins] == JOINING


def test_the_merge_of_parts_that_were_sent_is_the_answer_of_the_whole(run: Run):
    if run.sample.view not in ASKED_ONCE:
        return
    for span in run.spans()[::2]:
        for arguments in run.sample.arguments:
            for shards in (1, 2, 3):
                groups = [run.view.merge([part.read(span, arguments) for part in run.parts[n::shards]]) for n in range(shards)]
                joined = run.view.merge([sent(run, each, arguments) for each in groups])
                assert run.shown(joined, span, arguments) == run.shown(run.merged(span, arguments), span, arguments)
            for spread in SPREADS if run.sample.view == "words" else ():
                joined = run.view.merge(sent_together(run, groups, arguments, spread))
                assert run.shown(joined, span, arguments) == run.shown(run.merged(span, arguments), span, arguments)


def test_a_part_that_was_sent_does_not_change_with_later_events(run: Run):
    if run.sample.view not in ASKED_ONCE:
        return
    chance, records = random.Random(3), run.sample.records(random.Random(3))
    partials = [sent(run, run.merged(EVER, arguments), arguments) for arguments in run.sample.arguments]
    before = [run.shown(*each) for each in zip(partials, [EVER] * len(partials), run.sample.arguments, strict=True)]
    for _ in range(3):
        run.poll(next(records), idle=False)
        run.age(chance)
    after = [run.shown(*each) for each in zip(partials, [EVER] * len(partials), run.sample.arguments, strict=True)]
    assert after == before


def test_buckets_of_words_that_were_sent_are_those_of_the_whole():
    run = fed("words", 1)
    for arguments in (Buckets("types", width=7_000), Figures("types", by=Grid.of("1m")), Figures("types", by=None)):
        for span in run.spans()[1:]:
            parts = [sent(run, part.read(span, arguments), arguments) for part in run.parts]
            right = run.shown(run.merged(span, arguments), span, arguments, "ndjson")
            assert run.shown(run.view.merge(parts), span, arguments, "ndjson") == right
            groups = [run.view.merge([part.read(span, arguments) for part in run.parts[n::3]]) for n in range(3)]
            for spread in SPREADS:
                joined = run.view.merge(sent_together(run, groups, arguments, spread))
                assert run.shown(joined, span, arguments, "ndjson") == right
            question = question_of(question_bytes("words", 0, 1, span=span, arguments=arguments, deadline_s=1.0))
            assert arguments_of(question, "words") == arguments


@pytest.mark.parametrize("name", ASKED_ONCE)
def test_a_question_is_read_as_it_was_asked(name: str):
    for arguments in fed(name, 0).sample.arguments:
        data = question_bytes("orders", 3, 99, span=EVER, arguments=arguments, deadline_s=1.5)
        question = question_of(data)
        assert (question.stream, question.shard, question.epoch, question.deadline_s) == ("orders", 3, 99, 1.5)
        assert question.span == EVER
        assert arguments_of(question, name) == arguments
        for cut in range(len(data)):
            with pytest.raises(msgspec.MsgspecError):
                question_of(data[:cut])


def test_a_joint_reply_with_a_wrong_byte_or_of_another_number_of_shards_is_none():
    run = fed("words", 0)
    arguments = run.sample.arguments[0]
    data = [question_bytes("s", shard, 1, span=EVER, arguments=arguments, deadline_s=1.0, joint=True) for shard in range(3)]
    part = Part(run.merged(EVER, arguments), Coverage(None, None, None), None, idle=False, epoch=1)
    asked = [(question_of(each), arguments) for each in data]
    moved = Moved("no", Place("b", 2, 9, None))
    first, *rest = reply_bytes("words", run.view, asked, [moved, part, part])
    busy, whole, carried = parts_of("words", run.view, [first, *rest])
    assert (busy, isinstance(whole, Part), isinstance(carried, Part) and carried.partial is CARRIED) == (moved, True, True)
    damaged = bytearray(first)
    for place in range(0, len(damaged), 11):
        damaged[place] ^= 1
        assert all(isinstance(each, Busy) for each in parts_of("words", run.view, [bytes(damaged), *rest]))
        damaged[place] ^= 1
    assert all(isinstance(each, Busy) for each in parts_of("words", run.view, [first, b""]))
    assert all(isinstance(each, Busy) for each in parts_of("words", run.view, [b"", b"", b""]))
    alone = reply_bytes("words", run.view, [(question, arguments) for question, _ in asked], [Busy("no"), part, Busy("no")])
    assert all(alone), "one part needs no merge"


def test_a_part_with_a_wrong_byte_is_refused():
    run = fed("words", 0)
    arguments = run.sample.arguments[0]
    part = Part(run.merged(EVER, arguments), Coverage(None, None, None), None, idle=False, epoch=1)
    data = bytearray(part_bytes("words", run.view, part, arguments))
    for place in range(0, len(data), 7):
        data[place] ^= 1
        with pytest.raises(ValueError, match=r"file|checksum|index|format|kind|block|bytes"):
            part_of("words", run.view, bytes(data))
        data[place] ^= 1
    assert isinstance(part_of("words", run.view, bytes(data)), Part | Busy)


def frames(start: int, users: str, *, step: int = 7) -> list[bytes]:
    return [json.dumps({"ts": start + step * at, "uid": user}).encode() for at, user in enumerate(users)]


def shards_of(*polls: list[bytes], idle: bool) -> list[Run]:
    """Return a run for each list of records, as if each was a shard."""
    runs = []
    for values in polls:
        run = Run("uniques")
        run.poll(values, idle=idle)
        runs.append(run)
    return runs


@given(
    st.lists(st.tuples(st.integers(0, 900), st.sampled_from("abcdefgh"), st.integers(0, 2)), min_size=1, max_size=60),
    st.booleans(),
)
def test_shards_of_uniques_have_the_users_of_the_whole_each_once(events: list[tuple[int, str, int]], idle: bool):
    begin = 1_468_244_384
    ordered = sorted(events)
    whole = shards_of([line for second, user, _ in ordered for line in frames(begin + second, user)], idle=idle)[0]
    own = [
        [line for second, user, shard in ordered if shard == each for line in frames(begin + second, user)] for each in range(3)
    ]
    shards = shards_of(*own, idle=idle)
    for arguments in SAMPLES["uniques"].arguments:
        span = whole.spans()[3]
        for asked in (EVER, span):
            parts = [sent(run, run.merged(asked, arguments), arguments) for run in shards]
            joined = parcel_of("uniques").joined(
                whole.view, parts, until=None, idle=idle, clock=None, span=asked, arguments=arguments
            )
            told, right = (
                [json.loads(line) for line in whole.shown(partial, asked, arguments, "ndjson").splitlines()]
                for partial in (joined, whole.merged(asked, arguments))
            )
            hidden = ("final", "revision")
            assert [{**row, **dict.fromkeys(hidden)} for row in told] == [{**row, **dict.fromkeys(hidden)} for row in right]
            assert all(row["revision"] == 1 for row in told)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 500), st.sampled_from("abcdefgh"), st.integers(0, 2)), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(SPREADS),
    st.sampled_from([None, 0, 120_000, 480_000]),
    st.booleans(),
)
def test_the_join_of_parts_of_uniques_that_a_process_has_merged_is_that_of_the_parts(
    polls: list[list[tuple[int, str, int]]], spread: Sequence[Sequence[int]], passed_ms: int | None, idle: bool
):
    begin, runs = 1_468_244_400, [Run("uniques") for _ in range(3)]
    for poll in polls:  # later polls have late frames, which lead to further revisions
        for shard, run in enumerate(runs):
            if own := [line for second, user, of in sorted(poll) if of == shard for line in frames(begin + second, user)]:
                run.poll(own, idle=idle)
    until = None if passed_ms is None else 1_000 * begin + passed_ms
    parcel, view = parcel_of("uniques"), runs[0].view
    for arguments in (*SAMPLES["uniques"].arguments, Counts()):
        partials = [run.merged(EVER, arguments) for run in runs]
        apart = [sent(runs[0], each, arguments) for each in partials]
        told = [
            parcel.joined(view, parts, until=until, idle=idle, clock=until, span=EVER, arguments=arguments)
            for parts in (apart, sent_together(runs[0], partials, arguments, spread))
        ]
        if isinstance(arguments, Counts):
            looks = [[[np.asarray(each).tolist() for each in level] for level in look.levels.values()] for look in told]
            assert looks[0] == looks[1]
        else:
            shown = [runs[0].shown(each, EVER, arguments, "ndjson") for each in told]
            assert shown[0] == shown[1]


def test_a_period_of_uniques_is_final_when_all_shards_have_passed_it():
    begin = 1_468_244_400
    shards = shards_of(frames(begin, "ab"), frames(begin, "bc") + frames(begin + 600, "d"), idle=False)
    parcel, minute = parcel_of("uniques"), Rows("minute")

    def rows(until: int | None, *, idle: bool = False) -> list[tuple[int, bool]]:
        parts = [sent(run, run.merged(EVER, minute), minute) for run in shards]
        joined = parcel.joined(shards[0].view, parts, until=until, idle=idle, clock=until, span=EVER, arguments=minute)
        found = [json.loads(line) for line in shards[0].shown(joined, EVER, minute, "ndjson").splitlines()]
        return [(row["unique"], row["final"]) for row in found]

    assert rows(None) == rows(1_000 * (begin + 59)) == [(3, False), (1, False)]
    assert rows(1_000 * (begin + 60)) == [(3, True), (1, False)]
    assert rows(None, idle=True) == [(3, True), (1, False)], "the second shard has passed it"


Record = tuple[int, int, int, int]
"""The number of an id, its value, the partition, and the time."""


def top_of(records: list[Record], partitions: range | tuple[int, ...]) -> Run:
    """Return a run over the records of some partitions of three; offsets count in each of these."""
    run = Run("top")
    mine = [(at, record) for at, record in enumerate(records) if record[2] in partitions]
    if mine:
        columns = np.array([(value, time, partition, at) for at, (_, value, partition, time) in mine], np.int64).T.copy()
        found = places(columns[2].astype(np.uint16), columns[3], 0)
        run.live.add(Upserts(Text.of([b"id%d" % number for _, (number, *_) in mine]), *columns[:2], found, NO_TIMES), None)
    return run


def asked_of(
    shards: list[Run],
    span: Span,
    arguments: Any,
    *,
    between: Callable[[int], None] = lambda _: None,
    processes: Sequence[Sequence[int]] = (),
) -> tuple[Any, int]:
    """Return the join of what shards say when they are asked as the gatherer asks, and how often that is.

    `between` is called with the number of each round, after it. With `processes`, each of these merges the parts of its shards.
    """
    parcel, rounds = parcel_of("top"), 0
    asked, asked_span = parcel.first(arguments, span)
    while True:
        rounds += 1
        partials = [run.merged(asked_span, asked) for run in shards]
        if processes:
            parts = sent_together(shards[0], partials, asked, processes)
        else:
            parts = [sent(shards[0], each, asked) for each in partials]
        between(rounds)
        further = parcel.further(arguments, asked, parts, clock=None)
        if further is None:
            return parcel.joined(
                shards[0].view, parts, until=None, idle=True, clock=None, span=span, arguments=arguments
            ), rounds
        question = question_of(question_bytes("t", 0, 1, span=span, arguments=further, deadline_s=1.0))
        assert arguments_of(question, "top") == further
        asked = further


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(-9, 9), st.integers(0, 2), st.integers(0, 50)), max_size=120),
    st.sampled_from(
        [Top(), Top(1), Top(4), Top(4, values=True), Top(40), RankOf(name=b"id7"), TopFigures(), TopFigures(by=Grid.of("1s"))]
    ),
    st.booleans(),
    st.sampled_from([(), *SPREADS]),
)
def test_of_an_id_in_several_shards_the_last_value_counts(
    records: list[Record], arguments: Any, few: bool, processes: Sequence[Sequence[int]]
):
    shards, whole = [top_of(records, (each,)) for each in range(3)], top_of(records, range(3))
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr("actors.views.top.parcel._SPARE", 1)
            patch.setattr("actors.views.top.parcel._MORE", 1)
            patch.setattr("actors.views.top.parcel._GROWTH", 2)
        for span in (EVER, Span(10, 30)):
            joined, rounds = asked_of(shards, span, arguments, processes=processes)
            right = whole.merged(span, arguments)
            assert whole.shown(joined, span, arguments, "ndjson") == whole.shown(right, span, arguments, "ndjson")
            assert rounds <= 12


def test_an_id_that_comes_while_shards_are_asked_does_not_hide_its_later_value_in_another_shard():
    base = [(at, 1_000 + at, 0, at) for at in range(500)]
    shards = [
        top_of(base, (0,)),
        top_of([*((500 + at, value, 1, time) for at, value, _, time in base), (7_000, -1, 1, 99)], (1,)),
    ]

    def between(rounds: int) -> None:
        if rounds == 1:  # the id's last value is in the other shard, and too small to be listed there
            found = places(np.array([0], np.uint16), np.array([9_000], np.int64), 0)
            early = Upserts(Text.of([b"id7000"]), np.array([10**6]), np.array([1]), found, NO_TIMES)
            shards[0].live.add(early, None)

    joined, _ = asked_of(shards, EVER, Top(3, values=True), between=between)
    found = [json.loads(line)["id"] for line in shards[0].shown(joined, EVER, Top(3, values=True), "ndjson").splitlines()]
    assert found == ["id999", "id499", "id998"]


def test_shards_with_an_id_each_are_asked_twice_for_few_ids():
    shards = [top_of([(3 * at + shard, 1_000 * at + shard, 0, at) for at in range(2_000)], (0,)) for shard in range(3)]
    joined, rounds = asked_of(shards, EVER, Top(10, values=True))
    found = [json.loads(line)["value"] for line in shards[0].shown(joined, EVER, Top(10, values=True), "ndjson").splitlines()]
    assert found == sorted((1_000 * at + shard for at in range(2_000) for shard in range(3)), reverse=True)[:10]
    assert rounds == 2
