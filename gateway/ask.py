"""The one bridge from the event loop to the actors: a message with a reply address, awaited without a thread.

The actor's thread sets the result on the loop. Bounded: more than so many requests at once are told to come again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from actors.messages import Address, Busy, Message, ReplyTo
from gateway.errors import busy
from gateway.room import Room

REPLY_BYTES = 64 << 20
"""Bytes of answers under way, where nobody says how many."""

_GRACE_S = 1.0
"""How much longer than the deadline, which the actor itself keeps, the loop waits for a reply."""


class Asker:
    """Asks actors, at most `at_once` questions under way, each for at most `deadline_s` seconds. For one event loop.

    What the answers may take of memory is up to the routes, which take it from `room` before they ask.
    """

    def __init__(self, *, deadline_s: float, at_once: int, reply_bytes: int = REPLY_BYTES) -> None:
        self.deadline_s = deadline_s
        self.room = Room(reply_bytes)
        self._at_once = at_once
        self._under_way = 0

    async def ask(self, address: Address, message: Callable[[ReplyTo], Message]) -> Any:
        """Send what `message` makes of a reply address, and return the reply.

        Raises Problem 503 when there is no room, no actor, or no reply in time.
        """
        if self._under_way >= self._at_once:
            raise busy(f"{self._at_once} requests under way")
        if not address.is_alive():
            raise busy("the stream is shutting down")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        def reply_to(reply: Any) -> None:
            loop.call_soon_threadsafe(settle, reply)

        self._under_way += 1
        try:
            address.tell(message(reply_to))
            reply = await asyncio.wait_for(future, self.deadline_s + _GRACE_S)
        except TimeoutError:
            raise busy("no reply in time") from None
        finally:
            self._under_way -= 1
        if isinstance(reply, Busy):
            raise busy(reply.reason)
        return reply
