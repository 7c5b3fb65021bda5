"""The bridge from the event loop to the actors: what comes of a reply that nobody waits for any more."""

import asyncio
import threading
from typing import Any

import pytest

from actors.replies import GetHealth
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from gateway.api.errors import Problem
from gateway.ask import Asker
from tests.support.allowed import allowance


class Slow(Actor):
    """An actor that answers once it is let go."""

    def __init__(self, system: System, let_go: threading.Event) -> None:
        super().__init__(system, stream="s")
        self._let_go = let_go

    @property
    def home(self) -> str:
        return "slow"

    def receive(self, message: Any) -> None:
        self._let_go.wait(60)
        message.reply_to("late")


def test_a_reply_that_comes_when_the_loop_has_ended_harms_no_actor():
    """The server ends first, and the actors drain behind it: a question may still be under way then."""
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
