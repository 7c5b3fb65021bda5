"""Requests with an `Idempotency-Key`, and requests to a dataset whose writer does not reply."""

import asyncio
import tracemalloc
from hashlib import sha256
from typing import Any

import pytest

from actors.replies import Busy, Unacceptable, Written
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.repeats import MOST_KEYS, Outcome, Repeats
from gateway.routes.top import Routes
from gateway.stream import Served
from tests.support.allowed import allowance


def test_keys_are_bounded_and_a_request_that_wrote_nothing_is_forgotten():
    repeats = Repeats(most=3)
    for number in range(5):
        repeats.add(str(number), Outcome(b"%d" % number))
    assert [repeats.find(str(number)) is not None for number in range(5)] == [False, False, True, True, True]
    outcome = repeats.find("4")
    assert outcome is not None
    outcome.settle(Written({}, acknowledged=1))
    assert repeats.find("4") is outcome
    for reply in (Busy("full"), Unacceptable("too long", "too large"), Written({}, refused=2)):
        outcome.settle(reply)
        assert repeats.find("4") is None


def test_ten_thousand_keys_take_the_memory_that_is_stated():
    tracemalloc.start()
    try:
        repeats = Repeats()
        for number in range(MOST_KEYS):
            outcome = Outcome(sha256(b"%d" % number).digest())
            repeats.add(str(number), outcome)
            offsets = dict.fromkeys(range(64), 2**40 + number)
            outcome.settle(Written(offsets, refused=10**6 + number, open=10**6 + number, problem=f"\U0001f600{number}" * 1_000))
        assert tracemalloc.get_traced_memory()[0] < 16_000_000
    finally:
        tracemalloc.stop()


def test_a_repetition_that_waits_gets_the_reply_at_once():
    async def repeated() -> Written | Busy | None:
        outcome = Outcome(b"")
        waiting = [asyncio.create_task(outcome.known(60)) for _ in range(3)]
        assert await outcome.known(0.001) is None
        outcome.settle(Written({0: 5}, acknowledged=1))
        first, *others = await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert others == [first, first]
        return first

    assert asyncio.run(repeated()) == Written({}, acknowledged=1)


class Silent:
    """The address of a writer that takes requests, and has not replied to them yet."""

    def is_alive(self) -> bool:
        return True

    def tell(self, message: Any) -> None:
        pass


def test_a_deletion_without_a_reply_is_a_503_that_says_it_may_happen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.ask._GRACE_S", 0.0)
    stream = Served("dataset", "top", None, writer=Silent())  # type: ignore[arg-type]  # no manager is asked
    with pytest.raises(Problem, match="the dataset may be cleared later: repeat the request") as raised:
        asyncio.run(Routes(Asker(allowance(deadline_s=0.0)), stream).delete(None))  # type: ignore[arg-type]  # not read
    assert raised.value.status == 503
