"""The dead letters of a running stream, for its routes: what waits in their topic, and putting it back."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from gateway.letters import Letter, LettersAway, Waiting
from scripts.service.letters.replay import Letter as Found
from scripts.service.letters.replay import Replay

_TIMEOUT_S = 5.0
_READING_S = 5.0
_ABSENT = KafkaError.UNKNOWN_TOPIC_OR_PART


class StreamLetters:
    """The dead letters in `topic`. Each call has a Kafka client of its own, so it may block for some seconds."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        self._settings = dict(settings)
        self.topic = topic

    def waiting(self, most: int, shown: int) -> Waiting:
        """Return what waits, of the first `most` letters, with the newest `shown` of them. Raises LettersAway."""
        counts: Counter[str] = Counter()
        newest: deque[Letter] = deque(maxlen=shown)
        more, until = False, time.monotonic() + _READING_S
        with self._run(None) as run:
            if not self._began(run, putting_back=False):
                return Waiting({}, [], more=False)
            for letters in run.letters():
                room = most - counts.total()
                more = len(letters) > room or time.monotonic() > until
                counts.update(each.reason for each in letters[:room])
                newest.extend(_letter(each) for each in letters[:room][-shown:])
                if more:
                    break
        return Waiting(counts, list(reversed(newest)), more)

    def put_back(self, reasons: set[str] | None, limit: int) -> Mapping[str, int]:
        """Put at most `limit` letters back to the topic that they came from, all or of these reasons. Raises LettersAway."""
        counts: Counter[str] = Counter()
        with self._run(reasons) as run:
            if not self._began(run, putting_back=True):
                return {}
            for letters in run.letters():
                chosen = letters[: limit - counts.total()]
                if chosen:
                    run.put_back(chosen)
                counts.update(each.reason for each in chosen)
                if counts.total() == limit:
                    break
        return counts

    @contextlib.contextmanager
    def _run(self, reasons: set[str] | None) -> Iterator[Replay]:
        run = Replay(self._settings, self.topic, reasons, timeout_s=_TIMEOUT_S)
        try:
            yield run
        except KafkaException as error:
            raise LettersAway(f"topic {self.topic}: {error.args[0].str()}") from None
        except ValueError as error:
            raise LettersAway(f"topic {self.topic}: {error}") from None
        finally:
            run.close()

    @staticmethod
    def _began(run: Replay, *, putting_back: bool) -> bool:
        """Begin a run. Returns False if the topic does not exist yet, because no record was refused."""
        try:
            run.begin(putting_back=putting_back)
        except KafkaException as error:
            if error.args[0].code() == _ABSENT:
                return False
            raise
        return True


def _letter(found: Found) -> Letter:
    message = found.message
    kind, written_at = message.timestamp()
    return Letter(
        found.partition,
        found.offset,
        found.reason,
        written_at if kind else None,
        message.value(),
        message.key(),
        found.headers,
    )
