"""The offsets that are committed: a lag tool never sees an offset that is older than a minute."""

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.sources.kafka.commits import Commits

STEPS = st.lists(
    st.tuples(st.floats(0, 40), st.dictionaries(st.integers(0, 3), st.integers(0, 5), max_size=4), st.booleans()), max_size=20
)
"""Each step: seconds since the last one, the partitions that are read on by how many records, and whether the commit arrives."""


@given(STEPS)
def test_the_group_has_all_offsets_at_once_and_a_minute_after_the_last_lost_commit(
    steps: list[tuple[float, dict[int, int], bool]],
):
    commits, now, lost_at = Commits(), 0.0, -math.inf
    offsets, group = dict.fromkeys(range(4), 0), {}
    for pause, read, arrives in steps:
        now += pause
        offsets = {number: at + read.get(number, 0) for number, at in offsets.items()}
        if due := commits.due(offsets, now):
            group |= due if arrives else {}
            lost_at = lost_at if arrives else now
        if now - lost_at >= 60:
            assert group == offsets


def test_only_changed_offsets_are_committed_and_all_of_them_after_a_minute():
    commits = Commits()
    assert commits.due({0: 5, 1: 7}, 100.0) == {0: 5, 1: 7}
    assert commits.due({0: 5, 1: 7}, 101.0) == {}
    assert commits.due({0: 5, 1: 8}, 102.0) == {1: 8}
    assert commits.due({0: 5, 1: 8}, 159.9) == {}
    assert commits.due({0: 5, 1: 8}, 160.0) == {0: 5, 1: 8}
    assert commits.due({0: 5, 1: 8}, 219.0) == {}


def test_all_offsets_are_committed_again_two_seconds_after_a_failure():
    commits = Commits()
    commits.due({0: 5, 1: 7}, 100.0)
    commits.failed(101.0)
    assert commits.due({0: 6, 1: 7}, 102.9) == {0: 6}
    assert commits.due({0: 6, 1: 7}, 103.0) == {0: 6, 1: 7}
    commits.failed(162.9)
    assert commits.due({0: 6, 1: 7}, 163.0) == {0: 6, 1: 7}, "the minute is over before the two seconds are"


def test_the_offsets_of_a_recreated_topic_are_committed_although_they_are_those_of_the_old_one():
    commits = Commits()
    commits.due({0: 5}, 100.0)
    commits.forget()
    assert commits.due({0: 5}, 101.0) == {0: 5}
