"""The present trouble of the Kafka source: its state, since when, and the reasons, which are reported once."""

import time
from collections.abc import Callable, Collection

from actors.kafka_trouble import Reasons
from actors.replies import Trouble, Troubled

MOST_NAMED = 8


class Troubles:
    """Keeps the `present` trouble, None without one. `on_error` gets each new reason, `reasons` those of the connections."""

    def __init__(self, reasons: Reasons, on_error: Callable[[str], None]) -> None:
        self._reasons = reasons
        self._on_error = on_error
        self.present: Trouble | None = None

    def over(self) -> None:
        """Note that there is no trouble now."""
        if self.present is not None:
            self._reasons.clear()
        self.present = None

    def found(self, state: Troubled, reasons: tuple[str, ...], for_s: float = 0.0) -> None:
        """Note the trouble of this moment, which has lasted `for_s` seconds. It goes on as long as its state is the same."""
        before = self.present
        since = before.since if before is not None and before.state == state else time.time() - for_s
        self.present = Trouble(state, since, reasons)
        if state != "absent" and (before is None or before.reasons != reasons):
            for reason in reasons:
                self._on_error(reason)


def listed(partitions: Collection[int]) -> str:
    """Name some partitions, the first ones if there are many."""
    first = ", ".join(map(str, sorted(partitions)[:MOST_NAMED]))
    more = f" and {len(partitions) - MOST_NAMED} more" if len(partitions) > MOST_NAMED else ""
    return f"partition{'s' if len(partitions) > 1 else ''} {first}{more}"
