"""The health of a process of a cluster, by the streams that clients know: a shard's stream counts as its stream."""

from collections import Counter
from collections.abc import Mapping

from msgspec.structs import replace

from actors.messages import GuardianMessage
from actors.protocol import Address, Busy
from actors.replies import GetHealth, Health
from actors.runtime.actor import Actor, System


def named(stream: str) -> str:
    """Return the stream of a shard's stream.

    >>> named("words.3"), named("words")
    ('words', 'words')
    """
    return stream.partition(".")[0]


class Warden(Actor[GetHealth]):
    """Asks `guardian` for the health, and replies with that of the streams."""

    def __init__(self, system: System, /, *, guardian: Address[GuardianMessage]) -> None:
        super().__init__(system, stream="")
        self._guardian = guardian

    def receive(self, message: GetHealth) -> None:
        """Pass a request on."""

        def reply(health: Health | Busy) -> None:
            message.reply_to(_of_streams(health) if isinstance(health, Health) else health)

        self.send(self._guardian, GetHealth(reply))


def _of_streams(health: Health) -> Health:
    """Return the health with the names of streams, in place of those of their shards."""
    restarts: Counter[str] = Counter()
    for stream, count in health.restarts.items():
        restarts[named(stream)] += count
    return replace(health, degraded=_with_shards(health.degraded), restarts=dict(restarts))


def _with_shards(degraded: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons by stream. Each names its shard."""
    found: dict[str, list[str]] = {}
    for stream, reason in degraded.items():
        found.setdefault(named(stream), []).append(f"shard {stream.partition('.')[2]}: {reason}")
    return {stream: "; ".join(reasons) for stream, reasons in found.items()}
