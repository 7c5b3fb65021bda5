"""The bridge from the event loop to the actors: a reply after the end of its request is dropped."""

import asyncio
import threading
from typing import Any

import pytest

from actors.protocol import CONTROL
from actors.replies import Busy, GetHealth, Unanswerable
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from gateway.api.errors import Problem, not_taken
from gateway.ask import Asker
from tests.support.allowed import allowance


class Meeting(Actor):
    """An actor on a thread of its own that replies when all of them have been asked."""

    def __init__(self, system: System, name: str, all_asked: threading.Barrier, reply: object) -> None:
        super().__init__(system, stream=name)
        self._all_asked = all_asked
        self._reply = reply

    @property
    def home(self) -> str:
        return self.stream

    def receive(self, message: Any) -> None:
        self._all_asked.wait(60)
        message.reply_to(self._reply)


class Slow(Actor):
    """An actor that replies when an event is set."""

    def __init__(self, system: System, let_go: threading.Event) -> None:
        super().__init__(system, stream="s")
        self._let_go = let_go

    @property
    def home(self) -> str:
        return "slow"

    def receive(self, message: Any) -> None:
        self._let_go.wait(60)
        message.reply_to("late")


def test_a_reply_after_the_end_of_the_loop_fails_no_actor():
    """The server ends before the actors drain, so a question may still be in progress."""
    system, let_go = System(Dispatcher()), threading.Event()
    guardian = Guardian.start(system, log=lambda *_, **__: None)
    slow = Slow.start(system, let_go)

    async def ask() -> None:
        with pytest.raises(Problem, match="no reply in time"):
            await Asker(allowance(deadline_s=0.0)).ask(slow, GetHealth)

    async def failures() -> int:
        return int((await Asker(allowance()).ask(guardian, GetHealth)).dead_letters)

    try:
        asyncio.run(ask())
        let_go.set()
        slow.stop()
        assert asyncio.run(failures()) == 0
    finally:
        guardian.stop()
        system.dispatcher.close()


class Named(Actor):
    """Replies with the name of the thread that it runs on, and fails at the second message."""

    def __init__(self, system: System) -> None:
        super().__init__(system, stream="s")
        self._handled = 0

    def receive(self, message: Any) -> None:
        self._handled += 1
        if self._handled == 2:
            raise ArithmeticError("by design")
        message.reply_to(threading.current_thread().name)


def test_the_event_loop_runs_what_it_asks_of_an_actor_whose_home_it_is_lent():
    system = System(Dispatcher())
    named = Named.start(system)

    async def ask() -> list[str]:
        asker = Asker(allowance())
        before = await asker.ask(named, GetHealth)
        system.dispatcher.lend(CONTROL)
        with pytest.raises(Problem, match="ArithmeticError"):
            await asker.ask(named, GetHealth)
        within = await asker.ask(named, GetHealth)
        system.dispatcher.lend(None)
        return [before, within, await asker.ask(named, GetHealth)]

    try:
        assert asyncio.run(ask()) == [CONTROL, threading.current_thread().name, CONTROL]
    finally:
        named.stop()
        system.dispatcher.close()


def test_several_actors_are_asked_at_once_as_one_request():
    system, replies = System(Dispatcher()), ["a", Busy("given up"), "c"]
    all_asked = threading.Barrier(len(replies))
    actors = [Meeting.start(system, f"s{number}", all_asked, reply) for number, reply in enumerate(replies)]
    asker = Asker(allowance(max_queries=1))
    try:
        assert asyncio.run(asker.ask_all([(actor, GetHealth) for actor in actors])) == replies
    finally:
        for actor in actors:
            actor.stop()
        system.dispatcher.close()


def test_a_client_is_told_to_ask_again_only_if_that_may_help():
    now, never = not_taken(Busy("full")), not_taken(Unanswerable("not by key"))
    assert (now.status, now.headers) == (503, {"Retry-After": "1"})
    assert (never.status, never.headers, never.got) == (409, None, "not by key")
