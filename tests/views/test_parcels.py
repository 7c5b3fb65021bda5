"""Parts of answers that go from one process of a cluster to another: they own their bytes, and give the answer of the whole."""

import json
import random
from importlib.util import find_spec
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import Part
from actors.cluster.parcels import arguments_of, parcel_of, part_bytes, part_of, question_bytes, question_of
from actors.protocol import Busy
from actors.replies import Coverage
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.uniques.arguments import Rows
from actors.views.words.arguments import Buckets, Figures
from config.streams import STREAMS
from tests.support.samples import SAMPLES, Run, fed

JOINING = [name for name in VIEWS if find_spec(f"actors.views.{name}.parcel") is not None]


def sent(run: Run, partial: Any, arguments: Any) -> Any:
    """Return a partial as another process gets it."""
    part = Part(partial, Coverage(None, 5, None, (EVER, Span(1, 2))), ((1, 2),), idle=True, epoch=7)
    found = part_of(run.sample.view, run.view, part_bytes(run.sample.view, run.view, part, arguments))
    assert isinstance(found, Part)
    assert (found.coverage, found.origin, found.idle, found.epoch) == (part.coverage, part.origin, True, 7)
    return found.partial


def test_a_view_has_parcels_if_its_stanza_says_that_shards_answer_together():
    assert [name for name, stanza in STREAMS.items() if stanza.joins] == JOINING


def test_the_merge_of_parts_that_were_sent_is_the_answer_of_the_whole(run: Run):
    if run.sample.view not in JOINING:
        return
    for span in run.spans()[::2]:
        for arguments in run.sample.arguments:
            for shards in (1, 2, 3):
                groups = [run.view.merge([part.read(span, arguments) for part in run.parts[n::shards]]) for n in range(shards)]
                joined = run.view.merge([sent(run, each, arguments) for each in groups])
                assert run.shown(joined, span, arguments) == run.shown(run.merged(span, arguments), span, arguments)


def test_a_part_that_was_sent_does_not_change_with_later_events(run: Run):
    if run.sample.view not in JOINING:
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
            told = run.shown(run.view.merge(parts), span, arguments, "ndjson")
            assert told == run.shown(run.merged(span, arguments), span, arguments, "ndjson")
            question = question_of(question_bytes("words", 0, 1, span=span, arguments=arguments, deadline_s=1.0))
            assert arguments_of(question, "words") == arguments


@pytest.mark.parametrize("name", JOINING)
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
            joined = parcel_of("uniques").joined(whole.view, parts, None, idle=idle)
            told, right = (
                [json.loads(line) for line in whole.shown(partial, asked, arguments, "ndjson").splitlines()]
                for partial in (joined, whole.merged(asked, arguments))
            )
            hidden = ("final", "revision")
            assert [{**row, **dict.fromkeys(hidden)} for row in told] == [{**row, **dict.fromkeys(hidden)} for row in right]
            assert all(row["revision"] == 1 for row in told)


def test_a_period_of_uniques_is_final_when_all_shards_have_passed_it():
    begin = 1_468_244_400
    shards = shards_of(frames(begin, "ab"), frames(begin, "bc") + frames(begin + 600, "d"), idle=False)
    parcel, minute = parcel_of("uniques"), Rows("minute")

    def rows(until: int | None, *, idle: bool = False) -> list[tuple[int, bool]]:
        parts = [sent(run, run.merged(EVER, minute), minute) for run in shards]
        joined = parcel.joined(shards[0].view, parts, until, idle=idle)
        found = [json.loads(line) for line in shards[0].shown(joined, EVER, minute, "ndjson").splitlines()]
        return [(row["unique"], row["final"]) for row in found]

    assert rows(None) == rows(1_000 * (begin + 59)) == [(3, False), (1, False)]
    assert rows(1_000 * (begin + 60)) == [(3, True), (1, False)]
    assert rows(None, idle=True) == [(3, True), (1, False)], "the second shard has passed it"
