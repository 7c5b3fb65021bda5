"""The manager's record of one collector: its address, what it holds, and the file that it is in."""

from dataclasses import dataclass

from actors.messages import SetCollectorMessage
from actors.protocol import Address, CollectorId
from actors.views.view import Meta


@dataclass(slots=True)
class Collector:
    """One collector as the manager knows it.

    An aged one is in the file `name`, as it was at `version`; while it is None, it is `coming` or has to be asked for.
    """

    collector_id: CollectorId
    address: Address[SetCollectorMessage]
    meta: Meta
    name: str | None = None
    file_bytes: int = 0
    version: int = 0
    coming: bool = True

    @property
    def spilled(self) -> bool:
        """Whether its bytes are on the disk alone."""
        return self.meta.file_bytes > 0
