"""The one bridge from the event loop to the actors: a message with a reply address, awaited without a thread.

The actor's thread, which may be the loop's own, sets the result on the loop. The number of requests in progress is bounded; a
further one gets 503.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from actors.protocol import Address, Message, ReplyTo, delivered
from actors.replies import Busy, TooMuch
from gateway.admission import RETRY_AFTER_S, Room
from gateway.api.errors import NoReply, busy, not_taken, too_much
from gateway.wire.limits import Allowance

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply")

Trace = Callable[[str], contextlib.AbstractContextManager[Any]]
"""Returns a context manager that traces an operation by its name."""

_GRACE_S = 1.0
"""Seconds that the loop waits for a reply beyond the deadline, which the actor itself keeps."""

_TOO_LATE = Busy("no reply in time")


class Asker:
    """Sends requests to actors within `allowance`, which limits their number and their time. For one event loop.

    `trace` is entered from a request to its reply. `room` has the memory for answers.
    """

    def __init__(self, allowance: Allowance, trace: Trace = contextlib.nullcontext) -> None:
        self.allowance = allowance
        self._trace = trace
        self._room = Room(allowance.now.reply_bytes)
        self._under_way = 0

    @property
    def deadline_s(self) -> float:
        """Seconds within which a request is answered; a reload may change it."""
        return self.allowance.now.deadline_s

    @property
    def room(self) -> Room:
        """The account of the memory for answers; a reload may change its size."""
        self._room.nbytes = self.allowance.now.reply_bytes
        return self._room

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a request that waits. Raises Problem 503 if too many requests are in progress."""
        at_once = self.allowance.now.max_queries
        if self._under_way >= at_once:
            raise busy(f"{at_once} requests under way")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def ask(
        self,
        address: Address[Request],
        message: Callable[[ReplyTo[Reply]], Request],
        heard: Callable[[Reply | Busy], None] | None = None,
    ) -> Reply:
        """Send the message that `message` makes of a reply address, and return the reply.

        `heard` gets each reply on the event loop, also a later one. Raises Problem 503 if too many requests are in progress or
        the actor has stopped, and `NoReply`, a 503 too, if no reply comes in time; Problem 429 if the reply is `TooMuch`;
        Problem 403, 413 or 422 if it is `Unacceptable`, and 409 if it is `Unanswerable`.
        """
        with self.under_way():
            reply = await self._reply(address, message, heard)
        if isinstance(reply, TooMuch):
            raise too_much(reply.nbytes, reply.free_bytes, RETRY_AFTER_S)
        if isinstance(reply, Busy):
            raise not_taken(reply)
        return reply

    async def ask_all(
        self, requests: Sequence[tuple[Address[Request], Callable[[ReplyTo[Reply]], Request]]], wait_s: float | None = None
    ) -> list[Reply | Busy]:
        """Send several messages at once, and return their replies. One that does not come within `wait_s` is a `Busy`.

        By default that is the time of `ask`: actors that do not reply cost the time of one. They count as one request. Raises
        Problem 503 if too many requests are in progress.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        replies: dict[int, Reply | Busy] = {}

        def settle() -> None:
            if not over.done():
                over.set_result(None)

        def reply_to(number: int, reply: Reply | Busy) -> None:
            replies.setdefault(number, reply)
            if len(replies) == len(requests):
                with contextlib.suppress(RuntimeError):  # the loop is closed because the service ends; the actor must not fail
                    loop.call_soon_threadsafe(settle)

        with self.under_way(), self._trace(f"ask {len(requests)}"):
            for number, (address, message) in enumerate(requests):
                if not delivered(address, message(partial(reply_to, number))):
                    reply_to(number, Busy("the stream is shutting down"))
            timer = loop.call_later(self.deadline_s + _GRACE_S if wait_s is None else wait_s, settle)
            try:
                await over
            finally:
                timer.cancel()
        return [replies.get(number, _TOO_LATE) for number in range(len(requests))]

    async def _reply(
        self,
        address: Address[Request],
        message: Callable[[ReplyTo[Reply]], Request],
        heard: Callable[[Reply | Busy], None] | None,
    ) -> Reply | Busy:
        """Send the message, and return the first reply. Raises NoReply, and Problem 503 if the actor has stopped."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply | Busy] = loop.create_future()

        def settle(reply: Reply | Busy) -> None:
            if heard is not None:
                heard(reply)
            if not future.done():
                future.set_result(reply)

        own = threading.get_ident()

        def reply_to(reply: Reply | Busy) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed because the service ends; the actor must not fail
                if threading.get_ident() == own:  # the actor has run on this thread, which the dispatcher allows
                    settle(reply)
                else:
                    loop.call_soon_threadsafe(settle, reply)

        def expire() -> None:
            if not future.done():
                future.set_exception(TimeoutError())

        sent = message(reply_to)
        with self._trace(f"ask {type(sent).__name__}"):
            if not delivered(address, sent):
                raise busy("the stream is shutting down")
            if future.done():  # the actor has run on this thread
                return future.result()
            timer = loop.call_later(self.deadline_s + _GRACE_S, expire)  # `wait_for` costs one more turn of the loop
            try:
                return await future
            except TimeoutError:
                raise busy("no reply in time", NoReply) from None
            finally:
                timer.cancel()
