"""Parts of shards come from different moments: the joined coverage claims no more than they have together."""

from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.joining import Heard, standing_of
from actors.cluster.messages import Part
from actors.cluster.past import Past
from actors.replies import Coverage

IDLE_S = 0.4
MOMENTS = st.integers(0, 400).map(lambda tick: tick / 100)
DELAYS = st.integers(0, 100).map(lambda tick: tick / 100)
FEW = st.lists(MOMENTS, min_size=1, max_size=4, unique=True).map(sorted)
MANY = st.integers(2, 9).map(lambda step: [tick / 100 for tick in range(step, 400, step)])


def watermark_at(records: list[float], moment: float) -> int | None:
    """Return the watermark of a shard that has just read all, and whose events have the times at which they are written."""
    known = records[: bisect_left(records, moment)]
    return int(100 * known[-1]) if known else None


def part_of(records: list[float], made_at: float, *, whole_s: float) -> Part:
    """Return the part that a shard makes: it is idle if it had read all at `whole_s` before, and no record came for a while."""
    past = Past()
    for moment in records:
        if moment < made_at:
            past.note(int(100 * moment), moment)
    read = records[: bisect_left(records, made_at)]
    idle = made_at - max(read, default=-1.0) >= IDLE_S + whole_s
    return Part(
        (),
        Coverage(None, watermark_at(records, made_at), None),
        None,
        idle=idle,
        epoch=1,
        silence=int(100 * (made_at - 0.1)) if idle and read else None,
        per_s=100,
        whole_s=whole_s if idle else None,
        news_s=made_at - read[-1] if read else None,
        past=tuple((made_at - at, watermark) for at, watermark in past.at(made_at)),
    )


@given(
    st.lists(
        st.tuples(st.one_of(FEW, MANY), DELAYS, DELAYS, st.sampled_from([0.0, 0.01, 0.3])),
        min_size=2,
        max_size=4,
    ),
    st.integers(50, 350).map(lambda tick: tick / 100),
)
def test_no_record_that_a_part_lacks_is_before_complete_to_or_the_clock(shards, began: float):
    heard, lacking = [], []
    for records, out, back, whole_s in shards:
        made_at = began + out
        heard.append(Heard(part_of(records, made_at, whole_s=whole_s), began, made_at + back))
        lacking += [int(100 * moment) for moment in records if moment >= made_at]
    standing = standing_of(heard, ())
    complete_to = standing.coverage.complete_to
    assert complete_to is None or all(time >= complete_to for time in lacking)
    if standing.idle:
        assert standing.clock is None or all(time >= standing.clock for time in lacking)
    own = [each.complete_to for each in heard]
    if None not in own:
        assert complete_to is not None and complete_to >= min(own), "each part is complete before its own watermark"


def silent(complete_to: int | None, whole_s: float | None = 0.1) -> Part:
    return Part((), Coverage(None, complete_to, None), None, idle=True, epoch=1, whole_s=whole_s, news_s=99.0)


def test_an_idle_shard_holds_the_others_back_for_no_longer_than_it_is_looked_at():
    past = ((0.0, 90), (0.2, 70), (2.0, 50))
    awake = Part((), Coverage(None, 90, None), None, idle=False, epoch=1, past=past)
    for own, came_at, whole_s, complete_to in [
        (3, 10.0, 0.1, 70),
        (None, 10.0, 0.1, 70),
        (3, 11.5, 0.1, 50),
        (3, 13.5, 0.1, 3),  # it is not known what the other shard had read by then
        (None, 13.5, 0.1, None),
        (3, 10.0, None, 3),
        (90, 13.5, None, 90),  # the idle shard has passed that time itself
    ]:
        heard = [Heard(silent(own, whole_s), 10.0, 10.0), Heard(awake, 10.0, came_at)]
        assert standing_of(heard, ()).coverage.complete_to == complete_to


def test_shards_are_idle_together_only_if_all_had_read_all_at_one_moment():
    early, late = silent(5), msgspec.structs.replace(silent(9), news_s=0.3, silence=20, per_s=10, past=((0.3, 9),))
    together = standing_of([Heard(early, 10.0, 10.0), Heard(late, 10.0, 10.1)], ())
    assert (together.idle, together.coverage.complete_to, together.clock) == (True, 9, 18)
    apart = standing_of([Heard(early, 10.0, 10.0), Heard(late, 10.0, 11.5)], ())
    assert (apart.idle, apart.coverage.complete_to, apart.clock) == (False, 5, 5)


@pytest.mark.parametrize("step_s", [0.001, 0.05, 1.0])
def test_the_past_of_a_shard_is_what_it_knew_and_at_most_ten_seconds_old(step_s: float):
    past, known = Past(), []
    for count in range(2_000):
        past.note(count // 2, count * step_s)
        known.append((count * step_s, count // 2))
        if count % 97 == 0:
            found = past.at(known[-1][0])
            assert found[0][1] == count // 2
            assert all(watermark <= next(high for at, high in reversed(known) if at <= since) for since, watermark in found)
            assert [at for at, _ in found] == sorted((at for at, _ in found), reverse=True)
            assert len(found) < 12
    past.note(7, 1e6)
    assert past.at(1e6) == ((1e6, 7),), "a watermark that steps back proves the earlier ones wrong"
    past.note(None, 1e6)
    assert past.at(1e6) == ()
