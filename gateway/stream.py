"""One stream as the gateway sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from actors.protocol import Address
from actors.replies import GetPlace, GetShards, GetStats, Query, Write, WriteToAll
from gateway.letters import Letters

STREAM, VIEW = "Firnline-Stream", "Firnline-View"
ORIGIN = {STREAM: "The stream that the answer is from.", VIEW: "The view of that stream."}
"""The headers of every answer from a stream, with their descriptions."""


@dataclass(frozen=True, slots=True)
class Served:
    """A stream: its name, the name of its view, and the addresses of the actors that reply for it.

    `steps` are the names of the steps of a set; empty for other views. `granularities` are the lengths of the periods of
    uniques, shortest first; empty means all of them. `source` describes where its records come from. `unit_of` returns the
    present unit of its times, which events may decide later. Any thread may call it. `letters` are its dead letters, if it
    keeps any. `shards` is None unless the stream is spread over the processes of a cluster.
    """

    name: str
    view: str
    manager: Address[Query | GetStats]
    publisher: Address[GetPlace] | None = None
    writer: Address[Write | WriteToAll] | None = None
    steps: tuple[str, ...] = ()
    granularities: tuple[str, ...] = ()
    unit_of: Callable[[], str] = lambda: "ms"
    source: str = ""
    letters: Letters | None = None
    shards: Address[GetShards] | None = None

    @property
    def time_unit(self) -> str:
        """The present unit of its times: s, ms, us or ns; or batch, if they are ids."""
        return self.unit_of()
