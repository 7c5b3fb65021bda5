"""The source of Kafka records: whole polls of one topic, from a place that the caller owns, compared with the broker's.

Used by the front end, on its thread, which decides when to read. Partitions are assigned, never balanced by a group. The
group's committed offsets are for lag tools only.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, assert_never

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from actors.kafka_topic import Change, TopicIdentity, ensure_topic, metadata_of, refusal
from actors.kafka_trouble import Reasons
from actors.replies import Trouble, Troubled
from actors.sources.kafka.commits import Commits
from actors.sources.kafka.damage import DAMAGED, Damage, search
from actors.sources.kafka.ends import Ends, Highs
from actors.sources.kafka.fetch import Fault, Fetched, How, Reader, reader, unassign
from actors.sources.kafka.reach import Reach, Stalls
from actors.sources.kafka.troubles import MOST_NAMED, Troubles, listed
from actors.sources.polled import Gap, Place, Polled, Reason

TUNING: dict[str, Any] = {
    "isolation.level": "read_committed",  # records of aborted transactions are not read
    "fetch.wait.max.ms": 100,  # the broker reports the end of a partition only after this time, and its last events wait for it
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 262_144,
    "topic.metadata.refresh.interval.ms": 10_000,
    "session.timeout.ms": 2_000,  # the longest wait of a commit, and so of `close`, for a broker that is away
    "heartbeat.interval.ms": 500,
    "receive.message.max.bytes": 1_000_000_000,  # at the default a valid zstd batch of 40 MB may be "invalid compressed data"
    "check.crcs": True,  # otherwise a damaged batch without compression is read as other records
    "log_level": 2,  # `on_error` gets each error once; the library itself would log twenty lines a second
}
"""librdkafka's defaults sleep a second if the prefetch queue is full. These settings read four times as fast, in 10 MB."""

_OURS: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
}
"""Settings that no configuration may change, because this source finds and reports the gap if the broker refuses an offset."""

_AGAIN_S = 0.2
_REFUSED_AGAIN_S = 1.0
_DAMAGED_AGAIN_S = 10.0
_LOOK_TIMEOUT_S = 1.0
"""librdkafka continues to connect after a timeout, so the next request may succeed."""


class KafkaSource:
    """Reads `topic` with any librdkafka `settings`. If the topic is absent, creates it with `partitions`, unless that is None.

    At a damaged batch nothing more is read, or if it `skips_damage`, the offsets of the batch are a gap.

    Offsets are compared with the broker's when the source opens, and whenever the broker refuses an offset. A jump between the
    offsets of two records is not a gap: compaction and transaction markers cause jumps too.
    Raises ValueError for settings that librdkafka does not have, and KafkaException for a final error.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        *,
        start: str,
        partitions: int | None = None,
        skips_damage: bool = False,
        how: How = "auto",
        on_error: Callable[[str], None],
    ) -> None:
        self._settings = {**TUNING, **settings, **_OURS}
        self._topic = topic
        self._latest = start == "latest"
        self._partitions = partitions
        self._skips_damage = skips_damage
        self._how = how
        self._on_error = on_error
        self._reasons = Reasons(self._settings, on_error)
        self._consumer: Consumer | None = None
        self._reader: Reader
        self._connect()
        self._topic_id = TopicIdentity(self._settings, topic, self._reasons)
        self._next: dict[int, int] = {}
        self._origin: dict[int, int] = {}
        self._assigned: set[int] = set()
        self._refused: dict[int, str] = {}
        self._alone: int | None = None
        self._gaps: list[Gap] = []
        self._ends = Ends(self._high, self._topic_id.stable_ends)
        self._reach = Reach(self._topic_id.stable_ends)
        self._stalls = Stalls()
        self._back: frozenset[int] = frozenset()
        self._described: frozenset[int] = frozenset()
        self._lost = 0
        self._denied: dict[int, str] = {}
        self._denied_at = 0.0
        self._highs = Highs(self._high)
        self._commits = Commits()
        self._damaged: dict[int, Damage] = {}
        self._troubles = Troubles(self._reasons, on_error)
        self._reading = False
        self._looked_at = 0.0
        self._got_at = 0.0
        self._epoch = 0
        self.finished = False
        self.endless = True

    def open(self, place: Place) -> bool:
        """Connect, and begin to read every partition. Waits some seconds if the broker is away."""
        if self._consumer is None:
            self._connect()
        self._unassign()
        self._handle(self._reader.errors())
        before = len(self._gaps)
        self._reading = self._opened_at(place)
        self._got_at = time.monotonic()
        if self._reading:
            self._reasons.clear()
            self._troubles.over()
        else:
            del self._gaps[before:]  # the next attempt begins at the same place, and finds them again
        return self._reading

    def _opened_at(self, place: Place) -> bool:
        self._next, self._alone, self._epoch = dict(place.offsets or self._origin), None, place.epoch
        known = place.identity or self._topic_id.known
        try:
            found = self._topic_id.look(_LOOK_TIMEOUT_S)
        except PermissionError as error:
            return self._cannot("refused", str(error))
        except OSError as error:
            return self._cannot("unreachable", str(error))
        if not found.partitions:
            self._troubles.found("absent", (f"there is no topic {self._topic}",))
            self._latest = False  # a topic that is created from now on is read from its beginning
            self._create()
            return False
        if known is not None and found.identity is None:
            return self._cannot("unreachable", f"topic {self._topic}: the broker does not report its id now")
        self._topic_id.follow(found.identity)
        if known is not None and found.identity != known:
            self._renew()
        if self._next:
            self._latest = False
        if not self._begin(found.partitions):
            return False
        if not place.offsets:  # a later start from nothing begins here again
            self._origin = dict(self._next)
        return True

    def extend(self) -> bool:
        """Begin to read the partitions that are new. Returns False if the topic does not exist."""
        self._looked_at = time.monotonic()
        if not self._topic_id.there:
            return False
        try:
            found = metadata_of(self._opened(), self._topic, _LOOK_TIMEOUT_S).topics[self._topic]
        except KafkaException as error:
            self._on_error(str(error))
            return False
        if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return False  # `_topic_id` reports the same
        if found.error is not None or not found.partitions:
            self._create()
            return False
        return self._begin(found.partitions)

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return the next records. Their keys and headers are readable until the next poll. Cost: see `fetch`."""
        gone: frozenset[int] = frozenset()
        now = time.monotonic()
        if (change := self._topic_id.changed(now, now - self._got_at)) is not None:
            gone = self._begin_again(change)
        elif (self._refused or self._unread()) and now - self._looked_at >= _AGAIN_S:
            self._looked_at = now
            self._resume()
        if self._damaged:
            self._mend(now)
        self._ask_leaders(now)
        self._follow_changes(now)
        self._opened()
        fetched = self._reader.poll(count, timeout_s)
        if len(fetched.records.values):
            silent_s, self._got_at = now - self._got_at, now
            if (change := self._topic_id.confirmed(now, silent_s)) is not None:
                gone |= self._begin_again(change)
                if change == "another":  # the records are of the new topic, at offsets of the old one
                    self._opened()
                    fetched = self._reader.poll(count, 0.0)
        reached, polled = self._without_faults(fetched)
        # librdkafka's own position does not pass aborted records if no record came before them.
        self._next |= {number: max(self._next[number], reached[number]) for number in reached.keys() & self._next.keys()}
        ended = self._ends.after(polled.partitions, reached, now) | self._at_end_again()
        self._follow_stalls(now, drained=not fetched.full)
        held = {**dict.fromkeys(self._unsure(now)), **self._ends.held}
        return replace(polled, ended=gone | (ended - held.keys()), epoch=self._epoch, held=held)

    def rest(self, timeout_s: float) -> None:
        """Wait until librdkafka has a record, an error or an end for us, at most `timeout_s`."""
        if self._assigned and not (self._refused or self._damaged):
            self._reader.rest(timeout_s)

    def trouble(self) -> Trouble | None:
        """Return why records cannot be read now, None if they can. Cost: a look at the clock, mostly."""
        if not self._reading:
            return self._troubles.present
        now = time.monotonic()
        self._ask_leaders(now)
        if not self._topic_id.there:
            self._troubles.found("absent", (f"topic {self._topic} was deleted",))
        elif stuck := [each.reason for each in self._damaged.values() if self._stopped or each.failure is not None]:
            self._troubles.found("damaged", tuple(stuck))
        elif denied := {*self._denied.values(), *filter(None, [self._topic_id.refused])}:
            self._troubles.found("refused", tuple(sorted(denied)))
        elif silent := self._reach.silent(now):
            self._troubles.found("unreachable", self._silence(silent), for_s=now - min(silent.values()))
        elif stalled := self._stalls.since:
            self._troubles.found("stalled", self._stall_reasons(stalled), for_s=now - min(stalled.values()))
        else:
            self._troubles.over()
        return self._troubles.present

    def gaps(self) -> list[Gap]:
        """Return the gaps that were found since the last call."""
        found, self._gaps = self._gaps, []
        return found

    def only(self, partition: int | None) -> None:
        """Read this partition alone until the next call; None reads all of them again.

        Fetched but unread records of the other partitions are fetched again. Cost: O(partitions).
        """
        self._update_offsets()
        self._alone = partition
        # librdkafka's own pause loses an offset that the broker refuses during the pause, and then never fetches the partition.
        if partition is not None and (others := self._assigned - {partition}):
            unassign(self._opened(), [TopicPartition(self._topic, number) for number in sorted(others)])
            self._assigned -= others
            self._ends.forget(others)
        self._assign(self._next)

    def place(self) -> Place:
        """Return the place after the last poll. Its identity is the topic's id, None if the broker has no ids."""
        self._update_offsets()
        return Place(dict(self._next), self._topic_id.known, self._epoch)

    def lag(self) -> dict[int, int]:
        """Return the lag in records, by partition, as of the last fetch, or of many partitions as of one soon before it.

        Cost: O(partitions), no request; see `Highs`.
        """
        ends, highs = self._reach.ends, self._highs.of(self._next.keys(), time.monotonic())
        return {number: max(0, highs[number] - at, ends.get(number, 0) - at) for number, at in self._next.items()}

    def commit(self) -> None:
        """Commit the offsets that are due, for lag tools. Never waits."""
        if due := self._commits.due(self._next, time.monotonic()):
            places = [TopicPartition(self._topic, number, offset) for number, offset in due.items()]
            self._opened().commit(offsets=places, asynchronous=True)

    def _on_commit(self, error: KafkaError | None, places: Collection[TopicPartition]) -> None:
        """Repeat a commit that has failed. Only lag tools notice. A missing right is reported as an error too."""
        if error is not None or any(place.error is not None for place in places):
            self._commits.failed(time.monotonic())

    def close(self) -> None:
        """Disconnect. Waits for the last commit, at most two seconds (see `TUNING`)."""
        self._reading = False
        consumer, self._consumer = self._consumer, None  # a consumer whose `close` raises cannot be used again
        if consumer is not None:
            self._topic_id.forget()
            self._reader.close()
            consumer.close()

    def _update_offsets(self) -> None:
        """Set `_next` to the offsets that librdkafka has reached. Cost: O(partitions)."""
        for found in self._opened().position([TopicPartition(self._topic, number) for number in self._next]):
            self._next[found.partition] = max(self._next[found.partition], found.offset)

    def _create(self) -> None:
        """Create the topic if the configuration allows it. The next `open` or `extend` finds it."""
        if self._partitions is None:
            return
        try:
            ensure_topic(self._settings, self._topic, self._partitions)
        except OSError as error:
            self._on_error(str(error))

    def _begin(self, partitions: Iterable[int]) -> bool:
        """Begin to read the new ones of `partitions`, at their next offset, or at the configured start.

        Returns False, and reports the error, if a partition has no leader.
        """
        fresh = set(partitions) - self._assigned - self._refused.keys() - self._damaged.keys()
        if self._alone is not None:
            fresh -= self._next.keys()
        known = self._next
        try:
            ranges = {number: self._range(number, known.get(number, 0)) for number in fresh}
        except KafkaException as error:
            return self._cannot("unreachable", f"topic {self._topic}: {self._reasons.plain(error.args[0].str())}")
        if self._topic_id.known is None and any(known.get(number, 0) > high for number, (_, high) in ranges.items()):
            self._renew()  # only a lower end shows that a topic without an id was recreated
        for number, (low, high) in sorted(ranges.items()):
            if number in self._next:
                self._next[number] = self._checked(number, self._next[number], low, high)
            else:
                self._next[number] = high if self._latest else low
        self._latest = False
        self._assign(fresh)
        return True

    def _assign(self, numbers: Iterable[int]) -> None:
        """Assign these partitions at their next offsets, unless they are assigned or another partition is read alone."""
        wanted = {number for number in numbers if self._alone in {None, number}} - self._assigned - self._refused.keys()
        wanted -= self._damaged.keys()
        if wanted and not self._stopped:
            places = [TopicPartition(self._topic, number, self._next[number]) for number in sorted(wanted)]
            self._reader.follow(wanted)
            self._opened().incremental_assign(places)
            self._assigned |= wanted

    def _unassign(self) -> None:
        """Unassign all partitions."""
        unassign(self._opened())
        self._ends.forget()
        self._reach.forget()
        self._stalls.forget()
        self._assigned, self._refused, self._denied, self._damaged = set(), {}, {}, {}

    def _checked(self, number: int, wanted: int, low: int, high: int) -> int:
        """Return the offset at which reading continues, given the broker's range of the partition. Adds a gap before it."""
        if wanted < low:
            self._missing(number, low - wanted, "deleted")
            return low
        if wanted > high:
            self._missing(number, None, "shrank")
            return high
        return wanted

    def _missing(self, number: int, count: int | None, reason: Reason) -> None:
        self._gaps.append(Gap(number, count, reason))
        records = "an unknown number of records" if count is None else f"{count} offsets"
        self._on_error(f"topic {self._topic}, partition {number}: {records} missing: {reason}")

    def _resume(self) -> None:
        """Continue to read each partition whose offset the broker refused, at the next offset that the broker has."""
        if not self._topic_id.there:
            return
        if not self._refused:
            self.extend()
            return
        known = self._topic_id.known
        try:
            found = self._topic_id.look(_LOOK_TIMEOUT_S)
            if known is not None and found.identity != known:
                return  # deleted or recreated: `changed` will report it
            ranges = {number: self._range(number, self._next[number]) for number in self._refused}
        except (OSError, KafkaException) as error:
            self._on_error(str(error))
            return
        if known is None and any(self._next[number] > high for number, (_, high) in ranges.items()):
            self._renew()
            self._begin(found.partitions)
            return
        for number, (low, high) in ranges.items():
            why = self._refused.pop(number)
            wanted = self._next[number]
            self._next[number] = self._checked(number, wanted, low, high)
            if self._next[number] == wanted and "truncation" in why:  # the end was before our offset for a time
                self._missing(number, None, "shrank")
        self._assign(ranges)

    def _begin_again(self, change: Change) -> frozenset[int]:
        """Stop reading a deleted topic; read a recreated one from its beginning. Returns the partitions of the old one.

        librdkafka itself would go on at the old offsets, and silently skip the new topic's records before them.
        """
        self._update_offsets()
        self._unassign()
        gone = frozenset(self._next)
        match change:
            case "gone":
                self._on_error(f"topic {self._topic} was deleted")
            case "another":
                self._renew()
                self.extend()
            case "back":
                self.extend()
            case _:
                assert_never(change)
        return gone

    def _renew(self) -> None:
        """Begin the next epoch, because the topic was recreated. It is read from its beginning, with a fresh client."""
        self._unassign()
        self._replace_client()
        self._topic_id.forget()  # `_unassign` has forgotten its requests; without that their answers would never come
        self._epoch += 1
        self._latest = False
        self._gaps += [Gap(number, None, "recreated") for number in sorted(self._next)]
        self._next, self._origin = {}, {}
        self._commits.forget()  # the broker has deleted the group's offsets together with the topic
        self._on_error(f"topic {self._topic} was deleted and created again: reading the new one from its beginning")

    def _connect(self) -> None:
        """Make a client that has read nothing, and its reader."""
        try:
            consumer = Consumer({**self._settings, "error_cb": self._reasons, "on_commit": self._on_commit})
        except KafkaException as error:
            raise ValueError(f"kafka: {error.args[0].str()}") from None
        self._reader, reason = reader(consumer, self._topic, self._how, self._reasons)
        self._consumer = consumer
        if reason is not None:
            self._how = "messages"
            self._on_error(f"topic {self._topic}: records are read as Message objects, which costs more, because {reason}")

    def _replace_client(self) -> None:
        """Go on with a client that has read nothing. Waits for the last commit of the old one, at most two seconds.

        librdkafka keeps the leader epoch of each partition, and takes no older one. The epochs of a recreated topic begin at 0.
        So a client that has seen a higher one, as after a restart of the broker, reads nothing from the new topic.
        """
        old = self._opened()
        self._reader.close()
        self._connect()
        old.close()

    def _opened(self) -> Consumer:
        assert self._consumer is not None, "open the source before reading"
        return self._consumer

    def _range(self, number: int, wanted: int) -> tuple[int, int]:
        """Ask the broker for the first offset of a partition and the offset after its last record. Cost: two requests.

        The end is that of committed records, unless `wanted` lies behind it: other settings may have read uncommitted ones.
        """
        low, high = self._opened().get_watermark_offsets(TopicPartition(self._topic, number), timeout=_LOOK_TIMEOUT_S)
        if wanted > high:
            high = max(high, self._topic_id.end(number, _LOOK_TIMEOUT_S))
        return max(0, int(low)), max(0, int(high))

    def _high(self, number: int) -> int:
        """Return the offset after the last record of a partition as of the last fetch, committed or not; 0 if it is unknown."""
        _, high = self._opened().get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
        return max(0, int(high))

    def _without_faults(self, fetched: Fetched) -> tuple[dict[int, int], Polled]:
        """Return the partitions at their end with its offset, and the records that count. Reports errors.

        Raises KafkaException for a final error.
        """
        if not fetched.faults and not self._damaged:
            return {}, fetched.records
        damaged = dict.fromkeys(self._damaged, -1)
        ends, spoiled = self._handle(fetched.faults)
        records, places = fetched.records, fetched.places
        partitions, counts = records.partitions, np.ones(places.size, np.bool_)
        for number, place in (damaged | spoiled).items():  # behind a damaged batch librdkafka may take any bytes for a batch
            behind = (partitions == number) & (places > place)
            if behind.any():
                self._next[number] = min(self._next[number], int(records.offsets()[behind].min()))
                counts &= ~behind
        reached = {
            end.partition: end.offset
            for end in ends
            if end.partition is not None and not (counts & (partitions == end.partition) & (places > end.place)).any()
        }
        for number in reached:
            self._denied.pop(number, None)
        return reached, records if counts.all() else records.part(np.flatnonzero(counts))

    def _handle(self, faults: Iterable[Fault]) -> tuple[list[Fault], dict[int, int]]:
        """Report errors. Returns the ends of partitions, and the place of the error that shows a partition's damaged batch.

        Raises KafkaException for a final error.
        """
        ends: list[Fault] = []
        spoiled: dict[int, int] = {}
        for fault in faults:
            error, partition = fault.error, fault.partition
            if partition in self._damaged:
                continue
            if error.code() in DAMAGED and partition is not None:
                spoiled[partition] = fault.place
                self._spoiled(partition, fault.offset, f"{error.str()}{self._doubt_of(error)}")
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and partition is not None:
                self._denied[partition] = refusal(self._topic, error.str())
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                ends.append(fault)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET and partition is not None:  # noqa: SLF001  # its public name
                self._refuse(partition, error.str())
            elif error.fatal():
                raise KafkaException(error)
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                group = self._settings.get("group.id")
                self._on_error(f"group {group}: {error.str()} Lag tools see no offsets; records are read all the same.")
            else:
                self._on_error(self._reasons.plain(error.str()))
        return ends, spoiled

    # Troubles --------------------------------------------------------------------------------------------------------

    def _cannot(self, state: Troubled, text: str) -> bool:
        """Note and report why the source cannot be opened. Returns False."""
        self._troubles.found(state, self._reasons.newest or (text,))
        return False

    def _silence(self, silent: Mapping[int, float]) -> tuple[str, ...]:
        """Describe partitions whose leader does not answer."""
        why = self._reasons.newest or (f"{self._reasons.brokers}: no answer",)
        if len(silent) == len(self._next):
            return why
        return (f"topic {self._topic}: the leader of {listed(silent)} does not answer", *why)

    def _stall_reasons(self, stalled: Collection[int]) -> tuple[str, ...]:
        """Describe partitions that give neither records nor an error, although they have records."""
        ends = self._reach.ends
        return tuple(
            f"topic {self._topic}, partition {number}: no record comes from offset {self._read_to(number)} on,"
            f" although there are some up to {ends.get(number, 0)}; a fresh client is tried"
            for number in sorted(stalled)[:MOST_NAMED]
        )

    def _read_to(self, number: int) -> int:
        """Return the offset up to which a partition is read. Its end may lie behind the last record."""
        return max(self._next[number], self._ends.reached(number))

    def _follow_stalls(self, now: float, *, drained: bool) -> None:
        """Look for partitions whose records do not come, and try a fresh client if that goes on."""
        if not self._stalls.due(now):
            return
        self._update_offsets()
        sure = self._assigned - self._reach.unsure(now) - self._denied.keys()
        self._stalls.look({number: self._read_to(number) for number in sure}, self._reach.ends, now, drained=drained)
        if self._stalls.wants_client(now):
            self._replace_client()
            self._assigned = set()
            self._ends.forget()
            self._assign(self._next)

    def _ask_leaders(self, now: float) -> None:
        """Ask the leaders whether they answer, in the background."""
        if self._reasons.lost != self._lost:
            self._lost = self._reasons.lost
            self._reach.doubt()
        self._back |= self._reach.look(self._next.keys(), now)

    def _follow_changes(self, now: float) -> None:
        """Begin to read partitions that are new, and try refused ones again. Waits for a new partition's leader."""
        described = self._topic_id.partitions
        if described is not self._described and now - self._looked_at >= _REFUSED_AGAIN_S:
            self._described = described
            if described - self._next.keys():
                self.extend()
        if self._denied and now - self._denied_at >= _REFUSED_AGAIN_S:
            self._denied_at = now
            self._assign_anew(self._denied)

    def _at_end_again(self) -> frozenset[int]:
        """Return the partitions whose leader answers again, and has no records behind those that were read."""
        back, self._back = self._back, frozenset()
        return frozenset(number for number in back if self._ends.reached(number) >= self._reach.ends.get(number, 0))

    def _unsure(self, now: float) -> frozenset[int]:
        """Return the partitions that may have records which cannot be read now."""
        if self._stopped:
            return frozenset(self._next)
        return self._reach.unsure(now) | self._stalls.since.keys() | self._denied.keys() | self._damaged.keys()

    def _unread(self) -> bool:
        """Whether no partition is assigned, although one could be read."""
        return not self._assigned and not self._damaged

    def _assign_anew(self, numbers: Iterable[int]) -> None:
        """Fetch from these partitions afresh: only then their end is reported once more."""
        self._update_offsets()
        if again := self._assigned & set(numbers):
            unassign(self._opened(), [TopicPartition(self._topic, number) for number in sorted(again)])
            self._assigned -= again
            self._assign(again)

    # Damage ----------------------------------------------------------------------------------------------------------

    @property
    def _stopped(self) -> bool:
        """Whether nothing is read, because a batch is damaged."""
        return bool(self._damaged) and not self._skips_damage

    def _doubt_of(self, error: KafkaError) -> str:
        """Return what else a damaged batch may be: librdkafka reports a zstd batch that is too large in the same words."""
        if error.code() != KafkaError._BAD_COMPRESSION or "codec 0x4" not in error.str():  # noqa: SLF001  # its public name
            return ""
        limit = self._settings["receive.message.max.bytes"]
        return f" (or it is valid, and takes more than kafka.receive.message.max.bytes, {limit}, when it is decompressed)"

    def _spoiled(self, partition: int, base: int, why: str) -> None:
        """Stop reading before a damaged batch; read nothing at all unless damage is skipped."""
        self._update_offsets()
        text = f"topic {self._topic}, partition {partition}: the batch at offset {base} is damaged: {why}"
        self._damaged[partition] = Damage(base, text, time.monotonic() - (_DAMAGED_AGAIN_S if self._skips_damage else 0.0))
        self._on_error(text)
        apart = self._assigned & {partition} if self._skips_damage else set(self._assigned)
        if apart:
            unassign(self._opened(), [TopicPartition(self._topic, number) for number in sorted(apart)])
            self._assigned -= apart
            self._ends.forget(apart)

    def _mend(self, now: float) -> None:
        """Go on behind each damaged batch whose end is found, and at each that can be read by now. Never waits."""
        for number, damage in list(self._damaged.items()):
            start = max(damage.base, self._next[number])
            if damage.search is None and now - damage.tried_at >= _DAMAGED_AGAIN_S:
                damage.tried_at = now
                damage.search = search(self._settings, self._topic, number, damage.base, start, ends=self._skips_damage)
            elif damage.search is not None and damage.search.done():
                found, damage.search = damage.found(), None
                if found is not None:
                    del self._damaged[number]
                    self._next[number] = max(found, self._next[number])
                    if found > start:
                        self._missing(number, found - start, "damaged")
                    self._assign(self._next)

    def _refuse(self, partition: int, why: str) -> None:
        """Unassign a partition whose offset the broker refuses. The next poll finds the offset at which reading continues."""
        self._update_offsets()
        if partition in self._assigned:
            unassign(self._opened(), [TopicPartition(self._topic, partition)])
            self._assigned.remove(partition)
            self._ends.forget({partition})
            self._refused[partition] = why
        self._looked_at = 0.0
