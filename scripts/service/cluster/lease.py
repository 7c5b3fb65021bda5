"""The leases of a process: which shards Kafka's group protocol gives it, and who has the others.

The lease topic has one partition for each shard. Whoever Kafka gives partition i may announce itself there, in a transaction
that Kafka refuses if it has given the partition to another process meanwhile. The newest announcement has the shard. So all
processes learn from one log in one order who has what, and a process that was frozen cannot take back what it has lost.

A process announces a shard twice: when it begins, and when it answers. A process that has given a shard back in order answers
until the second announcement of the next holder, and all others go on asking it until then.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from scripts.service.cluster.announcer import Announcer
from scripts.service.cluster.group import Grant, Group, member_of, membership_of, reader_of
from scripts.service.cluster.records import Announced

_POLL_S = 0.1
_AGAIN_S = 0.5
_HASTY_POLL_S = 0.02
"""The same while a shard was given to this process and does not answer yet."""

_HASTE_S = 10.0
"""How long after the beginning of a shard that is so."""

_UNTAKEN_S, _TAKEN_S = 30.0, 600.0
"""How long a shard that was given back answers: if no other process takes it, and after one has begun to take it."""


class Shards(Protocol):
    """What the process does with its shards. Called on the thread of the leases."""

    def begin(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        """Start a shard: this process has it from now on, by this epoch. `ready` is called on any thread once it answers."""

    def renew(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        """Go on with a shard by a newer epoch; no other process has had it in between."""

    def give_back(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        """Write last checkpoints of shards, and read nothing more: others have them once this has returned. They still answer.

        Meanwhile `beat` is called all the time, on this thread.
        """

    def end(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        """Stop shards: others have them, or will have them soon. Meanwhile `beat` is called all the time, on this thread."""

    def locate(self, shard: int, who: Announced | None, epoch: int) -> None:
        """Note that another process has the shard, and answers."""


class Leases:
    """Keeps the leases of this process up to date, on a thread of its own. `me` is the process as it announces itself.

    `log` gets an event and its facts. `on_fenced` gets the reason if another process has the name of this member, `on_failed`
    if a shard cannot be started or stopped: the process must end then, so that others get its shards.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        group: Group,
        me: Announced,
        secret: bytes,
        shards: Shards,
        log: Callable[..., object],
        on_fenced: Callable[[str], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._settings = dict(settings)
        self._group = group
        self._me = me
        self._secret = secret
        self._shards = shards
        self._log = log
        self._on_fenced = on_fenced
        self._on_failed = on_failed
        self._given: set[int] = set()
        self._announced: set[int] = set()
        self._owner: dict[int, str] = {}
        self._running: set[int] = set()
        self._left: dict[int, float] = {}
        """The shards that were given back and still answer, each with the time until which it does."""
        self._located: dict[int, tuple[str, int]] = {}
        self._announcer = Announcer(self._writer, group, me, secret)
        self._hasty_until = 0.0
        self._held: frozenset[int] = frozenset()
        self._membership: Any = None
        # Kafka counts from the last heartbeat, which came up to a sixth of a session before the silence.
        self._doubt_s = group.session_ms / 2_000
        self._alive_at = self._now()
        self._in_doubt = False
        self._first: int | None = None
        self._grant: Grant | None = None
        self._again_at = 0.0
        self._ending = threading.Event()
        self._draining = threading.Event()
        self._subscribed = False
        self._reading: Consumer | None = None
        self._giving: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def learn(self, timeout_s: float) -> None:
        """Read who has the shards now, so that the first questions go there; then `start`. Waits at most `timeout_s`."""
        self._reading = self._reader()
        deadline, left = self._now() + timeout_s, set(range(self._group.shards))
        while left and self._now() < deadline:
            for message in self._reading.consume(1_000, _HASTY_POLL_S):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    left.discard(message.partition())
                self._take(message)

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def doubtful(self) -> bool:
        """Whether this process was silent for so long that others may have its shards, and has not learned it yet."""
        return self._in_doubt or self._now() - self._alive_at > self._doubt_s

    def grant(self) -> Grant | None:
        """Return what lets this process commit for all shards; None if it has not shard 0. Any thread may call it."""
        return None if self.doubtful() else self._grant

    @property
    def draining(self) -> bool:
        """Whether this process takes no shards. Any thread may ask."""
        return self._draining.is_set()

    @property
    def has(self) -> Sequence[int]:
        """The shards that answer here, or will soon. Any thread may ask."""
        return sorted({*self._running.copy(), *self._left.copy()})

    def drain(self) -> None:
        """Give all shards back in order, and take none until `resume`. Returns at once."""
        self._draining.set()

    def resume(self) -> None:
        """Take shards again. Returns at once."""
        self._draining.clear()

    def claim(self, shard: int) -> Any:
        """Return the group's metadata for a transaction about a shard; None if this process has lost it. On any thread.

        Kafka refuses the transaction if the group has moved on since. A lost shard is noted before this member joins the group
        again, so metadata from before the look at the shard never has a generation in which another process has it.

        It never waits. The member cannot be asked here: in confluent-kafka 2.16 its methods wait while another thread is in
        `consume`, and that is so for as long as a callback of it ends a shard, which waits for a transaction about the shard.
        """
        membership = self._membership
        return membership if shard in self._held else None

    def stop(self, timeout_s: float) -> None:
        """Give the shards back, and leave the group. Waits at most `timeout_s`."""
        self._ending.set()
        self._thread.join(timeout_s)

    # On the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        reader, member = self._reading or self._reader(), self._member()
        try:
            with contextlib.suppress(KafkaException):  # the first announcement tries again, and reports it
                self._announcer.connect()  # before the first shard is absent because of it
            while not self._ending.is_set():
                self._tick(reader, member)
            self._end_all(member)
        except Exception as error:  # noqa: BLE001  # whatever it is: others must get the shards
            self._on_failed(f"cluster: {type(error).__name__}: {error}")
        finally:
            self._held, self._membership = frozenset(), None
            reader.close()
            member.close()

    def _end_all(self, member: Consumer) -> None:
        """Give all shards back. The group may move on meanwhile, because another process ends too."""
        if self._running:
            self._note_membership(member)
            self._beside(partial(self._shards.give_back, sorted(self._running), _nothing), partial(self._stay, member))
        if self.has:
            self._shards.end(self.has, _nothing)
        self._running.clear()
        self._left.clear()

    def _beside(self, work: Callable[[], None], meanwhile: Callable[[], None]) -> None:
        """Do work on a thread of its own, and something else again and again until it is done."""
        self._giving = threading.Thread(target=work, name="leases/end", daemon=True)
        self._giving.start()
        while self._giving.is_alive():
            meanwhile()

    def _stay(self, member: Consumer) -> None:
        """Stay in the group, by its present generation: last checkpoints are copied by it."""
        member.consume(100, _HASTY_POLL_S)
        self._note_membership(member)

    def _beat(self) -> None:
        """Note that this process lives, or that it was silent for so long that others may have its shards."""
        silent_s = self._now() - self._alive_at
        self._alive_at = self._now()
        if silent_s <= self._doubt_s:
            return
        if self._running:
            self._in_doubt = True
            self._announced.clear()  # whoever may announce itself anew still has its shards
            self._log("lease in doubt", shards=sorted(self._running), silent_s=round(silent_s, 1))
        self._end_left(self._left)  # another process may answer for them by now

    def _end_left(self, shards: Iterable[int]) -> None:
        """Stop shards that were given back."""
        if ended := sorted(shards):
            for shard in ended:
                del self._left[shard]
            self._shards.end(ended, self._beat)

    def _tick(self, reader: Consumer, member: Consumer) -> None:
        self._beat()
        self._end_left([shard for shard, until in self._left.items() if self._now() > until])
        self._subscribe(member)
        coming = self._now() < self._hasty_until and not self._announcer.done
        wait_s = _HASTY_POLL_S if coming or self._given - self._held else _POLL_S
        self._look_for_end(member.consume(100, wait_s))  # its records are not needed: the reader gets them too
        self._note_membership(member)
        for message in reader.consume(1_000, wait_s / 2):
            self._take(message)
        if self._now() >= self._again_at:
            begun: Mapping[int, int | None] = dict.fromkeys(sorted(self._given - self._announced))
            self._announce(member, begun or self._announcer.answering(self._announced & self._held))
        self._grant = self._grant_now()

    def _note_membership(self, member: Consumer) -> None:
        """Note the present generation, if this process has a shard."""
        try:
            self._membership = membership_of(member) if self._given else None
        except KafkaException:  # it is lost
            self._membership = None

    def _grant_now(self) -> Grant | None:
        """Return the membership by which this process has shard 0. As long as it is given, no other one may have it."""
        if self._first is None or self._membership is None or 0 not in self._given & self._announced:
            return None
        return Grant(self._first, self._membership)

    def _subscribe(self, member: Consumer) -> None:
        """Be in the group, or while this process drains, leave it: librdkafka revokes all partitions first."""
        if self._subscribed == self._draining.is_set():
            self._subscribed = not self._subscribed
            if self._subscribed:
                member.subscribe(
                    [self._group.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                )
            else:
                member.unsubscribe()
            self._log("takes shards" if self._subscribed else "takes no shards", shards=list(self.has))

    def _member(self) -> Consumer:
        return member_of(self._settings, self._group)

    def _reader(self) -> Consumer:
        return reader_of(self._settings, self._group)

    def _writer(self, own: Mapping[str, Any]) -> Producer:
        return Producer({**self._settings, **own})

    @staticmethod
    def _now() -> float:
        """Return the monotonic time, s."""
        return time.monotonic()

    def _look_for_end(self, messages: Sequence[Message]) -> None:
        """Look for the error that ends this member. librdkafka reports it once, and then no longer polls."""
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._FATAL:  # noqa: SLF001  # its public name
                self._on_fenced(f"cluster.member: another process is {self._group.member}: {error.str()}")
                self._ending.set()

    def _on_assign(self, member: Consumer, places: Sequence[TopicPartition]) -> None:
        member.incremental_assign(list(places))
        numbers = [place.partition for place in places]
        self._given.update(numbers)
        self._announced.difference_update(numbers)
        if numbers:
            self._log("shards given", shards=sorted(numbers))

    def _on_revoke(self, member: Consumer, places: Sequence[TopicPartition]) -> None:
        """Give shards back in order: the group waits until this returns."""
        if self._giving is not None:  # this process ends
            self._giving.join()
        self._note_membership(member)  # it has a new generation, by which the last checkpoints are copied
        numbers = {place.partition for place in places}
        self._let_go(numbers)
        self._given -= numbers
        self._announced -= numbers
        if running := sorted(numbers & self._running):
            self._shards.give_back(running, self._beat)
            self._beat()
            self._running -= numbers
            self._left.update(dict.fromkeys(running, self._now() + _UNTAKEN_S))
            if self._in_doubt:  # this process was silent meanwhile
                self._end_left(running)
        self._held -= numbers
        member.incremental_unassign(list(places))

    def _on_lost(self, member: Consumer, places: Sequence[TopicPartition]) -> None:
        """Go on with the shards until another process announces that it has them: Kafka may be away for all."""
        numbers = [place.partition for place in places]
        self._let_go(numbers)
        self._given.difference_update(numbers)
        self._announced.difference_update(numbers)
        self._held -= set(numbers)
        self._log("leases lost", shards=sorted(numbers))
        member.incremental_unassign(list(places))

    def _let_go(self, numbers: Collection[int]) -> None:
        """Commit for all shards no more, if shard 0 is one of `numbers`, until this process has it anew."""
        if 0 in numbers:
            self._first = self._grant = None

    def _announce(self, member: Consumer, due: Mapping[int, int | None]) -> None:
        """Announce shards, see `Announcer`; if Kafka refuses it, again later."""
        if not due:
            return
        try:
            self._announcer.announce(member, due)
        except KafkaException as error:
            self._again_at = self._now() + _AGAIN_S
            self._log("lease refused", shards=list(due), problem=error.args[0].str())
        else:
            self._announced.update(due)

    def _take(self, message: Message) -> None:
        """Learn from one record of the lease topic who has a shard."""
        shard, value = message.partition(), message.value()
        if message.error() is not None or shard is None or value is None:
            return
        found = Announced.of(shard, value, self._secret)
        if found is None:
            self._log("lease not trusted", shard=shard, reason="its proof is wrong: the secrets may differ")
            return
        before = self._owner.get(shard)
        self._owner[shard] = found.process
        if found.process != self._me.process:
            self._take_others(shard, found, found.epoch(int(message.offset() or 0)))
        elif shard in self._given and found.lease is None:
            self._take_own(shard, int(message.offset() or 0), same=before == self._me.process)
        self._look_again()

    def _take_others(self, shard: int, found: Announced, epoch: int) -> None:
        """Note that another process has a shard. Until it answers, whoever has given the shard back in order does."""
        self._held -= {shard}
        self._announcer.forget(shard)
        self._let_go([shard])
        answers, before = found.lease is not None, self._located.get(shard)
        located = found.process, epoch
        if located != before and (answers or (before is not None and before[0] == found.process)):
            self._located[shard] = located
            self._shards.locate(shard, found, epoch)
        if shard in self._left and not answers:
            self._left[shard] = self._now() + _TAKEN_S
        elif shard in self._left:
            self._end_left([shard])
        elif shard in self._running:
            self._running.discard(shard)
            self._shards.end([shard], self._beat)

    def _take_own(self, shard: int, epoch: int, *, same: bool) -> None:
        """Begin a shard, or go on with it if this process had it before."""
        self._held |= {shard}
        self._located.pop(shard, None)
        self._hasty_until = self._now() + _HASTE_S
        if shard == 0:
            self._first = epoch
        ready = self._announcer.read_back(shard, epoch)
        if shard in self._running and same:
            self._shards.renew(shard, epoch, ready)
        else:
            self._left.pop(shard, None)
            self._running.add(shard)
            self._shards.begin(shard, epoch, ready)

    def _look_again(self) -> None:
        """End the doubt once this process knows who has each shard that it ran before."""
        if self._in_doubt and all(shard in self._announced for shard in self._running):
            self._in_doubt = False
            self._log("lease certain", shards=sorted(self._running))


def _nothing() -> None:
    """Note no sign of life: nothing is asked for any more."""
