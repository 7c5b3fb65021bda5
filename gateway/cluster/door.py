"""The private path by which the processes of a cluster ask each other, before the guard: the proof is its only key.

No stream can have this path, because the name of a stream begins with a letter.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.cluster.figures import Figures, GetFigures, RosterMessage, figures_bytes
from actors.cluster.messages import Ask, GathererMessage, Part
from actors.cluster.parcels import Question, apart, arguments_of, busy_bytes, question_of, reply_bytes, together
from actors.protocol import Address, Busy
from actors.views.view import View
from gateway.admission import SMALL_BYTES
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.cluster.proof import proof_of, proves
from gateway.wire.layer import Layer

ASK, ASK_EACH, FIGURES, ALIVE = "/-/ask", "/-/asks", "/-/shards", "/-/alive"
PROOF = "firnline-proof"
_PROOF = PROOF.encode()
_LONGEST_WAIT_S = 600.0

_OVER = 1.05
"""How long the parts are waited for, for each second that the shards have. The other process waits longer still."""

_QUICK_S = 0.0005
_QUICK_BYTES = 4 << 20
"""Parts are written on the event loop if they are made of at most this many bytes, and the last ones of the same kind took at
most `_QUICK_S` of processor time. A thread would take another 0.1 ms."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A stream of the cluster: the name of its view, the view, and its gatherer and its roster in this process."""

    name: str
    view: View
    gatherer: Address[GathererMessage]
    roster: Address[RosterMessage]


class Door(Layer):
    """Answers questions of other processes, about the `streams` by name. All other requests go to `app`.

    It speaks ASGI itself: a request and a response of Starlette would take a tenth of the time of a short answer.
    """

    def __init__(self, app: ASGIApp, asker: Asker, streams: Mapping[str, Shared], secret: bytes) -> None:
        super().__init__(app)
        self._asker = asker
        self._streams = streams
        self._secret = secret
        self._took_s: dict[tuple[str, str], float] = {}
        self._paths: dict[tuple[str, str], Callable[[bytes], Awaitable[bytes]]] = {
            ("POST", ASK): self._answer,
            ("POST", ASK_EACH): self._answers,
            ("POST", FIGURES): self._figures,
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of the private paths."""
        answering = self._paths.get((scope["method"], scope["path"]))
        if answering is not None:
            status, answer, headers = await self._response(scope, receive, answering)
            headers.append((b"content-length", str(len(answer)).encode()))
        elif scope["path"] == ALIVE and scope["method"] == "GET":
            status, answer, headers = 204, b"", []
        else:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _response(
        self, scope: Scope, receive: Receive, answering: Callable[[bytes], Awaitable[bytes]]
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return the status, the body and the headers of a response, without the length."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, b"", []
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._asker.allowance.now.max_body_bytes:
                return 413, b"", []
        given = next((value for name, value in scope["headers"] if name == _PROOF), b"")
        if not proves(self._secret, given.decode("latin-1"), f"question {scope['path']}", body):
            return 403, b"", []
        try:
            answer = await answering(bytes(body))
        except Problem as problem:
            return 503, problem.got.encode(), []
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            return 400, type(error).__name__.encode(), []
        proof = proof_of(self._secret, "answer", given, answer)
        return 200, answer, [(_PROOF, proof.encode()), (b"content-type", b"application/octet-stream")]

    async def _figures(self, body: bytes) -> bytes:
        """Return the figures of the shards here of the stream that is named. Raises an error if there is no such stream."""
        figures: tuple[Figures, ...] = await self._asker.ask(self._streams[body.decode()].roster, GetFigures)
        return figures_bytes(figures)

    async def _answer(self, body: bytes) -> bytes:
        """Return the part that a question asks for, or the reason without one. Raises an error if it is no question."""
        (found,) = await self._parts([body])
        return found

    async def _answers(self, body: bytes) -> bytes:
        """Return the parts that several questions ask for. Raises an error if one of them is no question."""
        return together(await self._parts(apart(body)))

    async def _parts(self, bodies: Sequence[bytes | memoryview]) -> Sequence[bytes]:
        """Return a part for each question, or the reason without one. Raises an error if one of them is no question."""
        asked = [self._asked(question_of(body)) for body in bodies]
        wait_s = _OVER * max((each.deadline_s for each in asked), default=0.0)
        with self._asker.room.hold() as hold:
            try:
                replies: list[Part | Busy] = await self._asker.ask_all(
                    [(each.stream.gatherer, partial(each.message, admit=hold.admit)) for each in asked], wait_s
                )
            except Problem as problem:
                return [busy_bytes(problem.got)] * len(asked)
            kinds = {(each.question.stream, each.question.kind) for each in asked}
            quick = len(asked) * max((self._took_s.get(kind, math.inf) for kind in kinds), default=0.0) <= _QUICK_S
            if quick and hold.nbytes <= len(asked) * SMALL_BYTES + _QUICK_BYTES:
                parts, took_s = _written(asked, replies)
            else:
                parts, took_s = await asyncio.to_thread(_written, asked, replies)
            self._took_s.update(dict.fromkeys(kinds, took_s / max(1, len(asked))))
            return parts

    def _asked(self, question: Question) -> "_Asked":
        """Return a question with what it is about. Raises an error if there is no such stream, or the arguments are wrong."""
        stream = self._streams[question.stream]
        return _Asked(
            question, stream, arguments_of(question, stream.name), min(max(0.0, question.deadline_s), _LONGEST_WAIT_S)
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of another process about `stream`."""

    question: Question
    stream: Shared
    arguments: Any
    deadline_s: float

    def message(self, reply_to: Callable[[Part | Busy], None], admit: Callable[[int, int], Any]) -> Ask:
        """Return the message to the gatherer."""
        question = self.question
        return Ask(question.shard, question.epoch, question.span, self.arguments, self.deadline_s, reply_to, admit)


def _written(asked: Sequence[_Asked], replies: Sequence[Part | Busy]) -> tuple[list[bytes], float]:
    """Return each reply as bytes, and the seconds of processor time that this took."""
    began = time.thread_time()
    parts: list[bytes] = []
    for stream, same in itertools.groupby(zip(asked, replies, strict=True), lambda each: each[0].stream):
        questions, own = zip(*same, strict=True)
        parts += reply_bytes(stream.name, stream.view, [(each.question, each.arguments) for each in questions], own)
    return parts, time.thread_time() - began
