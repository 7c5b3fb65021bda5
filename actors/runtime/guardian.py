"""The actor that receives every failure: it restarts the failed actor or gives its stream up, and keeps dead letters.

An actor that failed at data waits. The guardian sends it `Recover` after a backoff. After ten failures within a minute it gives
the stream up: the stream reads no more, but still answers queries.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import assert_never

from actors.messages import Failed, FailureNarrowed, GuardianMessage, Recover, Undelivered
from actors.protocol import Message
from actors.replies import DeadLetter, GetHealth, Health
from actors.runtime.actor import Actor, System
from actors.runtime.vitals import vitals_of

_KEPT_LETTERS = 100
_MOST_FAILURES = 10
_WITHIN_S = 60.0
_BACKOFF_S = 0.1
_LONGEST_BACKOFF = 20
"""The longest backoff, in first ones."""


class Guardian(Actor[GuardianMessage]):
    """Watches the actors of `system`. It calls `log` with the name of an event and its facts as keywords.

    The backoff is `backoff_s` at first, and doubles with each failure up to twenty times as long.
    """

    def __init__(self, system: System, *, log: Callable[..., None], backoff_s: float = _BACKOFF_S) -> None:
        super().__init__(system, stream="")
        self._log = log
        self._backoff_s = backoff_s
        self._letters: deque[DeadLetter] = deque(maxlen=_KEPT_LETTERS)
        self._letter_count = 0
        self._failures: dict[str, deque[float]] = {}
        self._restarts: Counter[str] = Counter()
        self._degraded: dict[str, str] = {}
        system.guardian = self.address

    def receive(self, message: GuardianMessage) -> None:
        """Handle one message."""
        match message:
            case Failed():
                self._failed(message)
            case FailureNarrowed(stream):
                self._failures.pop(stream, None)
            case Undelivered(stream, name, kind, reason):
                self._keep(stream, name, kind, reason)
            case GetHealth(reply_to):
                newest = tuple(reversed(self._letters))
                reply_to(
                    Health(
                        dict(self._degraded),
                        dict(self._restarts),
                        self._letter_count,
                        newest,
                        vitals_of(self.system.actors.copy()),
                        self.system.dispatcher.busy(),
                        self.system.dispatcher.worked(),
                    )
                )
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Send `Recover` all the same, because no other actor would."""
        super().failed(message, error)
        if isinstance(message, Failed) and message.held:
            self.later(self._backoff_s * _LONGEST_BACKOFF, message.healer, Recover())

    def _keep(self, stream: str, name: str, kind: str, reason: str) -> None:
        self._letter_count += 1
        self._letters.append(DeadLetter(self.system.dispatcher.wall(), stream, name, kind, reason))

    def _failed(self, message: Failed) -> None:
        """Keep the failure as a dead letter. If the actor waits, send `Recover` later, or give its stream up."""
        reason = f"{type(message.error).__name__}: {message.error}"
        self._keep(message.stream, message.name, message.kind, reason)
        self._log("actor failed", stream=message.stream, actor=message.name, message=message.kind, reason=reason)
        if not message.held:
            return
        now = self.system.dispatcher.now()
        recent = self._failures.setdefault(message.stream, deque(maxlen=_MOST_FAILURES))
        recent.append(now)
        if len(recent) == _MOST_FAILURES and now - recent[0] < _WITHIN_S:
            self._degraded[message.stream] = f"{message.name} failed {_MOST_FAILURES} times within a minute: {reason}"
            self._log("stream degraded", stream=message.stream, reason=reason)
            return
        self._restarts[message.stream] += 1
        self.later(self._backoff_s * min(_LONGEST_BACKOFF, 2 ** len(recent)), message.healer, Recover())
