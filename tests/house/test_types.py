"""The doors of the actors are typed: mypy accepts the right messages, ids and replies, and refuses each wrong one."""

import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.checkout import ROOT

_SNIPPET = """
from actors.messages import Archive, FrontEndMessage, ManagerMessage, Poll, Read, SetCollectorMessage
from actors.protocol import Address, CollectorId, QueryId
from actors.replies import GetStats, Health, Stats
from actors.runtime.actor import Actor, System, start
from actors.runtime.guardian import Guardian
from actors.timeline.span import EVER
from gateway.ask import Asker

FrontEnd = Address[FrontEndMessage]
Collector = Address[SetCollectorMessage]

def right(manager: Actor[ManagerMessage], front_end: FrontEnd, collector: Collector, system: System) -> None:
    front_end.tell(Poll())
    manager.send(collector, Read(QueryId(1), EVER, None))
    start(Guardian, system, log=lambda *_, **__: None)

async def asks(asker: Asker, manager: Address[GetStats], request: GetStats, stats: Stats, health: Health) -> None:
    stats = await asker.ask(manager, GetStats)
    request.reply_to(stats)
    request.reply_to(health)  # wrong reply
    health = await asker.ask(manager, GetStats)  # wrong reply expected

def wrong(manager: Actor[ManagerMessage], front_end: FrontEnd, collector: Collector, system: System) -> None:
    front_end.tell(Archive())  # wrong actor
    manager.send(collector, Poll())  # wrong actor
    manager.later(1.0, manager.address, Archive())  # wrong actor
    collector.tell(Read(CollectorId(1), EVER, None))  # wrong id
    start(Guardian, system)  # wrong arguments
"""


def test_mypy_refuses_wrong_messages_ids_and_replies(tmp_path: Path) -> None:
    """Cost: seconds if mypy's cache is warm, most of a minute if not."""
    file = tmp_path / "doors.py"
    file.write_text(_SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", file]
    checked = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    refused = {int(line) for line in re.findall(r"doors\.py:(\d+): error", checked.stdout)}
    assert refused == {number for number, line in enumerate(_SNIPPET.splitlines(), 1) if "# wrong" in line}, checked.stdout
