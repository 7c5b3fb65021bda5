"""Lines of the view `words`, over some minutes, and the right counts of each type and word."""

import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from actors.replies import Answer, Stats
from actors.timeline.span import EVER, Span
from actors.views.view import View
from actors.views.words.arguments import Counting
from actors.views.words.view import WordsView
from gateway.api.formats import write
from tests.simulation.feed import JUNK, Feed, assert_named
from tests.simulation.topic import Record

BEGINNING_MS = 1_513_765_893_000
BEGINNING_S = 1_000.0
JITTER_MS = 200
_TYPES = ("foo", "bar", "baz", "bäh")
_WORDS = ("lorem", "ipsum", "dolor", "maß", "lorem,", "Lorem")
_BLANKS = (" ", "  ", "\t", "\u2003")
_NO_LINES = (
    b'{"event_type":"foo","data":"lorem"}',
    b'{"event_type":"foo","data":7,"timestamp":1513765893}',
    b'{"event_type":"foo","data":"lorem","timestamp":1e300}',
    b'{"event_type":"foo","data":"lorem","timestamp":1513765893',
)


class Line(NamedTuple):
    """The time of the event, ms since 1970, its type, and its words."""

    time: int
    type: str
    words: tuple[str, ...]


class WordFeed(Feed):
    """If `orderly`, each line is written at its time, plus or minus `JITTER_MS`. Otherwise some lines are late or have a wrong time."""

    dated = True
    budgets = (6_000, 15_000)
    junk = JUNK + _NO_LINES

    def __init__(self, chance: random.Random, *, orderly: bool, max_pairs: int) -> None:
        self._orderly = orderly
        self._max_pairs = max_pairs
        self._max_names = chance.choice([100_000, 8])
        self._speed = chance.choice([1, 37, 600])
        self._rare = chance.choice([0.0, 0.1, 0.5])
        first, last = sorted(chance.randrange(8_000) for _ in range(2))
        window = Span(BEGINNING_MS + self._speed * first, BEGINNING_MS + self._speed * last + 1)
        self.questions = tuple(
            (span, Counting(of, limit))
            for span in (EVER, window, Span(EVER.start, window.end))
            for of, limit in (("types", None), ("words", chance.choice([None, 3])))
        )

    def view(self) -> View:
        return WordsView(max_pairs=self._max_pairs, max_names=self._max_names)

    def holds(self, batch: Any, event: Line) -> bool:
        return any(
            event.type == pairs.names[number]
            for pairs in batch.types
            for number in pairs.numbers[pairs.seconds == event.time // 1000].tolist()
        )

    def alike(self, one: Line, other: Line) -> bool:
        return (one.time // 1000, one.type) == (other.time // 1000, other.type)

    def record(self, chance: random.Random, at: float) -> Record:
        time = BEGINNING_MS + int(1000 * self._speed * (at - BEGINNING_S)) + chance.randint(-JITTER_MS, JITTER_MS)
        if not self._orderly and chance.random() < 0.05:
            time -= chance.randrange(400_000)
        if not self._orderly and chance.random() < 0.01:
            time ^= 1 << chance.choice([33, 41, 45])
        words = [self._word(chance) for _ in range(chance.choice([0, 1, 1, 2, 5]))]
        kind, data = chance.choice(_TYPES), chance.choice(_BLANKS).join(words)
        line = {"event_type": kind, "data": data, "timestamp": time / 1000, "more": [{}]}
        value = json.dumps(line, ensure_ascii=chance.random() < 0.5).encode()
        return Record(at, value, Line(math.floor(time / 1000 * 1000), kind, tuple(words)))

    def later(self, record: Record, by_ms: int) -> Record:
        line, seconds = json.loads(record.value or b""), (record.truth.time + by_ms) / 1000
        return record._replace(
            value=json.dumps({**line, "timestamp": seconds}).encode(),
            truth=record.truth._replace(time=math.floor(seconds * 1000)),
        )

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        least: Counter[str] = Counter()
        until = answer.coverage.complete_to
        sure = self.punctual and until is not None and not answer.coverage.missing
        if sure and not stats.progress.late:
            least = self._counts(answer, _complete(answer, [line for line in expected if line.time < until]))
        self._judge(answer, least, self._counts(answer, [line for life in given for line in life]))

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        if self._orderly:
            assert_named(answer, [line.time for line in lost])
        lines = [line for life in events for line in life]
        self._judge(answer, self._counts(answer, _complete(answer, lines)), self._counts(answer, lines))

    def _word(self, chance: random.Random) -> str:
        return f"rare{chance.randrange(10**6)}" if chance.random() < self._rare else chance.choice(_WORDS)

    def _counts(self, answer: Answer, lines: Iterable[Line]) -> Counter[str]:
        """Return how often each name occurred in the seconds that an answer's span touches."""
        first, last = answer.span.start // 1000, -(-answer.span.end // 1000)
        own = [line for line in lines if first <= line.time // 1000 < last]
        if answer.arguments.of == "types":
            return Counter(line.type for line in own)
        return Counter(word for line in own for word in line.words)

    def _judge(self, answer: Answer, least: Counter[str], most: Counter[str]) -> None:
        """Assert that each count lies between `least` and `most`, as exactly as the answer states, and that the highest counts are there."""
        text = b"".join(write(answer, "json", answer.view.remarks(answer.partial, answer.arguments)))
        shown = json.loads(text)
        found: dict[str, int] = shown["counts"]
        error, limit = shown["max_error"], answer.arguments.limit
        assert not error or self._max_names < len(most), f"{len(most)} names are few enough for exact counts"
        ranked = sorted(found, key=lambda name: (-found[name], name))
        assert list(found) == ranked, "the highest count first, equal counts by code points"
        assert answer.view.remarks(answer.partial, answer.arguments) == {"max_error": error}, "the header has the error"
        if least == most and not error:
            right = sorted(most, key=lambda name: (-most[name], name))[:limit]
            assert found == {name: most[name] for name in right}, f"{found} is not {right} of {most}"
            return
        wrong = {name: count for name, count in found.items() if not least[name] <= count <= most[name] + error}
        assert not wrong, f"wrong counts {wrong}: at least {least}, at most {most} plus {error}"
        if limit is None or len(found) < limit:
            lacking = {name: count for name, count in least.items() if count > error and name not in found}
            assert not lacking, f"not counted: {lacking}"
        elif limit:
            lacking = {name: count for name, count in least.items() if count > found[ranked[-1]] and name not in found}
            assert not lacking, f"not listed, but higher than listed names: {lacking}"


def _complete(answer: Answer, lines: Iterable[Line]) -> list[Line]:
    """Return the lines that must be counted. Counts over all time include dropped slices; others only the covered time."""
    since = answer.coverage.complete_from
    return [line for line in lines if since is None or answer.span == EVER or line.time >= since]
