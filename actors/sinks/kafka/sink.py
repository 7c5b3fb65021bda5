"""The sink that writes results to a Kafka topic: at least once, and with a transactional id exactly once.

Used by the publisher, on its thread.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec.structs import replace

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record, refuses_writes
from actors.kafka_trouble import Reasons
from actors.sinks.kafka.marks import HEADER, Note, group_of, last_note, standing_of, this_process
from actors.sinks.kafka.transaction import Transaction, begun, trouble_of
from actors.sinks.kafka.visible import Commits, LeftOpenError, open_partitions
from actors.sinks.reports import give_up, listen, listen_to_all
from actors.sinks.sink import Fenced, Refused, Sink, Superseded
from actors.standing import Standing, mark_of

_BROKER_TIMEOUT_S = 5.0
_PREPARE_S = 3.0
_STEP_S = 0.05
_LONGEST_RECORD = 64 << 20
_NOTE_BYTES = 512
"""More than the longest note with a key. Any record may be the last of a transaction, so each leaves room for a note."""

_PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001  # their public names
"""The report about a record whose transaction has failed before. It does not contain the reason of that failure."""

_TUNING: dict[str, Any] = {
    "linger.ms": 5,
    "enable.idempotence": True,
    "queue.buffering.max.messages": 10_000_000,
    "queue.buffering.max.kbytes": 1 << 20,
    "log_level": 0,
    **LOOKS_ONLY,
}


class KafkaSink(Sink):
    """Writes records to `topic`, which is created if absent. librdkafka retries without a limit of time.

    With a `transactional_id` records are written in transactions that `commit` ends, each at most about `every_s` seconds after
    the one before. Readers of committed records then see the results of a checkpoint whole or not at all. The last record of a
    transaction is held back until then, because its header has the note about the checkpoint. `meaning` names the folder with
    the checkpoints. With `force`, results may come twice after a start if no checkpoint fits those in the topic.

    With a `key` each record is an object of JSON, and has the values of these members as its key, separated by a slash.

    Without the id a restart repeats the records written since its checkpoint.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        *,
        transactional_id: str | None = None,
        key: Sequence[str] = (),
        meaning: str = "",
        every_s: float = 5.0,
        force: bool = False,
        on_error: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._id = transactional_id
        self._key = tuple(key)
        self._meaning = meaning
        self._every_s = every_s
        self._force = force
        self._on_error = on_error
        self._reasons = Reasons(settings, on_error)
        self._process = this_process()
        self._producer: Producer | None = None
        self._transaction: Transaction | None = None
        self._standing: Standing | None = None
        self._owning = False
        self._before = ""
        self._commits = Commits(settings, topic, transactional_id or "")
        self._held: deque[bytes] = deque()
        self._longest = _LONGEST_RECORD
        self._acknowledged_count = 0
        self._marks = itertools.count(1)
        self._mark: str | None = None
        self._marked = True
        self._prepared = False
        self._broken: KafkaException | None = None
        self._write_refused = False

    @property
    def delivered(self) -> int:
        """The number of records that Kafka has acknowledged, that were given up, or that wait alone for the commit."""
        return self._acknowledged_count + (self._id is not None and len(self._held) == 1)

    def write(self, blocks: Iterator[bytes]) -> None:
        """Hand the records to librdkafka. The first call creates the topic if it is absent."""
        self._connect()
        self._prepared = False
        records = list(_records(blocks))
        self.written += len(records)
        for record in records:
            if self._id is not None and len(record) > self._longest:
                self._give_up(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
            else:
                self._held.append(record)
                self._marked = False
        self._hand_over()

    def poll(self) -> None:
        """Take acknowledgements. Raises Fenced or Refused if the transaction is lost."""
        if self._producer is not None:
            self._listen(0.0)
            self._hand_over()

    def prepare(self) -> dict[str, Any]:
        """Wait until Kafka has acknowledged all records, and readers see the last commit; three seconds at most for each.

        Raises OSError after that. The last two checkpoints are kept, so one of them must have results that readers see.
        """
        self._prepared = False
        self._deliver()
        self._await_readers()
        if not self._marked:
            self._mark = f"{self._process.split()[0]}-{next(self._marks)}"
            self._marked = True
        self._prepared = True
        place: dict[str, Any] = {"written": self.written}
        return place if self._id is None else place | {"topic": self._topic, "mark": self._mark}

    def commit(self, checkpoint: int) -> None:
        """Commit the transaction together with the checkpoint's number. Cost: about 20 ms."""
        if self._id is None:
            return
        self._connect()
        assert self._transaction is not None, "connected with an id"
        if not self._prepared:
            done = self._transaction.committed
            assert done is not None, "a commit follows a prepare, with no write between"
            assert done.checkpoint == checkpoint, "a commit follows a prepare, with no write between"
            return
        note = self._note(checkpoint, records=bool(self._held) or self._commits.pending)
        try:
            if self._held:
                self._produce(self._held[0], {HEADER: note.encode()})
                self._held.popleft()
            self._deliver()
            self._transaction.commit(note)
            self._commits.committed(checkpoint)
        except Refused:
            raise
        except OSError as error:
            raise OSError(f"topic {self._topic}: {error}") from error
        except Fenced as error:
            raise Fenced(f"topic {self._topic}: {error}") from error
        self._prepared = False

    def look(self) -> Standing | None:
        """Read the notes about the newest commit. Raises Superseded if another process has begun after this one did.

        Cost: some 50 ms.
        """
        if self._id is None:
            return None
        try:
            group = group_of(self._settings, self._topic, self._id, self._reasons)
            last = last_note(self._settings, self._topic, self._id, self._reasons)
        except KafkaException as error:
            raise self._trouble(error, read=True) from error
        self._reasons.clear()
        standing = standing_of(group, last.note, self._topic)
        if self._owning and standing.recorded and standing.process not in {self._process, self._before or self._process}:
            raise Superseded(
                f"another process writes to topic {self._topic} as this data_dir: {standing.process or 'of an earlier version'}"
            )
        if standing.lost:
            self._on_error(f"topic {self._topic}: Kafka has lost the number of the last commit; the results there have it")
        elif last.lacks(group) and not self._open_partitions():
            newest = last.note.checkpoint if last.note is not None else 0
            self._on_error(
                f"topic {self._topic} lacks the results of checkpoint {group.checkpoint}, although Kafka has its number: "
                f"they are written again from checkpoint {newest} on"
            )
            standing = replace(standing, mark=last.note.mark if last.note is not None else None)
        return replace(standing, force=self._force)

    def committed(self) -> int | None:
        """Ask Kafka over a new connection, which aborts a transaction that an earlier process left open. None without an id."""
        if self._id is None:
            return None
        self._forget()
        if self._write_refused and refuses_writes(self._settings, self._topic):
            raise Refused(f"the right to WRITE topic {self._topic}")
        self._connect()
        self._write_refused = False
        self._end_open()
        self._standing = self.look()
        assert self._standing is not None, "there is an id"
        return self._standing.checkpoint

    def owns(self, place: Any) -> bool:
        """See the base."""
        return isinstance(place, dict) and place.get("topic") == self._topic

    def restore(self, place: Any | None) -> None:
        """Take back the records that are not committed, and note this process as the owner. Without an id nothing happens."""
        if self._id is None:
            return
        if self._broken is not None or (self._transaction is not None and self._transaction.open):
            self._forget()  # the next connection aborts it
        self._held.clear()
        self._prepared, self._marked = False, True
        known = place if place is not None and place.get("topic", self._topic) == self._topic else {}
        self.written = self._acknowledged_count = int(known.get("written", 0))
        self._mark = mark_of(known)
        self._own()

    def close(self) -> None:
        """Wait five seconds at most for the records under way. Records that are not committed are taken back."""
        if self._producer is None:
            return
        if self._transaction is None:
            listen_to_all(self._producer, _BROKER_TIMEOUT_S)
            return
        try:
            self._transaction.abort()
        except (OSError, Fenced) as error:
            self._on_error(f"topic {self._topic}: the transaction stays open: {error}")
        self._forget()

    def _end_open(self) -> None:
        """Take back what Kafka has left open of earlier transactions: the next commit would show it beside its repetition.

        Without an open transaction, this only looks. The client has just begun, so nothing of it is open. Open transactions of
        other programs are not affected.
        """
        assert self._transaction is not None, "connected with an id"
        left = self._open_partitions()
        if not left:
            return
        self._on_error(
            f"topic {self._topic}: a transaction is open in {len(left)} partitions: what is ours in it is taken back"
        )
        self._transaction.take_back(left)
        deadline = time.monotonic() + _PREPARE_S
        while self._open_partitions() and time.monotonic() < deadline:
            time.sleep(_STEP_S)  # Kafka writes its marker a moment later; no other actor shares this thread

    def _open_partitions(self) -> list[int]:
        """Return the partitions in which a transaction of any program is open."""
        assert self._id is not None, "only transactions can be open"
        try:
            return open_partitions(self._settings, self._topic, self._id)
        except KafkaException as error:
            raise self._trouble(error, read=True) from error

    def _await_readers(self) -> None:
        """Wait until readers see the last commit. Raises Fenced if they never will."""
        try:
            self._commits.wait(time.monotonic() + _PREPARE_S)
        except LeftOpenError as error:
            raise Fenced(f"topic {self._topic}: {error}") from error
        except KafkaException as error:
            raise self._trouble(error, read=True) from error
        except OSError as error:
            raise OSError(f"topic {self._topic}: {error}") from error

    def _note(self, checkpoint: int, *, records: bool = False) -> Note:
        """Return the note of this process about a checkpoint, in a transaction with `records` or without."""
        assert self._id is not None, "only transactions have notes"
        seen = max(checkpoint, self._standing.checkpoint if self._standing is not None else 0)
        return Note(checkpoint, self._mark, self._process, self._id, self._meaning, seen, records)

    def _own(self) -> None:
        """Commit a note without records, unless the last note is the same: a later process and a frozen one can tell by it."""
        self._connect()
        assert self._transaction is not None, "connected with an id"
        standing = self._standing
        number = standing.checkpoint if standing is not None else 0
        mine = standing is not None and standing.process == self._process and standing.mark == self._mark
        if not self._owning and standing is not None:
            self._before = standing.process
        if not (self._owning and mine):
            self._transaction.commit(self._note(number))
        self._owning = True

    # The client ------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Make the client, unless there is one."""
        if self._id is None and self._broken is not None:  # the client's records are given up; a new client may succeed
            self._forget()
        self._check()
        if self._producer is not None:
            return
        ensure_topic(self._settings, self._topic, 1)
        if self._id is not None and self._owning:
            self.look()  # a new client would fence off the process that has taken over
        # Kafka refuses a whole batch if it is too long, and with a transaction all of its records are lost.
        longest = self._longest_record()
        tuning = {**_TUNING, "error_cb": self._reasons}
        settings = {**self._settings, "message.max.bytes": longest} if longest is not None else self._settings
        if self._id is None:
            self._producer = Producer({"message.timeout.ms": 0, **tuning, **settings})
            return
        assert longest is not None, "a transaction needs the limit"
        self._longest = longest - _NOTE_BYTES
        self._producer, self._transaction = begun(settings, tuning, self._topic, self._id, self._every_s)

    def _longest_record(self) -> int | None:
        """Return the bytes of the longest record or batch that the topic takes. Raises OSError if the topic is compacted.

        None if the limit cannot be read for lack of a right or a controller, and no transaction needs it.
        """
        try:
            return longest_record(self._settings, self._topic, keyed=bool(self._key))
        except PermissionError:
            if self._id is not None:
                raise
            return None

    def _forget(self) -> None:
        """Drop the client and the records that it has under way."""
        if self._transaction is not None and self._transaction.refused:
            with contextlib.suppress(OSError, Fenced):  # if the abort fails, the next client does it
                self._transaction.abort()
        if self._producer is not None:
            give_up(self._producer)
        self._commits.forget()
        self._producer = self._transaction = self._broken = None

    # Records ---------------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give librdkafka as many of the held records as it has room for; of a transaction's records all but the last one."""
        kept = 0 if self._id is None else 1
        if self._broken is not None or len(self._held) <= kept:
            return
        assert self._producer is not None, "the sink connects before it holds records"
        if self._transaction is not None:
            self._transaction.begin()
        while len(self._held) > kept:
            try:
                self._produce(self._held[0])
            except BufferError:  # librdkafka's queue is full
                return
            self._held.popleft()

    def _produce(self, record: bytes, headers: dict[str, str | bytes | None] | None = None) -> None:
        """Give librdkafka one record. Raises BufferError if its queue is full."""
        assert self._producer is not None, "connected before"
        if self._transaction is not None:
            self._transaction.begin()
        try:
            key = self._key_of(record) if self._key else None
            self._producer.produce(self._topic, record, key, headers=headers or {}, on_delivery=self._on_delivery)
            self._commits.pending = self._transaction is not None
        except KafkaException as error:
            if self._transaction is not None:
                raise self._trouble(error) from error
            self._give_up(error.args[0])

    def _key_of(self, record: bytes) -> bytes:
        """Return the key of a result. Cost: some 2 us."""
        members = msgspec.json.decode(record)
        return "/".join(str(members[name]) for name in self._key).encode()

    def _deliver(self) -> None:
        """Wait until Kafka has acknowledged all records that need not be held back. Raises OSError after three seconds."""
        kept = 0 if self._id is None else 1
        deadline = time.monotonic() + _PREPARE_S
        while len(self._held) > kept or (self._producer is not None and len(self._producer)):
            self._connect()
            self._hand_over()
            self._listen(max(0.0, min(0.1, deadline - time.monotonic())))
            if time.monotonic() > deadline:
                missing = self.written - self._acknowledged_count
                why = "; ".join([f"Kafka has not acknowledged {missing} records", *self._reasons.newest])
                raise OSError(f"topic {self._topic}: {why}")
        self._reasons.clear()
        self._check()

    def _on_delivery(self, error: KafkaError | None, message: Message | None) -> None:
        if error is None:
            self._acknowledged_count += 1
            if self._transaction is not None and message is not None:
                self._commits.delivered(message.partition(), message.offset())
        elif self._transaction is None:
            self._give_up(error)
        else:
            self._broken = self._broken or KafkaException(error)

    def _give_up(self, error: KafkaError) -> None:
        self._acknowledged_count += 1
        self._on_error(f"a record for topic {self._topic} is given up: {error.str()}")

    def _listen(self, timeout_s: float) -> None:
        """Take acknowledgements; wait up to `timeout_s` for the first of them."""
        assert self._producer is not None, "connected before"
        ended = listen(self._producer, timeout_s)
        if ended is not None:  # this client will never deliver a record again
            self._broken = KafkaException(ended)
            self._on_error(ended.str())
        self._check()

    def _check(self) -> None:
        """Raise Fenced or Refused if the transaction is lost."""
        if self._broken is not None and self._id is not None:
            raise self._trouble(self._broken)

    def _trouble(self, error: KafkaException, *, read: bool = False) -> OSError | Fenced:
        """Return the error to raise for a failed call that writes, or reads, the topic."""
        trouble = trouble_of(error, read=self._topic if read else "", write="" if read else self._topic, group=self._id or "")
        if not read and error.args[0].code() in _PURGED and refuses_writes(self._settings, self._topic):
            trouble = Refused(f"the right to WRITE topic {self._topic}")
        if isinstance(trouble, Refused):
            self._write_refused = not read
            return trouble
        if read:
            return OSError(f"topic {self._topic}: {'; '.join(self._reasons.newest) or error.args[0].str()}")
        return Fenced(f"topic {self._topic}: {error.args[0].str()}") if isinstance(trouble, Fenced) else trouble


def _records(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks into records. A record longer than any topic takes is cut to a length that is still too long for a topic."""
    rest = bytearray()
    for block in blocks:
        first, *lines = block.split(b"\n")
        rest += first[: _LONGEST_RECORD - len(rest)]
        if lines:
            yield bytes(rest)
            *whole, last = lines
            yield from whole
            rest = bytearray(last)
