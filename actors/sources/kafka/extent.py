"""How far a topic goes that another client reads: its partitions, and the end of each. The leaders are asked once a second."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from actors.kafka_topic import TopicIdentity
from actors.kafka_trouble import Reasons
from actors.replies import Trouble
from actors.sources.kafka.reach import Reach
from actors.sources.kafka.troubles import Troubles, listed

_LOOK_TIMEOUT_S = 1.0


class Extent:
    """Follows the ends of `topic`. `on_error` gets each new trouble. One source owns it."""

    def __init__(self, settings: Mapping[str, Any], topic: str, on_error: Callable[[str], None]) -> None:
        self._topic = topic
        self._reasons = Reasons(settings, on_error)
        self._troubles = Troubles(self._reasons, on_error)
        self._topic_id = TopicIdentity(settings, topic, self._reasons)
        self._reach = Reach(self._topic_id.last_ends)
        self._open = False
        self.partitions: Collection[int] = frozenset()
        """The partitions, as last seen."""
        self.identity: str | None = None
        """The id of the topic, None if the broker has none."""

    def open(self) -> bool:
        """Ask for the partitions, and forget earlier ends. Returns False if there is no topic. May wait seconds."""
        self._reach.forget()
        self._open = self.extend()
        return self._open

    def extend(self) -> bool:
        """Ask for the partitions again. Returns False if there is no topic. May wait seconds."""
        try:
            found = self._topic_id.look(_LOOK_TIMEOUT_S)
        except PermissionError as error:
            self._troubles.found("refused", (str(error),))
            return False
        except OSError as error:
            self._troubles.found("unreachable", self._reasons.newest or (str(error),))
            return False
        if not found.partitions:
            self._troubles.found("absent", (f"there is no topic {self._topic}",))
            return False
        self.partitions, self.identity = found.partitions, found.identity
        self._reasons.clear()
        self._troubles.over()
        return True

    def ends(self, now: float) -> tuple[float, Mapping[int, int]]:
        """Return when the leaders were asked last that have all answered, and the end of each partition; -inf before that.

        Never waits. Cost: mostly a look at the clock.
        """
        self._reach.look(self.partitions, now)
        return self._reach.known_at, self._reach.ends

    def hurry(self) -> None:
        """Have the next `ends` ask the leaders, although a second has not passed."""
        self._reach.hurry()

    def trouble(self) -> Trouble | None:
        """Return why the ends are unknown, None if they are known. Never waits."""
        if self._open:
            now = time.monotonic()
            if silent := self._reach.silent(now):
                why = self._reasons.newest or (f"topic {self._topic}: the leader of {listed(silent)} does not answer",)
                self._troubles.found("unreachable", why, for_s=now - min(silent.values()))
            else:
                self._troubles.over()
        return self._troubles.present

    def close(self) -> None:
        """Disconnect."""
        self._open = False
        self._reach.forget()
        self._topic_id.forget()
