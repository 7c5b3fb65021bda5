"""A record of the lease topic counts only if a process with the same secret wrote it for this shard."""

import json

import msgspec

from scripts.service.cluster.records import Announced

SECRET = b"the secret of a cluster"
ONE = Announced(3, "0123456789ab", "127.0.0.1", 8080, 77)


def test_a_record_is_read_as_it_was_announced():
    key, value = ONE.record(SECRET)
    assert key == b"shard-3"
    assert Announced.of(3, value, SECRET) == ONE
    assert ONE.epoch(41) == 41, "the place of the first record of a lease is its epoch"
    answers = msgspec.structs.replace(ONE, lease=41)
    assert Announced.of(3, answers.record(SECRET)[1], SECRET) == answers
    assert answers.epoch(44) == 41


def test_a_record_of_another_secret_or_shard_or_with_another_member_does_not_count():
    _, value = ONE.record(SECRET)
    assert Announced.of(3, value, b"the secret of another") is None
    assert Announced.of(2, value, SECRET) is None
    forged = json.loads(value)
    forged["lease"]["port"] = 8081
    assert Announced.of(3, json.dumps(forged).encode(), SECRET) is None
    assert Announced.of(3, b"{}", SECRET) is None
    assert Announced.of(3, b"\xff", SECRET) is None
