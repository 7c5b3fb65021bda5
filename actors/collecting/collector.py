"""The manager's record of one collector: its address, the description of its slice, and its file."""

from dataclasses import dataclass

from actors.messages import SetCollectorMessage
from actors.protocol import Address, CollectorId
from actors.views.view import Meta


@dataclass(slots=True)
class Collector:
    """One collector, as of its last report.

    Version `version` of an aged slice is in the file `name`. While `name` is None, the slice is `coming` (being written), or
    the manager must send `Archive`.
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
        """Whether the slice is on disk only, not in memory."""
        return self.meta.file_bytes > 0
