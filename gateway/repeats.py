"""Requests that a client may repeat: the outcome of each one under the key that the client chose.

Used by the routes that write. In memory only: after a restart of the service no key is known, and a repetition writes again.
"""

import asyncio
import contextlib
import dataclasses
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec import structs

from actors.replies import Busy, Written
from gateway.api.errors import shown

MOST_KEYS = 10_000
_NO_OFFSETS: dict[int, int] = {}


@dataclass(slots=True, eq=False)
class Outcome:
    """What came of a request with the body of this `digest`; `reply` is None as long as nothing is known.

    The event loop owns it.
    """

    digest: bytes
    reply: Written | Busy | None = None
    _arrived: asyncio.Event | None = field(default=None, init=False)

    @property
    def nothing_taken(self) -> bool:
        """Whether it is certain that nothing was written, so the request may be tried again."""
        reply = self.reply
        return isinstance(reply, Busy) or (reply is not None and not reply.acknowledged and not reply.open)

    def settle(self, reply: Written | Busy) -> None:
        """Take the newest reply, without what no repetition needs."""
        if isinstance(reply, Written):
            self.reply = structs.replace(reply, offsets=_NO_OFFSETS, problem=reply.problem and shown(reply.problem))
        else:
            self.reply = dataclasses.replace(reply, reason=shown(reply.reason))
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    async def known(self, timeout_s: float) -> Written | Busy | None:
        """Wait for the first reply, up to `timeout_s`. Return the newest reply, None if there is no reply yet."""
        if self.reply is None:
            self._arrived = self._arrived or asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), timeout_s)
        return self.reply


class Repeats:
    """Remembers the newest 10,000 keys, at most 16 MB. Not thread-safe: the event loop owns it."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()

    def find(self, key: str) -> Outcome | None:
        """Return the outcome of the earlier request with this key; None if there was none, or if it wrote nothing."""
        found = self._outcomes.get(_short(key))
        return None if found is None or found.nothing_taken else found

    def add(self, key: str, outcome: Outcome) -> None:
        """Remember the outcome of a request, also of one that is not settled yet."""
        self._outcomes[_short(key)] = outcome
        self._outcomes.move_to_end(_short(key))
        while len(self._outcomes) > self._most:
            self._outcomes.popitem(last=False)


def _short(key: str) -> bytes:
    """Return a digest of a key, whatever its length."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
