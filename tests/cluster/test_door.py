"""The path by which processes ask each other: questions to several shards in one request, without a server."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from actors.cluster.messages import Ask, Part
from actors.cluster.parcels import apart, part_of, parts_of, question_bytes, together
from actors.protocol import Busy
from actors.replies import Coverage
from actors.runtime.actor import Actor, System, start
from actors.runtime.dispatcher import Dispatcher
from actors.timeline.span import EVER
from actors.views.kinds import VIEWS
from actors.views.words.arguments import Counting
from gateway.ask import Asker
from gateway.cluster.door import ASK, ASK_EACH, PROOF, Door, Shared
from gateway.cluster.proof import proof_of, proves
from tests.support.allowed import allowance

SECRET = b"a secret of a test"
VIEW = VIEWS["words"]()
COUNTING = Counting("types", None)
SILENT, GONE, LAST = 7, 8, 9
PATIENCE_S = 60.0


class Shards(Actor[Ask]):
    """In the place of a gatherer: one shard never replies, one is gone, and each other one has a part of its own."""

    replied_last = threading.Event()

    def receive(self, message: Ask) -> None:
        if message.shard == GONE:
            message.reply_to(Busy("another process has the shard"))
        elif message.shard != SILENT:
            message.reply_to(Part((), Coverage(None, message.shard, None), None, idle=False, epoch=message.epoch))
        if message.shard == LAST:
            self.replied_last.set()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    system = System(Dispatcher())
    shards: Any = start(Shards, system, stream="s")
    yield Door(_other, Asker(allowance(max_body_bytes=10_000)), {"s": Shared("words", VIEW, shards, shards)}, SECRET)
    shards.stop()
    system.dispatcher.close()


async def _other(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(scope["path"])


def question(shard: int, stream: str = "s") -> bytes:
    return question_bytes(stream, shard, 10 + shard, span=EVER, arguments=COUNTING, deadline_s=PATIENCE_S)


def answered(door: Door, path: str, body: bytes, secret: bytes = SECRET, *, over: bool = False) -> tuple[int, bytes]:
    """Send a request in two pieces; return the status, and the answer, whose proof is right.

    With `over`, the time of the shards is over once the last one has replied.
    """
    proof = proof_of(secret, f"question {path}", body)
    came = [{"body": body[:5], "more_body": True}, {"body": body[5:], "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": "http.request", **came.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(PROOF.encode(), proof.encode())]}

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()

        def when_the_last_has_replied(_: float, end: Callable[[], None]) -> Any:
            waiting = loop.run_in_executor(None, Shards.replied_last.wait, PATIENCE_S)
            waiting.add_done_callback(lambda _: end())
            return waiting

        if over:
            loop.call_later = when_the_last_has_replied
        await door(scope, receive, send)

    asyncio.run(run())
    start, end = sent
    headers = dict(start["headers"])
    assert int(headers[b"content-length"]) == len(end["body"])
    if start["status"] == 200:
        assert proves(SECRET, headers[PROOF.encode()].decode(), "answer", proof.encode(), end["body"])
    return start["status"], end["body"]


def parts(data: bytes) -> list[Part | Busy]:
    return [part_of("words", VIEW, each) for each in apart(data)]


def test_the_parts_of_one_request_are_those_of_a_request_for_each_shard(door: Door):
    shards = [3, GONE, 0, 3]
    status, together_ = answered(door, ASK_EACH, together([question(shard) for shard in shards]))
    alone = [answered(door, ASK, question(shard)) for shard in shards]
    assert status == 200
    assert [(200, bytes(each)) for each in apart(together_)] == alone
    found = [part.epoch if isinstance(part, Part) else part.reason for part in parts(together_)]
    assert found == [13, "another process has the shard", 10, 13]


def test_a_joint_reply_has_the_parts_of_a_request_for_each_shard(door: Door):
    shards = [GONE, 3, 0]
    questions = [
        question_bytes("s", shard, 10 + shard, span=EVER, arguments=COUNTING, deadline_s=PATIENCE_S, joint=True)
        for shard in shards
    ]
    _, answer = answered(door, ASK_EACH, together(questions))
    pieces = apart(answer)
    assert [len(each) for each in pieces[1:]] == [0, 0]
    found = parts_of("words", VIEW, pieces)
    alone = [part_of("words", VIEW, answered(door, ASK, question(shard))[1]) for shard in shards]
    bare = [replace(each, partial=(), nbytes=0) if isinstance(each, Part) else each for each in found]
    assert bare == [replace(each, nbytes=0) if isinstance(each, Part) else each for each in alone]


def test_a_shard_that_does_not_reply_in_its_time_takes_no_part_from_the_others(door: Door):
    _, answer = answered(door, ASK_EACH, together([question(shard) for shard in (1, SILENT, LAST)]), over=True)
    one, silent, last = parts(answer)
    assert silent == Busy("no reply in time")
    assert [part.epoch for part in (one, last) if isinstance(part, Part)] == [11, 19]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (together([question(1)])[:-1], 400),
        (together([question(1), question(1, stream="t")]), 400),
        (together([question(1), b"", question(2)]), 400),
        (question(1), 400),
        (b"", 400),
        (together([bytes(20_000)]), 413),
    ],
)
def test_what_is_no_list_of_questions_is_refused(door: Door, body: bytes, status: int):
    assert answered(door, ASK_EACH, body)[0] == status


def test_a_list_of_questions_without_the_secret_is_refused(door: Door):
    assert answered(door, ASK_EACH, together([question(1)]), secret=b"another secret") == (403, b"")
