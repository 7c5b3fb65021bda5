"""The private path by which the processes of a cluster ask each other, before the guard: the proof is its only key.

No stream can have this path, because the name of a stream begins with a letter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.cluster.figures import Figures, GetFigures, RosterMessage, figures_bytes
from actors.cluster.messages import Ask, GathererMessage, Part
from actors.cluster.parcels import arguments_of, busy_bytes, part_bytes, question_of
from actors.protocol import Address
from actors.views.view import View
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.cluster.proof import proof_of, proves
from gateway.wire.layer import Layer

ASK, FIGURES, ALIVE = "/-/ask", "/-/shards", "/-/alive"
PROOF = "firnline-proof"
_LONGEST_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Shared:
    """A stream of the cluster: the name of its view, the view, and its gatherer and its roster in this process."""

    name: str
    view: View
    gatherer: Address[GathererMessage]
    roster: Address[RosterMessage]


class Door(Layer):
    """Answers questions of other processes, about the `streams` by name. All other requests go to `app`."""

    def __init__(self, app: ASGIApp, asker: Asker, streams: Mapping[str, Shared], secret: bytes) -> None:
        super().__init__(app)
        self._asker = asker
        self._streams = streams
        self._secret = secret

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of the private paths."""
        if scope["path"] == ASK and scope["method"] == "POST":
            response = await self._response(Request(scope, receive), self._answer)
        elif scope["path"] == FIGURES and scope["method"] == "POST":
            response = await self._response(Request(scope, receive), self._figures)
        elif scope["path"] == ALIVE and scope["method"] == "GET":
            response = Response(status_code=204)
        else:
            await self.app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _response(self, request: Request, answering: Callable[[bytes], Awaitable[bytes]]) -> Response:
        body = bytearray()
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > self._asker.allowance.now.max_body_bytes:
                    return Response(status_code=413)
        except ClientDisconnect:
            return Response(status_code=400)
        proof = request.headers.get(PROOF, "")
        if not proves(self._secret, proof, f"question {request.url.path}", bytes(body)):
            return Response(status_code=403)
        try:
            answer = await answering(bytes(body))
        except Problem as problem:
            return Response(problem.got.encode(), 503)
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            return Response(f"{type(error).__name__}".encode(), 400)
        headers = {PROOF: proof_of(self._secret, "answer", proof.encode(), answer)}
        return Response(answer, headers=headers, media_type="application/octet-stream")

    async def _figures(self, body: bytes) -> bytes:
        """Return the figures of the shards here of the stream that is named. Raises an error if there is no such stream."""
        figures: tuple[Figures, ...] = await self._asker.ask(self._streams[body.decode()].roster, GetFigures)
        return figures_bytes(figures)

    async def _answer(self, body: bytes) -> bytes:
        """Return the part that a question asks for, or the reason without one. Raises an error if it is no question."""
        question = question_of(body)
        stream = self._streams[question.stream]
        arguments = arguments_of(question, stream.name)
        deadline_s = min(max(0.0, question.deadline_s), _LONGEST_WAIT_S)
        with self._asker.room.hold() as hold:
            try:
                part: Part = await self._asker.ask(
                    stream.gatherer,
                    lambda reply_to: Ask(
                        question.shard, question.epoch, question.span, arguments, deadline_s, reply_to, hold.admit
                    ),
                )
            except Problem as problem:
                return busy_bytes(problem.got)
            return await asyncio.to_thread(part_bytes, stream.name, stream.view, part, arguments)
