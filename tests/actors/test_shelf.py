"""The manager's list of collectors: which collectors it drops, and when."""

from typing import Any

import pytest

from actors.collecting.collector import Collector
from actors.collecting.shelf import Shelf
from actors.messages import Discard
from actors.timeline.retention import Limits
from actors.timeline.span import Span
from actors.views.view import Meta


class Outgoing:
    """Replaces the manager: stores each message with its recipient."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Any]] = []

    def send(self, to: Any, message: Any) -> None:
        self.sent.append((to, message))


@pytest.mark.parametrize("known", [True, False])
def test_a_smaller_disk_budget_applies_at_once_although_memory_has_room(known: bool):
    """Both at a reload (`known`) and right after a restart."""
    manager: Any = Outgoing()
    shelf = Shelf(manager)
    for number in range(1, 6):
        meta = Meta(Span(10 * number, 10 * number + 10), 10, 100, 0, None, None, file_bytes=1_000)
        shelf.put(Collector(number, f"collector {number}", meta, f"file {number}", 1_000, coming=False))  # type: ignore[arg-type]
    if known:
        assert list(shelf.prune(Limits(10_000, spill_bytes=5_000), 0, None)) == []
    gone = [(each.collector_id, reason) for each, reason in shelf.prune(Limits(10_000, spill_bytes=2_500), 0, None)]
    assert gone == [(1, "disk"), (2, "disk"), (3, "disk")]
    assert manager.sent == [(f"collector {number}", Discard()) for number in (1, 2, 3)]
    assert list(shelf.prune(Limits(10_000, spill_bytes=2_500), 0, None)) == []
