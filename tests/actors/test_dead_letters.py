"""Dead letters: a full queue stops reading, a checkpoint waits for their delivery, and each is written once."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from actors.messages import Dead
from tests.support.listed import over
from tests.support.running import Stream
from tests.support.waiting import until


class Gate:
    """A dead-letter sink whose broker is unreachable until it is `open`."""

    lost = 0

    def __init__(self) -> None:
        self.open = False
        self.refused = 0
        self.records: list[Dead] = []
        self._held: deque[Dead] = deque()

    @property
    def held(self) -> int:
        return len(self._held)

    unacknowledged = held

    @property
    def written(self) -> int:
        return len(self.records) + len(self._held)

    @property
    def delivered(self) -> int:
        return len(self.records)

    def write(self, records: Iterable[Dead]) -> None:
        self._held.extend(records)

    def poll(self) -> None:
        if self.open:
            self.records += self._held
            self._held.clear()

    def secure(self) -> bool:
        self.poll()
        self.refused += bool(self._held)
        return not self._held

    def close(self) -> None:
        """There is no connection."""


def running(values: list[bytes], gate: Gate, **how: Any) -> Any:
    sink: Any = gate
    return over(values, dead_letters=sink, **how)


def counted(stream: Stream, actor: str) -> dict[str, int]:
    return next(dict(each.counted) for each in stream.health().actors if each.actor == actor)


@pytest.mark.parametrize("limit", ["_MOST_BYTES", "_MOST_MESSAGES"])
def test_reading_stops_while_the_queue_of_dead_letters_is_full(limit: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(f"actors.reading.dead_letters.{limit}", 1)
    values, gate = [b"junk"], Gate()
    with running(values, gate) as stream:
        until(lambda: counted(stream, "FrontEnd")["dead letter stalls"] == 1)
        values += [b"R_1", b"more junk"]
        until(lambda: stream.stats().progress.state == "waiting for dead letters to be written")
        assert stream.stats().progress.records == 1
        assert stream.stats().progress.buffered_bytes > 0
        gate.open = True
        assert stream.settled(3).progress.events == 1
        until(lambda: counted(stream, "DeadLetterWriter") == {"dead letters": 2, "delivered": 2, "lost": 0})
    assert [(dead.value, dead.offset) for dead in gate.records] == [(b"junk", 0), (b"more junk", 2)]


def test_no_checkpoint_is_saved_before_its_dead_letters_are_delivered(tmp_path: Path):
    values, gate = [b"R_1"], Gate()
    with running(values, gate, folder=tmp_path / "events") as stream:
        stream.settled(1)
        values.append(b"junk")
        until(lambda: gate.refused > 1)
        known = stream.stats().durability
        assert known is not None
        until(lambda: gate.refused > 3)
        assert stream.stats().durability == known, "no checkpoint was saved or begun"
        gate.open = True
        until(lambda: (now := stream.stats().durability) is not None and now.saved > known.saved)
    assert [dead.value for dead in gate.records] == [b"junk"]
