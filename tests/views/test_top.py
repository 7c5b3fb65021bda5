"""The dataset with the largest values, against a dictionary."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.record_text import BOM
from actors.columns.text import Text
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.span import EVER, Span
from actors.views.top import table
from actors.views.top.arguments import CLEAR_KEY, CLEAR_KEYS, CLEAR_VALUE, RankOf, Top, key_of
from actors.views.top.decode import NO_TOMBSTONES, Tombstones, Upserts, decode, places
from actors.views.top.slices import LiveTop, cleared_to
from actors.views.top.view import TopView
from scripts.lab.truth import last_values
from tests.support.polled import polled
from tests.support.rendered import rendered
from tests.support.trees import kept

Row = tuple[bytes, int | None, int, int, int]
"""An id, its value, and the time, partition and offset of the record. Without a value it is a tombstone."""


def upserts(written: list[Row], clears: list[tuple[int, int]] = ()) -> Upserts:
    """Make a batch."""
    rows = [row for row in written if row[1] is not None]
    deleted = [row for row in written if row[1] is None]

    def column(index: int) -> Any:
        return np.array([row[index] for row in rows], np.int64)

    place = places(column(3).astype(np.uint8), column(4), 0)
    cleared = np.array([(partition << 40) + offset for partition, offset in clears], np.int64)
    graves = np.array([(row[3] << 40) + row[4] for row in deleted], np.int64)
    tombstones = Tombstones(Text.of([row[0] for row in deleted]), graves) if deleted else NO_TOMBSTONES
    return Upserts(Text.of([row[0] for row in rows]), column(1), column(2), place, cleared, tombstones)


def ranked(live: LiveTop, limit: int | None = None) -> list[str]:
    view, arguments = TopView(), Top(limit)
    written = b"".join(rendered(view, live.read(EVER, arguments), EVER, arguments, "json", {}))
    found: list[str] = msgspec.json.decode(written)["data"]
    return found


def standing(live: LiveTop, name: bytes) -> list[tuple[str, int, int]]:
    """Return the id, its value and its rank, as the view has them."""
    asked = RankOf(name=name)
    blocks = TopView().blocks(live.read(EVER, asked), EVER, asked)
    return [row for block in blocks for row in zip(*block.columns, strict=True)]


def expected(held: dict[bytes, int], limit: int | None = None) -> list[str]:
    """Return the ids in the order of the command ZREVRANGE of Redis: by value, then by id as bytes, the largest first."""
    return [name.decode() for name, _ in sorted(held.items(), key=lambda entry: (entry[1], entry[0]), reverse=True)][:limit]


NAMES = st.binary(max_size=20).map(lambda raw: raw.hex().encode()) | st.sampled_from(
    [b"", b"a", b"ab", b"abcdefgh", b"abcdefghi"]
)


@given(st.lists(st.lists(st.tuples(NAMES, st.integers(-3, 3) | st.sampled_from([INT64_MIN, INT64_MAX]))), max_size=8))
def test_the_last_value_of_an_id_wins_and_ties_go_by_id(batches: list[list[tuple[bytes, int]]]):
    live, held, offset = LiveTop(), {}, 0
    for batch in batches:
        rows = []
        for name, value in batch:
            rows.append((name, value, offset, 0, offset))
            held[name] = value
            offset += 1
        live.add(upserts(rows), None)
        live._dataset._check()
        for limit in (1, 2, 5, None):
            assert ranked(live, limit) == expected(held, limit)
        order = expected(held)
        for name in {b"ab", b"unknown", *held}:
            wanted = [(name.decode(), held[name], order.index(name.decode()) + 1)] if name in held else []
            assert standing(live, name) == wanted
    assert live.meta().events == offset


@pytest.mark.parametrize("seed", range(4))
def test_many_updates_keep_the_candidates_right(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "_KEPT_CANDIDATES", 8)
    monkeypatch.setattr(table, "_MOST_CANDIDATES", 40)
    chance, live, held, offset = random.Random(seed), LiveTop(), {}, 0
    for _ in range(80):
        rows = []
        for _ in range(chance.randrange(40)):
            name, value = f"id{chance.randrange(300)}".encode(), chance.randrange(-50, chance.choice([0, 50, 10**6]))
            rows.append((name, value, offset, 0, offset))
            held[name] = value
            offset += 1
        live.add(upserts(rows), None)
        live._dataset._check()
        limit = chance.choice([1, 3, 10, 50, 500])
        assert ranked(live, limit) == expected(held, limit)
    assert ranked(live) == expected(held)


Logs = dict[tuple[int, int], list[tuple[int, tuple[bytes, int | None, int] | None]]]
"""The records of each (epoch, partition) with their offsets: an id, a value or None, a time. None is a clear."""

RECORDS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"c", b"clear"]),
        st.none() | st.integers(0, 9),
        st.sampled_from([0, 5, 5, 6, 7, 1_800_000]),
    ),
    max_size=12,
)
"""The records of one partition: an id or a clear, a value or none, and the time by a clock that may be ahead or go back."""


def fed(live: LiveTop, logs: Logs, chance: random.Random, poll: int) -> Iterator[Logs]:
    """Feed a slice with records in any order of the partitions; yields the records that were read, after each poll."""
    done = dict.fromkeys(logs, 0)
    while left := [owner for owner, log in logs.items() if done[owner] < len(log)]:
        rows, clears = [], []
        for _ in range(poll):
            owner = chance.choice(left)
            if done[owner] < len(logs[owner]):
                offset, record = logs[owner][done[owner]]
                done[owner] += 1
                if record is None:
                    clears.append((owner[1], offset))
                else:
                    rows.append((*record, owner[1], offset))
        live.add(upserts(rows, clears), None)
        live._dataset._check()
        yield {owner: log[: done[owner]] for owner, log in logs.items()}


def numbered(partitions: list[list[tuple[bytes, int | None, int]]]) -> Logs:
    return {
        (0, number): [(offset, None if each[0] == b"clear" else each) for offset, each in enumerate(log)]
        for number, log in enumerate(partitions)
    }


def right(logs: Logs) -> dict[bytes, int]:
    return last_values({owner: [record for _, record in log] for owner, log in logs.items()})


@given(st.lists(RECORDS, min_size=1, max_size=4), st.randoms(use_true_random=False), st.integers(1, 6), st.booleans())
def test_the_order_in_which_partitions_are_read_changes_nothing(
    partitions: list[list[tuple[bytes, int | None, int]]], chance: random.Random, poll: int, restarts: bool
):
    logs, live, records = numbered(partitions), LiveTop(), 0
    for read in fed(live, logs, chance, poll):
        assert ranked(live) == expected(right(read))
        records = sum(map(len, read.values()))
        assert live.meta().events == records
        if restarts and chance.random() < 0.3:
            state = kept(live.state())
            live.__dict__.update(TopView().revive(state).__dict__)
    homes = {}
    for owner in logs:
        for name in right({owner: logs[owner]}):
            homes.setdefault(name, set()).add(owner)
    assert live.meta().summary.scattered >= sum(len(numbers) > 1 for numbers in homes.values())


@given(
    st.lists(RECORDS, min_size=1, max_size=3),
    st.randoms(use_true_random=False),
    st.integers(1, 9),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_replay_after_compaction_gives_the_live_answer(
    partitions: list[list[tuple[bytes, int | None, int]]], chance: random.Random, poll: int, clean: float, drops: bool
):
    logs = numbered(partitions)
    live, replay = LiveTop(), LiveTop()
    for each, log in ((live, logs), (replay, {owner: compacted(log, clean, drops=drops) for owner, log in logs.items()})):
        assert list(fed(each, log, chance, poll)) is not None
    assert ranked(live) == ranked(replay) == expected(right(logs))
    values = [sorted(each.read(EVER, Top())[0].values.tolist()) for each in (live, replay)]
    assert values[0] == values[1]


def compacted(log: list[tuple[int, Any]], clean: float, *, drops: bool) -> list[tuple[int, Any]]:
    """Return a partition as Kafka's cleaner leaves it: the last record of each key in the part that is clean.

    The clears have one key. Tombstones are kept for a time, then the cleaner drops them too.
    """
    cut = int(clean * len(log))
    last = {None if record is None else record[0]: offset for offset, record in log[:cut]}
    kept = [(offset, record) for offset, record in log[:cut] if last[None if record is None else record[0]] == offset]
    return [(offset, record) for offset, record in kept if not drops or record is None or record[1] is not None] + log[cut:]


@pytest.mark.parametrize("seed", range(4))
def test_ids_in_many_partitions_have_the_last_value_also_in_large_batches(seed: int):
    chance = random.Random(seed)
    partitions: list[list[Any]] = [[] for _ in range(4)]
    for at in range(3_000):
        ahead = chance.choice([0, 0, 0, 1_000_000])
        value = chance.randrange(100) if chance.random() < 0.8 else None
        name = f"id{chance.randrange(200)}".encode() if chance.random() > 0.001 else b"clear"
        partitions[chance.randrange(4)].append((name, value, at + ahead - chance.randrange(50)))
    live = LiveTop()
    for read in fed(live, numbered(partitions), chance, chance.randrange(50, 500)):
        assert ranked(live) == expected(right(read))
    assert live.meta().summary.scattered > 50


def test_a_clock_ahead_in_one_partition_does_not_hold_for_its_later_records():
    live = LiveTop()
    live.add(upserts([(b"z", 1, 1_800_000, 0, 0), (b"x", 5, 1_000, 0, 1), (b"x", 7, 2_000, 1, 0)]), None)
    assert live.read(EVER, Top())[0].values.tolist() == [1, 7]
    assert live.meta().summary.scattered == 1


def test_a_value_after_a_clear_counts_although_a_deleted_one_has_a_later_time():
    earlier = (b"x", 10, 1_800_000, 1, 0)
    after = [(b"x", 5, 60, 0, 1), (b"y", 1, 61, 0, 2)]
    clears = [(0, 0), (1, 1)]
    live, replay = LiveTop(), LiveTop()
    live.add(upserts([earlier]), None)
    live.add(upserts(after, clears), None)
    replay.add(upserts(after, clears[:1]), None)
    replay.add(upserts([earlier]), None)
    replay.add(upserts([], clears[1:]), None)
    assert ranked(live) == ranked(replay) == ["x", "y"]
    assert sorted(replay.read(EVER, Top())[0].values.tolist()) == [1, 5]


def test_forgetting_an_id_forgets_its_values_of_all_partitions():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 20, 0, 0), (b"a", 900, 10, 1, 0), *((b"id%d" % n, n, n, 0, n) for n in range(2, 1_000))]), None)
    live.shed(live.meta().nbytes // 2)
    live._dataset._check()
    assert "a" not in ranked(live)
    live.add(upserts([], clears=[(0, 0)]), None)
    assert "a" not in ranked(live)


def test_within_a_partition_the_larger_offset_wins_for_any_times():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 100, 0, 0), (b"a", 2, 50, 0, 1)]), None)
    live.add(upserts([(b"b", 5, 60, 1, 0), (b"b", 6, 10, 1, 1)]), None)
    assert ranked(live) == ["b", "a"]
    assert live.read(EVER, Top())[0].values.tolist() == [2, 6]


def test_ids_with_equal_hashes_stay_distinct(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Text, "hashes", lambda text: np.full(text.lengths.size, 7, np.uint64))
    live, held = LiveTop(), {}
    chance = random.Random(1)
    for offset in range(40):
        name, value = f"id{chance.randrange(9)}".encode(), offset
        held[name] = value
        live.add(upserts([(name, value, offset, 0, offset), (b"x%d" % offset, 1, offset, 0, offset)]), None)
        held[b"x%d" % offset] = 1
    assert ranked(live) == expected(held)


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_a_clear_deletes_only_the_earlier_values_of_its_partition(cut: int):
    rows = [
        (b"a", 1, 10, 0, 0),
        (b"b", 2, 11, 0, 1),
        (b"c", 3, 12, 1, 0),
        (b"d", 4, 13, 1, 2),
        (b"e", 5, 14, 0, 3),
        (b"f", 6, 15, 1, 9),
    ]
    live = LiveTop()
    live.add(upserts(rows[:cut]), None)
    live.add(upserts(rows[cut:], clears=[(0, 2), (1, 1)]), None)
    live._dataset._check()
    assert ranked(live) == ["f", "e", "d"]
    assert cleared_to(live.read(EVER, Top(1))) == {0: 2, 1: 1}
    assert live.meta().events == 8


def test_a_clear_deletes_all_values_of_an_earlier_epoch():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 11, 2, 0)]), None)
    again = decode(polled([b"c_3", CLEAR_VALUE, b"d_4"], epoch=1, first=0, keys={1: CLEAR_KEY})).batch
    live.add(again, None)
    live._dataset._check()
    assert ranked(live) == ["d"]
    # A late clear of the earlier topic deletes nothing of the new topic.
    live.add(upserts([(b"e", 5, 30, 1, 3)], clears=[(0, 9)]), None)
    assert ranked(live) == ["e", "d"]


def test_shedding_forgets_the_lowest_values_and_keeps_the_rest_exact():
    live = LiveTop()
    live.add(upserts([(f"id{n:04}".encode(), n, n, 0, n) for n in range(2_000)]), None)
    gone, complete_from = live.shed(live.meta().nbytes // 2)
    assert complete_from is None
    assert gone["lowest"] >= 900
    assert live.meta().events == 2_000 - gone["lowest"]
    assert ranked(live, 10) == [f"id{n:04}" for n in range(1_999, 1_989, -1)]
    assert live.meta().summary.lowest_forgotten == gone["lowest"] - 1
    live._dataset._check()


def test_shedding_0_bytes_forgets_nothing():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 20, 0, 1)]), None)
    assert live.shed(0) == ({}, None)
    assert ranked(live) == ["b", "a"]


def test_a_span_has_the_ids_whose_last_value_lies_in_it():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 20, 0, 1), (b"a", 3, 30, 0, 2)]), None)
    names = [piece.ids.take(np.arange(piece.values.size)) for piece in live.read(Span(15, 30), Top())]
    assert names == [[b"b"]]


def restored(live: LiveTop) -> LiveTop:
    return TopView().revive(kept(live.state()))


@pytest.mark.parametrize("seed", range(3))
def test_a_restored_slice_has_the_capacity_and_the_candidates_of_the_original(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "_KEPT_CANDIDATES", 8)
    monkeypatch.setattr(table, "_MOST_CANDIDATES", 40)
    monkeypatch.setattr(table, "_LEAST", 16)
    chance, live, offset = random.Random(seed), LiveTop(), 0
    again = restored(live)
    for _ in range(60):
        rows = []
        for place in range(offset, offset + chance.randrange(40)):
            name, value = b"x" * chance.randrange(40) + b"%d" % chance.randrange(400), chance.randrange(-50, 10**6)
            rows.append((name, value, offset - chance.randrange(200), chance.randrange(2), place))
        offset += 40
        clears = [(0, chance.randrange(offset - 40))] if chance.random() < 0.05 else []
        nbytes, limit = chance.choice([0, 0, 0, 2_000]), chance.choice([1, 3, 10, 50])
        for each in (live, again):
            each.add(upserts(rows, clears), None)
        shed = live.shed(nbytes)
        assert again.shed(nbytes) == shed
        again._dataset._check()
        if chance.random() < 0.5:
            again = restored(again) if chance.random() < 0.5 else restored(live)
            live.state()  # which puts candidates in order
            assert again.meta() == live.meta()
            assert again._dataset._shown._threshold == live._dataset._shown._threshold
        assert ranked(again, limit) == ranked(live, limit)
        assert again.read(EVER, Top())[0].cleared == live.read(EVER, Top())[0].cleared
    assert ranked(again) == ranked(live)
    assert len(live._dataset) > 16


def test_a_value_of_another_partition_counts_again_also_after_a_restore():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 100, 0, 0), (b"b", 2, 20, 1, 0)]), None)
    live.add(upserts([(b"a", 3, 120, 0, 1), (b"a", 6, 110, 1, 1), (b"c", 4, 300, 0, 2)]), None)
    again = restored(live)
    for each in (live, again):
        assert ranked(each) == ["c", "a", "b"]
        each.add(upserts([(b"a", 5, 10, 0, 3)]), None)  # the clock of this partition has gone back
        assert ranked(each) == ["a", "c", "b"]
        assert 6 in each.read(EVER, Top())[0].values


def test_a_state_shares_the_ids_and_copies_the_rows():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 20, 0, 1)]), None)
    state = live.state()["table"]
    assert np.shares_memory(state["blob"], live._dataset._shown._blob)
    assert not np.shares_memory(state["rows"], live._dataset._shown._rows)


def test_ids_with_equal_hashes_stay_distinct_after_a_restore(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Text, "hashes", lambda text: np.full(text.lengths.size, 7, np.uint64))
    live = LiveTop()
    for offset in range(30):
        live.add(upserts([(b"id%d" % (offset % 9), offset, offset, 0, offset)]), None)
    again = restored(live)
    again._dataset._check()
    assert ranked(again) == ranked(live)
    again.add(upserts([(b"id3", 100, 100, 0, 100)]), None)
    assert ranked(again)[:2] == ["id3", "id2"]


WRONG = {
    "rows of three": lambda state: state["rows"][:, :3],
    "rows in one row": lambda state: state["rows"].ravel(),
    "an id that begins before the first byte": lambda state: state["rows"] - (1 << 40),
    "an id that ends behind the last byte": lambda state: state["rows"] + (1 << 40),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_point_outside_of_the_blob_are_refused(name: str):
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 20, 0, 1)]), None)
    state = live.state()
    state["table"]["rows"] = WRONG[name](state["table"])
    with pytest.raises(ValueError, match="expected"):
        TopView().revive(state)


@pytest.mark.parametrize("room", [[1, 32_768, 2_048], [10**15, 32_768, 2_048], [1_024, 9, 2_048], [1_024, 10**15, 2_048]])
@pytest.mark.parametrize("slots", [2, 2_047, 4_096, 2**50])
def test_an_excessive_capacity_is_refused(room: list[int], slots: int):
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"b", 2, 20, 0, 1)]), None)
    for wrong in (room, [1_024, 32_768, slots]):
        state = live.state()
        state["table"]["room"] = wrong
        with pytest.raises(ValueError, match="expected"):
            TopView().revive(state)


GOOD = {
    b"11111111_10": (b"11111111", 10),
    b"a_-5": (b"a", -5),
    b"a_+5": (b"a", 5),
    b"a b_5": (b"a b", 5),
    b"crlf_5\r\n": (b"crlf", 5),
    b"cr_5\r": (b"cr", 5),
    b"lf_5\n": (b"lf", 5),
    BOM + b"bom_5": (b"bom", 5),
    BOM + b"both_-5\r\n": (b"both", -5),
    "\uff21_6".encode(): ("\uff21".encode(), 6),
    b"_7": (b"", 7),
    b"x_007": (b"x", 7),
    b"y_9223372036854775807": (b"y", INT64_MAX),
    b"y_-9223372036854775808": (b"y", INT64_MIN),
    b"z_-9223372036854775807": (b"z", INT64_MIN + 1),
    "ä€_1".encode(): ("ä€".encode(), 1),
    b"n_00000000000000000000000000000005": (b"n", 5),
    b" a_5": (b"a", 5),
    b"a _5": (b"a", 5),
    b"\t a\t _ 5\t": (b"a", 5),
    b"\ra_5": (b"a", 5),
    b"\n\nb c\r\n_5\r\n\n": (b"b c", 5),
    b"a_5\r\r": (b"a", 5),
    b"a_5\n\r": (b"a", 5),
    b" _6": (b"", 6),
    BOM + b"  d _-7 \r\n": (b"d", -7),
    "\u3000e\xa0_\u2009+8\x85".encode(): (b"e", 8),
    "\u2028\u20ac\u1680_9".encode(): ("\u20ac".encode(), 9),
    "\u2026f\u200b_1".encode(): ("\u2026f\u200b".encode(), 1),
    "\xc2g\xa0h_1".encode(): ("\xc2g\xa0h".encode(), 1),
}
BAD = {
    b"": "empty",
    None: "empty",
    b"bad": "no_underscore",
    b"a_b_1": "many_underscores",
    b"a_1_": "many_underscores",
    b"a_": "no_number",
    b"a_-": "no_number",
    b"a_1.5": "no_number",
    b"a_ten": "no_number",
    b"a_--1": "no_number",
    b"a_1 2": "no_number",
    b"y_9223372036854775808": "too_large",
    b"y_-9223372036854775809": "too_large",
    b"y_99999999999999999999999": "too_large",
    b"\xff_1": "not_utf8",
    b"a" * 70_000 + b"_1": "too_long",
    CLEAR_VALUE: "no_underscore",
    b"\0\0\0\0\7g_1": "framed",
    b"\0\1\2\3\4g_1": "framed",
    b"\0\0\0\0\7\6g_1\xff": "framed",
    b"\3\0" + bytes(range(16)) + b"g_1": "framed",
    b"\0\0\0\0\7" + b"g" * 70_000 + b"_1": "framed",
    "g_1".encode("utf-16"): "not_utf8",
    "g_1".encode("utf-16-be"): "not_text",
    "g_1".encode("utf-16-le"): "not_text",
    b"g\0h_1": "not_text",
    b"g_1\0": "not_text",
    b"\x0eg_1": "not_text",
    b"a\tb_5": "white_space",
    b"a\nb_5": "white_space",
    BOM + BOM + b"a_5": "white_space",
    BOM + b" " + BOM + b"a_5": "white_space",
    b" ": "no_underscore",
    b"a_ - 5": "no_number",
    b"a_\t": "no_number",
    BOM: "empty",
    b"\r\n": "empty",
    b"a_" + b"9" * 5_000: "too_large",
}


@pytest.mark.parametrize("seed", range(5))
def test_records_are_decoded_or_refused_with_a_reason_in_any_order(seed: int):
    chance = random.Random(seed)
    values = [*GOOD, *BAD, *(f"id{n}_{n}".encode() for n in range(30))]
    chance.shuffle(values)
    times, batch, accepted, refusals = decode(polled(values))
    good = [value for value in values if value not in BAD]
    assert batch.ids.take(np.arange(batch.values.size)) == [GOOD[v][0] if v in GOOD else v.split(b"_")[0] for v in good]
    assert batch.values.tolist() == [GOOD[v][1] if v in GOOD else int(v.split(b"_")[1]) for v in good]
    assert {values[place]: reason for place, reason in refusals} == BAD
    assert accepted.tolist() == [value not in BAD for value in values]
    assert times.size == batch.count == len(good)


@pytest.mark.parametrize("value", GOOD)
def test_each_valid_record_is_decoded_alone_and_beside_others(value: bytes):
    for values in ([value], [value] * 3, [value, b"id_12345"]):
        _, batch, accepted, refusals = decode(polled(values))
        assert batch.values.tolist()[0] == GOOD[value][1]
        assert batch.ids.take(np.array([0])) == [GOOD[value][0]]
        assert not refusals
        assert accepted is None or accepted.all()


SPACES = [chr(code) for code in range(0x20, 0x3100) if chr(code).isspace()] + ["\t", "\n", "\r"]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("others", [[], [b"id_1"] * 5, ["\u3042_1".encode()] * 5])
def test_white_space_around_an_id_and_around_a_number_counts_for_nothing(space: str, others: list[bytes]):
    sides = [(left, right) for left in ("", space) for right in ("", space)]
    values = [f"{left}x{right}_7".encode() for left, right in sides]
    values += [f"{left}x{right}_{right}7{left}{left}".encode() for left, right in sides]
    for poll in ([*others, *values, *others], *([*others, each] for each in values)):
        _, batch, accepted, refusals = decode(polled(poll))
        assert (accepted, refusals) == (None, [])
        found = dict(zip(batch.ids.take(np.arange(batch.values.size)), batch.values.tolist(), strict=True))
        assert found == {b"x": 7, **{each.partition(b"_")[0]: 1 for each in others}}
    assert list(map(key_of, values)) == [b"x"] * 8


def test_a_key_with_white_space_around_it_deletes_no_id():
    keys = {1: b" a", 2: b"a ", 3: "a\u3000".encode(), 4: b" "}
    refusals = decode(polled([b" a_1", None, None, None, None], keys=keys)).refusals
    assert refusals == [(place, "white_space") for place in range(1, 5)]


def test_records_that_are_utf8_only_when_joined_are_refused():
    _, batch, _, refusals = decode(polled([b"x\xc3", b"\xa9_10", "é_11".encode()]))
    assert [(place, reason) for place, reason in refusals] == [(0, "not_utf8"), (1, "not_utf8")]
    assert batch.ids.take(np.arange(batch.values.size)) == ["é".encode()]


def test_a_record_clears_only_with_the_clear_key():
    values = [b"a_1", CLEAR_VALUE, CLEAR_VALUE]
    _, batch, accepted, refusals = decode(polled(values, first=5, keys={1: CLEAR_KEY, 2: b"other"}))
    assert batch.clears.tolist() == [6]
    assert accepted.tolist() == [True, True, False]
    assert [refusal.place for refusal in refusals] == [2]
    for key in CLEAR_KEYS:
        assert decode(polled([CLEAR_VALUE], keys={0: key})).batch.clears.tolist() == [0]


def test_a_tombstone_deletes_the_id_that_is_its_key():
    live = LiveTop()
    keys = {2: b"a", 4: b"\0\0\0\0\7b", 5: b"b_5", 6: b"b"}
    times, batch, accepted, refusals = decode(polled([b"a_1", b"b_2", None, None, None, None, b""], keys=keys))
    assert accepted.tolist() == [True, True, True, False, False, False, False]
    assert [reason for _, reason in refusals] == ["empty", "framed", "many_underscores", "empty"]
    assert times.size == batch.count == 3
    live.add(batch, None)
    assert ranked(live) == ["b"]
    live.add(decode(polled([b"a_3", None, None], first=10, keys={1: b"b", 2: b"c"})).batch, None)
    assert ranked(live) == ["a"]
    assert live.meta().events == 6


def test_a_tombstone_deletes_the_values_of_earlier_epochs_in_all_partitions():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 5), (b"a", 2, 20, 1, 5), (b"b", 3, 30, 1, 6)]), None)
    live.add(decode(polled([None], epoch=1, keys={0: b"a"})).batch, None)
    live._dataset._check()
    assert ranked(live) == ["b"]


def test_an_id_in_one_partition_after_a_tombstone_is_not_counted_as_scattered():
    live = LiveTop()
    live.add(upserts([(b"a", 1, 10, 0, 0), (b"a", 2, 20, 1, 0), (b"b", 3, 30, 0, 1), (b"b", 4, 40, 1, 1)]), None)
    assert live.meta().summary.scattered == 2
    live.add(upserts([(b"a", None, 0, 1, 2), (b"b", None, 0, 0, 2)]), None)
    live._dataset._check()
    assert live.meta().summary.scattered == 0
    assert sorted(live.read(EVER, Top())[0].values.tolist()) == [1, 4]


def test_the_memory_of_deleted_ids_is_given_back():
    live = LiveTop()
    for turn in range(20):
        rows = [(b"id%d-%d" % (turn, number), number, number, 0, 10_000 * turn + number) for number in range(3_000)]
        live.add(upserts(rows), None)
        live.add(upserts([(row[0], None, 0, 0, 10_000 * turn + 5_000 + number) for number, row in enumerate(rows[:-1])]), None)
        live._dataset._check()
    assert sorted(ranked(live)) == sorted(f"id{turn}-2999" for turn in range(20))
    assert live.meta().nbytes < 1_000_000
    assert live.shed(live.meta().nbytes)[0] == {"lowest": 20}


@pytest.mark.parametrize("item", [value for value in {**GOOD, **BAD} if value is not None])
def test_the_key_of_a_posted_item_is_its_id_and_of_a_bad_item_no_id(item: bytes):
    if item in GOOD:
        assert key_of(item) == GOOD[item][0]
    else:
        assert isinstance(decode(polled([None], keys={0: key_of(item)})).refusals[0].reason, str)
