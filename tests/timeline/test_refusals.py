"""All refused records are counted. The newest are kept, each up to a limit of bytes."""

import random

import pytest

from actors.timeline.refusals import Refusals, Refused


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_are_kept_and_all_are_counted(seed: int):
    chance = random.Random(seed)
    most, longest = chance.randrange(6), chance.randrange(9)
    refusals, wanted, counts = Refusals(max_count=most, max_bytes=longest), [], {}
    for offset in range(chance.randrange(30)):
        reason, raw = chance.choice(("empty", "negative")), chance.randbytes(chance.randrange(20))
        refusals.add(offset % 3, offset, reason, raw)
        wanted.insert(0, Refused(offset % 3, offset, reason, len(raw), raw[:longest]))
        counts[reason] = counts.get(reason, 0) + 1
        assert refusals.newest() == tuple(wanted[:most])
        assert refusals.counts() == counts


def test_a_large_refused_record_is_kept_as_its_first_bytes_and_its_length():
    refusals = Refusals(max_count=2, max_bytes=256)
    refusals.add(1, 7, "too_long", b"x" * 1_000_000)
    (kept,) = refusals.newest()
    assert (kept.length, kept.head) == (1_000_000, b"x" * 256)


def test_returned_values_do_not_change_later():
    refusals = Refusals(max_count=2, max_bytes=8)
    refusals.add(0, 0, "empty", b"")
    newest, counts = refusals.newest(), refusals.counts()
    refusals.add(0, 1, "empty", b"")
    counts["empty"] += 100
    assert [each.offset for each in newest] == [0]
    assert refusals.counts() == {"empty": 2}


def test_a_state_keeps_time_key_and_headers_and_one_of_an_earlier_version_has_none():
    refusals, again = Refusals(max_count=3, max_bytes=8), Refusals(max_count=3, max_bytes=8)
    refusals.add(0, 5, "empty", b"", written_at=7, key=b"k", headers=[("h", b"v"), ("none", None)])
    state = refusals.state()
    again.restore({**state, "kept": [[0, 4, "negative", 2, b"-1"], *state["kept"]]})
    assert again.newest() == (
        Refused(0, 5, "empty", 0, b"", 7, b"k", (("h", b"v"), ("none", None))),
        Refused(0, 4, "negative", 2, b"-1"),
    )
