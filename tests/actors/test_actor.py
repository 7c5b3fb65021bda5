"""Mailboxes, the dispatcher and the actor base: control messages first, no thread ends, and no message is lost silently."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest
from pykka import ActorDeadError
from pykka._envelope import Envelope

from actors.messages import Ingested, Poll, Recover
from actors.protocol import CONTROL, Home, Lane, delivered
from actors.replies import Busy, GetHealth, Health
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher, Timer, _Home, _look
from actors.runtime.guardian import Guardian
from actors.runtime.mailbox import Mailbox
from tests.support.waiting import PATIENCE_S, until


def mailbox(data: int = 3, control: int = 3) -> tuple[Mailbox, list[str], list[str]]:
    woken: list[str] = []
    refused: list[str] = []
    capacity = {Lane.CONTROL: control, Lane.DATA: data}
    box = Mailbox(capacity, lambda: woken.append("woken"), lambda _, reason: refused.append(reason))
    box.rest()
    return box, woken, refused


def test_control_messages_come_before_data_and_each_lane_keeps_its_order():
    box, _, _ = mailbox()
    sent = [Poll(), Ingested(1, 0), Poll(), Ingested(2, 0)]
    for message in sent:
        box.put(Envelope(message))
    assert [box.get().message for _ in sent] == [Ingested(1, 0), Ingested(2, 0), Poll(), Poll()]
    assert box.empty()


def test_a_full_lane_refuses_messages_and_the_other_lane_accepts_them():
    box, _, refused = mailbox(data=1)
    for message in (Poll(), Poll(), Ingested(1, 0)):
        box.put(Envelope(message))
    assert refused == ["the mailbox is full"]
    assert (box.depth(Lane.DATA), box.depth(Lane.CONTROL)) == (1, 1)


def test_an_actor_is_woken_once_for_all_messages_until_it_rests():
    box, woken, _ = mailbox()
    box.put(Envelope(Poll()))
    box.put(Envelope(Poll()))
    assert len(woken) == 1
    box.get()
    box.rest()
    assert len(woken) == 2


def test_held_data_waits_while_control_messages_are_handled():
    box, woken, _ = mailbox()
    box.hold()
    box.put(Envelope(Poll()))
    assert box.empty()
    assert not woken
    box.put(Envelope(Ingested(1, 0)))
    assert box.get().message == Ingested(1, 0)
    box.release()
    assert box.get().message == Poll()


def test_a_closed_mailbox_returns_its_messages_and_refuses_new_ones():
    box, _, refused = mailbox()
    box.put(Envelope(Poll()))
    assert [envelope.message for envelope in box.close()] == [Poll()]
    box.put(Envelope(Poll()))
    assert refused == ["the actor has stopped"]


def test_the_tasks_of_a_home_run_in_order_on_one_thread():
    dispatcher, ran = Dispatcher(), SimpleQueue()
    for number in range(100):
        dispatcher.submit(lambda number=number: ran.put((number, threading.current_thread().name)), "here")
    assert [ran.get(timeout=PATIENCE_S) for _ in range(100)] == [(number, "here") for number in range(100)]
    dispatcher.close()


def test_a_thread_runs_at_once_what_it_submits_to_the_home_that_it_is_lent():
    dispatcher, ran = Dispatcher(), SimpleQueue()

    def report(number: int) -> None:
        ran.put((number, threading.current_thread().name))

    dispatcher.lend("here")
    dispatcher.submit(partial(report, 1), "here")
    assert ran.get_nowait() == (1, threading.current_thread().name)
    dispatcher.submit(partial(report, 2), "there")
    assert ran.get(timeout=60) == (2, "there")
    other = threading.Thread(target=dispatcher.submit, args=(partial(report, 3), "here"))
    other.start()
    assert ran.get(timeout=60) == (3, "here")
    other.join()
    dispatcher.lend(None)
    dispatcher.submit(partial(report, 4), "here")
    assert ran.get(timeout=60) == (4, "here")
    dispatcher.close()


class Counting(Actor):
    """Notes each message, and whether two turns ever ran at once."""

    def __init__(self, system: System) -> None:
        super().__init__(system, stream="s")
        self.inside = threading.Lock()
        self.threads: set[str] = set()
        self.handled: list[Any] = []
        self.overlaps = 0

    def receive(self, message: Any) -> None:
        if not self.inside.acquire(blocking=False):
            self.overlaps += 1
            return
        self.threads.add(threading.current_thread().name)
        self.handled.append(message)
        self.inside.release()


def test_turns_of_an_actor_never_overlap_and_keep_the_order_of_each_sender_when_its_home_is_lent():
    system, count = System(Dispatcher()), 2_000
    address = Counting.start(system)
    actor = address._actor_weakref()
    begun = threading.Barrier(2)

    def send(first: int) -> None:
        begun.wait(60)
        for number in range(first, first + count):
            address.tell(Ingested(number, 0))

    other = threading.Thread(target=send, args=(count,))
    other.start()
    system.dispatcher.lend(CONTROL)
    send(0)
    other.join()
    until(lambda: len(actor.handled) == 2 * count)
    assert actor.overlaps == 0
    numbers = [message.events for message in actor.handled]
    assert [number for number in numbers if number < count] == list(range(count))
    assert [number for number in numbers if number >= count] == list(range(count, 2 * count))
    address.stop()
    system.dispatcher.close()


class Talkative(Counting):
    """Sends itself one message after the other."""

    def receive(self, message: Any) -> None:
        super().receive(message)
        if message.events:
            self.send(self.address, Ingested(message.events - 1, 0))


def test_a_thread_that_is_lent_a_home_runs_one_turn_of_an_actor_at_a_time():
    system = System(Dispatcher())
    address = Talkative.start(system)
    actor = address._actor_weakref()
    until(lambda: not actor.mailbox._busy)
    system.dispatcher.lend(CONTROL)
    address.tell(Ingested(5_000, 0))
    until(lambda: len(actor.handled) == 5_001)
    assert actor.threads == {CONTROL, threading.current_thread().name}
    assert actor.overlaps == 0
    address.stop()
    system.dispatcher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own only on Linux")
def test_the_reading_thread_and_what_it_starts_yield_to_the_other_threads():
    dispatcher, found = Dispatcher(), SimpleQueue()

    def priority(of: str) -> None:
        found.put((of, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    def report(home: str) -> None:
        priority(home)
        started = threading.Thread(target=priority, args=(f"started by {home}",))
        started.start()
        started.join()

    usual = os.getpriority(os.PRIO_PROCESS, 0)
    for home in ("control", Home.ACTIVE.of("reading"), Home.READING.of("events")):
        dispatcher.submit(partial(report, home), home)
    priorities = dict(found.get(timeout=PATIENCE_S) for _ in range(6))
    dispatcher.close()
    lower = {of: value for of, value in priorities.items() if value != usual}
    assert lower == dict.fromkeys(("events/reading", "started by events/reading"), min(usual + 5, 19))


def test_later_tasks_run_in_order_of_their_time():
    dispatcher, ran = Dispatcher(), SimpleQueue()
    dispatcher.submit(lambda: None, "here")
    for seconds in (0.06, 0.02, 0.04):
        dispatcher.later(seconds, lambda seconds=seconds: ran.put(seconds), "here")
    assert [ran.get(timeout=PATIENCE_S) for _ in range(3)] == [0.02, 0.04, 0.06]
    dispatcher.close()


def test_a_cancelled_task_does_not_run_and_wakes_no_thread_and_the_others_keep_their_order():
    dispatcher, ran, may = Dispatcher(), SimpleQueue(), threading.Event()
    dispatcher.submit(may.wait, "here")  # no task begins before this ends
    tasks = [Timer(partial(ran.put, number)) for number in range(9)]
    for number, task in enumerate(tasks):
        dispatcher.later(number / 1000, task, "here")
    for task in tasks[:8:2]:
        task.cancel()
    may.set()
    assert [ran.get(timeout=PATIENCE_S) for _ in range(5)] == [1, 3, 5, 7, 8]
    tasks[8].cancel()  # too late: no effect
    dispatcher.close()
    assert ran.empty()


def test_a_thread_sleeps_until_its_next_delayed_task_that_is_not_cancelled():
    home, now = _Home(), [0.0]
    first, second = Timer(lambda: None), Timer(lambda: None)
    home.put_later(5.0, first)
    home.put_later(7.0, second)
    assert home._until_next(lambda: now[0]) == 5.0
    first.cancel()
    assert home._until_next(lambda: now[0]) == 7.0
    home.put_later(9.0, first)
    assert home._tasks.empty(), "it wakes before that"
    earlier = Timer(lambda: None)
    home.put_later(6.0, earlier)
    assert home._tasks.get_nowait() is _look, "it would sleep for too long"
    now[0] = 6.5
    assert home._until_next(lambda: now[0]) == 0.5
    assert home._tasks.get_nowait() is earlier
    second.cancel()
    assert home._until_next(lambda: now[0]) is None
    assert home._tasks.empty()
    assert not home._later


def test_a_task_for_sooner_wakes_a_thread_that_sleeps_for_longer():
    dispatcher, ran = Dispatcher(), SimpleQueue()
    dispatcher.later(10 * PATIENCE_S, partial(ran.put, "late"), "here")
    until(lambda: dispatcher._homes["here"]._wakes_at > 0)  # it sleeps
    dispatcher.later(0.001, partial(ran.put, "soon"), "here")
    assert ran.get(timeout=PATIENCE_S) == "soon"
    dispatcher.close()
    assert ran.empty(), "what is delayed is dropped at the end"


def test_a_home_that_opens_while_the_dispatcher_closes_runs_its_task_and_ends():
    dispatcher, ran = Dispatcher(), SimpleQueue()

    def submit() -> None:
        until(lambda: dispatcher._closed)
        dispatcher.submit(lambda: ran.put("there"), "there")

    dispatcher.submit(submit, "here")
    dispatcher.close()
    assert ran.get(timeout=PATIENCE_S) == "there"
    assert not [thread.name for thread in dispatcher._threads if thread.is_alive()]


class Fragile(Actor):
    """Stores the messages that it handles. Fails at Ingested(0, 0), and at the first `failures` polls."""

    suspends: ClassVar[bool] = True

    def __init__(self, system: System, *, failures: int = 0) -> None:
        super().__init__(system, stream="test")
        self.failures = failures
        self.handled: list[Any] = []
        self.recoveries = 0

    def receive(self, message: Any) -> None:
        if message == Ingested(0, 0) or (isinstance(message, Poll) and self.failures):
            self.failures -= isinstance(message, Poll)
            raise ArithmeticError("by design")
        self.handled.append(message)

    def recover(self) -> None:
        self.recoveries += 1


class Running:
    """A system with a guardian, and the actors that a test starts."""

    def __init__(self) -> None:
        self.system = System(Dispatcher())
        self.guardian = Guardian.start(self.system, log=lambda *_, **__: None, backoff_s=0.01)
        self._started: list[Any] = []

    def start(self, kind: type[Fragile] = Fragile, **options: int) -> tuple[Any, Any]:
        """Start an actor. Return its address and the actor."""
        self._started.append(kind.start(self.system, **options))
        return self._started[-1], self._started[-1]._actor_weakref()

    def stop(self) -> None:
        for address in (*self._started, self.guardian):
            address.stop()
        self.system.dispatcher.close()

    def health(self) -> Health:
        replies: SimpleQueue[Health] = SimpleQueue()
        self.guardian.tell(GetHealth(replies.put))
        return replies.get(timeout=PATIENCE_S)


@pytest.fixture
def running() -> Iterator[Running]:
    started = Running()
    yield started
    started.stop()


def test_a_failed_control_message_is_the_only_one_lost(running: Running):
    reference, actor = running.start()
    for number in (1, 0, 2):
        reference.tell(Ingested(number, 0))
    until(lambda: actor.handled == [Ingested(1, 0), Ingested(2, 0)])
    assert until(running.health).dead_letters == 1
    assert actor.recoveries == 0


def test_after_a_failed_data_message_data_waits_for_the_recovery(running: Running):
    reference, actor = running.start(failures=2)
    for _ in range(4):
        reference.tell(Poll())
    until(lambda: actor.handled == [Poll(), Poll()])
    assert actor.recoveries == 2
    assert running.health().restarts == {"test": 2}


def test_an_actor_that_fails_ten_times_in_a_minute_handles_no_more_data(running: Running):
    reference, actor = running.start(failures=100)
    for _ in range(10):
        reference.tell(Poll())
    until(lambda: running.health().degraded)
    reference.tell(Ingested(7, 0))
    until(lambda: actor.handled == [Ingested(7, 0)])
    assert actor.recoveries == 9


class Hopeless(Fragile):
    """Fails at the first `failed_recoveries` recoveries, and at every report of a failure."""

    def __init__(self, system: System, *, failures: int, failed_recoveries: int) -> None:
        super().__init__(system, failures=failures)
        self.failed_recoveries = failed_recoveries

    def recover(self) -> None:
        super().recover()
        if self.recoveries <= self.failed_recoveries:
            raise ArithmeticError("by design, again")

    def failed(self, message: Any, error: Exception) -> None:
        raise LookupError("by design, at the notice")


def test_a_failed_recovery_is_retried_and_a_failed_report_ends_no_thread(running: Running):
    reference, actor = running.start(Hopeless, failures=1, failed_recoveries=2)
    for _ in range(2):
        reference.tell(Poll())
    until(lambda: actor.handled == [Poll()])
    assert actor.recoveries == 3
    assert running.health().dead_letters == 6  # the poll and two recoveries, each with its report


class Dying:
    """The address of an actor that stops between the check that it is alive and the message."""

    actor_class = Fragile

    @staticmethod
    def is_alive() -> bool:
        return True

    @staticmethod
    def tell(message: Any) -> None:
        raise ActorDeadError(str(message))


def test_a_message_to_an_actor_that_is_stopping_is_a_dead_letter_and_ends_no_thread(running: Running):
    reference, actor = running.start()
    actor.later(0.0, Dying(), Recover())
    until(lambda: running.health().dead_letters == 1)
    reference.tell(Poll())
    until(lambda: actor.handled == [Poll()])


def test_a_failure_without_a_guardian_ends_no_thread(running: Running):
    running.system.guardian = Dying()
    reference, actor = running.start()
    reference.tell(Ingested(0, 0))
    reference.tell(Ingested(2, 0))
    until(lambda: actor.handled == [Ingested(2, 0)])


def test_messages_to_a_stopped_actor_are_dead_letters_and_the_newest_hundred_are_kept(running: Running):
    (reference, _), (_, sender) = running.start(), running.start()
    reference.stop(block=True)
    for _ in range(150):
        sender.send(reference, Recover())
    health = until(lambda: health if (health := running.health()).dead_letters == 150 else None)
    assert len(health.newest) == 100
    assert health.newest[0].reason == "Fragile has stopped"


def test_only_a_delayed_message_to_another_actor_is_a_dead_letter_if_that_has_stopped(running: Running):
    (reference, actor), (_, sender) = running.start(), running.start()
    reference.stop(block=True)
    actor.later(0.0, actor.address, Recover())
    sender.later(0.01, reference, Recover())  # of the same thread, so after it
    until(lambda: running.health().dead_letters)
    assert running.health().dead_letters == 1


def test_a_request_to_a_stopped_actor_is_answered(running: Running):
    (reference, _), (_, sender) = running.start(), running.start()
    reference.stop(block=True)
    replies: list[Any] = []
    sender.send(reference, GetHealth(replies.append))
    assert replies == [Busy("Fragile has stopped")]
    assert not delivered(reference, GetHealth(replies.append))


class Unready(Actor):
    """Asks for the health of the system before its own state is there."""

    def __init__(self, system: System, ask: Callable[[], Health]) -> None:
        super().__init__(system, stream="test")
        self.seen = ask()
        self._count = 1

    @property
    def counted(self) -> Mapping[str, int]:
        return {"count": self._count}


def test_an_actor_is_not_counted_before_its_constructor_is_done(running: Running):
    actor: Any = Unready.start(running.system, running.health)._actor_weakref()
    assert not [each for each in actor.seen.actors if each.actor == "Unready"]
    assert [dict(each.counted) for each in running.health().actors if each.actor == "Unready"] == [{"count": 1}]
    actor.stop()


def test_a_request_that_fails_is_answered_by_any_actor(running: Running):
    class Lame(Fragile):
        def receive(self, message: Any) -> None:
            raise ArithmeticError(str(message))

    reference, _ = running.start(Lame)
    replies: SimpleQueue[Any] = SimpleQueue()
    reference.tell(GetHealth(replies.put))
    assert replies.get(timeout=PATIENCE_S) == Busy("the request failed: ArithmeticError")
