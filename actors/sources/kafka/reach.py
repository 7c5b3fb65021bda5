"""Whether the leader of each partition answers, and whether its records come. The Kafka source owns both; neither waits.

A consumer does not notice that a broker is gone as long as no record is expected: librdkafka connects again in the background,
and every partition stays at its end. So the leaders are asked for the ends of their partitions, once a second.
"""

import math
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any

from actors.kafka_topic import offset_in

_PERIOD_S = 1.0
_PERIOD_S_A_PARTITION = 0.001
_SILENCE_S = 6.0
"""A leader that has not answered for so long is unreachable. An answer may wait 2.5 s for another leader that is silent. Of
many partitions the leaders are asked more seldom, so the time is longer by as much.
"""

_UNATTENDED_S = 2.0
_STALLED_S = 10.0
_STALLED_IN_QUEUE_S = 60.0
_FRESH_AFTER_S = 12.0
_LONGEST_WAIT_S = 320.0


class Reach:
    """Asks with `ask`, which sends requests in the background, and returns an answer to come for each partition."""

    def __init__(self, ask: Callable[[Collection[int]], Mapping[int, Future[Any]]]) -> None:
        self._ask = ask
        self._asked: Mapping[int, Future[Any]] = {}
        self._asked_at = self._looked_at = 0.0
        self._answered: dict[int, float] = {}
        self._oldest = math.inf
        self._patience_s = _SILENCE_S
        self._doubtful: set[int] = set()
        self._doubts = self._asked_after = 0
        self.ends: dict[int, int] = {}
        """The newest answer by partition: the offset up to which it can be read."""
        self.known_at = -math.inf
        """When the question was asked that all leaders have answered last."""

    def forget(self) -> None:
        """Follow no partition. Answers to earlier requests do not count."""
        self._asked, self._answered, self.ends = {}, {}, {}
        self._asked_at, self._oldest, self.known_at = 0.0, math.inf, -math.inf
        self._doubtful = set()

    def doubt(self) -> None:
        """Doubt each leader until it answers once more, because a broker was lost."""
        self._doubts += 1
        self._doubtful = set(self._answered)
        self._asked_at = 0.0

    def hurry(self) -> None:
        """Ask at the next look, although a second has not passed. Answers that are under way count as ever."""
        if not self._asked:
            self._asked_at = 0.0

    def look(self, partitions: Collection[int], now: float) -> frozenset[int]:
        """Take the answers, and ask again if that is due. Returns the partitions whose leader has answered after a doubt.

        Cost: mostly a look at the clock; 20 us a partition once a second.
        """
        if (unattended := now - self._looked_at) > _UNATTENDED_S:  # silence that was not listened to does not count
            self._answered = {number: at + unattended for number, at in self._answered.items()}
            self._oldest += unattended
        self._looked_at = now
        back = self._take(now) if self._asked else frozenset[int]()
        if not self._asked and partitions and now - self._asked_at >= _PERIOD_S + len(partitions) * _PERIOD_S_A_PARTITION:
            self._asked_at, self._asked_after = now, self._doubts
            self._answered = {number: self._answered.get(number, now) for number in partitions}
            self._oldest = min(self._answered.values())
            self._patience_s = _SILENCE_S + len(partitions) * _PERIOD_S_A_PARTITION
            self._asked = self._ask(partitions)
        return back

    def unsure(self, now: float) -> frozenset[int]:
        """Return the partitions that may have more records than is reported, because their leader is silent or doubted."""
        return frozenset(self._doubtful | self.silent(now).keys())

    def silent(self, now: float) -> dict[int, float]:
        """Return the partitions whose leader is unreachable, with the time of its last answer. Mostly the result is empty."""
        return {number: at for number, at in self._answered.items() if now - at >= self._patience_s} if self._late(now) else {}

    def _late(self, now: float) -> bool:
        """Whether some leader is silent. Cost: O(1)."""
        return now - self._oldest >= self._patience_s

    def _take(self, now: float) -> frozenset[int]:
        """Take the answers once all are there."""
        if not all(answer.done() for answer in self._asked.values()):
            return frozenset()
        answers, self._asked = self._asked, {}
        ends = {number: end for number, answer in answers.items() if (end := offset_in(answer)) is not None}
        silent = self.silent(now).keys() & ends.keys()
        self.ends |= ends
        if len(ends) == len(answers):
            self.known_at = max(self.known_at, self._asked_at)
        self._answered |= dict.fromkeys(ends, now)
        self._oldest = min(self._answered.values(), default=math.inf)
        sure = self._doubtful & ends.keys() if self._asked_after == self._doubts else set[int]()
        self._doubtful -= sure
        return frozenset(silent | sure)


class Stalls:
    """Finds the partitions whose records do not come, although the broker has some and reports no error.

    A partition is stalled if for ten seconds the committed end lies behind its offset, and nothing was read from it.
    Time counts only while the source is polled. Such a client does not recover, so two seconds later a fresh one is wanted.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, float]] = {}
        self._looked_at = 0.0
        self._wait_s, self._client_at = _FRESH_AFTER_S, -math.inf
        self.since: dict[int, float] = {}
        """The stalled partitions, each with the time from which on its records do not come."""

    def forget(self) -> None:
        """Follow no partition. Earlier looks do not count."""
        self._waiting, self.since = {}, {}

    def due(self, now: float) -> bool:
        """Whether a second has passed since the last look."""
        return now - self._looked_at >= _PERIOD_S

    def look(self, offsets: Mapping[int, int], ends: Mapping[int, int], now: float, *, drained: bool) -> None:
        """Compare the offsets that are read to with the committed ends. Cost: O(partitions).

        `drained`: the last poll took all records that the client had. Otherwise records may wait in its queue behind those of
        other partitions, and a partition is stalled after a minute only.
        """
        before = self._waiting if now - self._looked_at <= _PERIOD_S + _UNATTENDED_S else {}
        self._looked_at = now
        behind = {number: offset for number, offset in offsets.items() if ends.get(number, 0) > offset}
        same = {number for number, offset in behind.items() if number in before and before[number][0] == offset}
        self._waiting = {number: before[number] if number in same else (offset, now) for number, offset in behind.items()}
        patience_s = _STALLED_S if drained else _STALLED_IN_QUEUE_S
        stalled = {number for number, (_, since) in self._waiting.items() if now - since >= patience_s}
        self.since = {number: self._waiting[number][1] for number in stalled | (self.since.keys() & same)}
        if not self.since:
            self._wait_s, self._client_at = _FRESH_AFTER_S, -math.inf

    def wants_client(self, now: float) -> bool:
        """Whether a fresh client must be tried now. After each one the next is wanted after twice the time, at most 320 s."""
        began = max(self._client_at, min(self.since.values(), default=math.inf))
        if now - began < self._wait_s:
            return False
        self._client_at, self._wait_s = now, min(_LONGEST_WAIT_S, 2 * self._wait_s)
        return True
