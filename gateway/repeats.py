"""Requests that a client may repeat: the outcome of each one under the key that the client chose.

Used by the routes that write. In memory only: after a restart of the service no key is known, and a repetition writes again.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from actors.replies import Busy, Written

MOST_KEYS = 10_000


@dataclass(slots=True, eq=False)
class Outcome:
    """What came of a request with the body of this `digest`; `reply` is None as long as nothing is known."""

    digest: bytes
    reply: Written | Busy | None = None

    @property
    def nothing_taken(self) -> bool:
        """Whether it is certain that nothing was written, so the request may be tried again."""
        reply = self.reply
        return isinstance(reply, Busy) or (reply is not None and not reply.acknowledged and not reply.open)


class Repeats:
    """Remembers the newest 10,000 keys, at most 4 MB. Not thread-safe: the event loop owns it."""

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
