"""One stream as the gateway sees it."""

from dataclasses import dataclass

from actors.protocol import Address


@dataclass(frozen=True, slots=True)
class Served:
    """A stream: its name, the name of its view, and the addresses of the actors that reply for it.

    `steps` are the names of the steps of a set; empty for other views. `time_unit` is the unit of its times: s, ms, us or ns.
    `source` describes where its records come from.
    """

    name: str
    view: str
    manager: Address
    publisher: Address | None = None
    writer: Address | None = None
    steps: tuple[str, ...] = ()
    time_unit: str = "ms"
    source: str = ""
