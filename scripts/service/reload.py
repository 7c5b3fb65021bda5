"""Reads the settings again while the service runs, and applies what has changed: all of it, or nothing.

Used by the composition root, for SIGHUP and `POST /config/reload`. Everything is read, checked and made before the first actor
hears of it; where one then cannot follow, those that did are told to go back.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, cast

from actors.messages import Reconfigure
from actors.protocol import Address, Message, ReplyTo
from actors.replies import Busy, GetStats
from actors.stream import Running, StreamPlan
from actors.views.view import View
from config.changes import Applies, Change, changes
from config.load import SettingsError
from config.settings import Settings
from config.tokens import tokens
from gateway.routes.reload import Changed, RefusedError
from gateway.wire.limits import Allowance, Limits
from scripts.service.plan import Budget, StreamMeter, budget_of, max_age_of, view_of

_PATIENCE_S = 10.0
_CONSOLE = "/dev/tty"


def limits_of(settings: Settings, reply_bytes: int) -> Limits:
    """Return what the gateway allows, with the tokens as they are now. Raises ValueError where these cannot be had."""
    http = settings.http
    return Limits(
        deadline_s=http.deadline_ms / 1000,
        max_queries=http.max_queries,
        max_rows=http.max_rows,
        max_body_bytes=http.max_body_bytes,
        max_header_bytes=http.max_header_bytes,
        max_connections=http.max_connections,
        max_watchers=http.max_watchers,
        header_s=http.header_ms / 1000,
        body_s=http.body_ms / 1000,
        stall_s=http.stall_ms / 1000,
        keep_alive_s=http.keep_alive_ms / 1000,
        hosts=tuple(http.hosts),
        tokens=tokens(http, os.environ),
        reply_bytes=reply_bytes,
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """What a running stream's manager keeps to; `spills` where it may have generations on the disk alone."""

    manager: Address
    meter: StreamMeter
    baseline_bytes: int
    view: View
    spills: bool


@dataclass(slots=True)
class InForce:
    """All that may change while the service runs, as it is now."""

    settings: Settings
    budget: Budget
    rules: Mapping[str, Rule]
    allowance: Allowance


def rules_of(plans: Mapping[str, StreamPlan], running: Mapping[str, Running]) -> dict[str, Rule]:
    """Return what streams were started with."""
    rules = {}
    for name, each in plans.items():
        meter, spills = cast("StreamMeter", each.meter), each.store is not None
        rules[name] = Rule(running[name].manager, meter, each.baseline_bytes, each.view, spills)
    return rules


class Reloading:
    """Applies the settings that `read` returns over those `in_force`. `log` is told of each change, or why there is none.

    `on_level` sets the level of the log. Any thread may reload; one does at a time.
    """

    def __init__(self, in_force: InForce, read: Callable[[], Settings], log: Any, on_level: Callable[[Settings], None]) -> None:
        self._in_force = in_force
        self._read = read
        self._log = log
        self._on_level = on_level
        self._lock = threading.Lock()

    def __call__(self) -> list[Changed]:
        """Read again and apply; returns what has changed. Blocks until every stream has followed.

        Raises RefusedError, and has changed nothing then.
        """
        with self._lock:
            try:
                changed = self._reload()
            except RefusedError as error:
                self._log.error("reload refused", expected=error.expected, got=error.got)
                raise
            for each in changed:
                self._log.info("setting changed", key=each.key, old=each.old, new=each.new, applies=each.applies)
            self._log.info("configuration read again", changed=len(changed))
            return changed

    def _reload(self) -> list[Changed]:
        """Make all that is new first; from the managers' consent on, nothing fails."""
        now = self._in_force
        try:
            new = self._read()
        except SettingsError as error:
            raise RefusedError("settings without a mistake", "; ".join(error.problems)) from None
        except ValueError as error:
            raise RefusedError("settings without a mistake", str(error)) from None
        found = changes(now.settings, new)
        if fixed := [each for each in found if not each.reloadable]:
            raise RefusedError("the same value until a restart", "; ".join(map(str, fixed)))
        try:
            budget = budget_of(new, now.budget)
            limits = limits_of(new, budget.replies)
        except ValueError as error:
            raise RefusedError("settings that can be carried out", str(error)) from None
        rules = {name: _ruled(rule, name, now.settings, new, budget) for name, rule in now.rules.items()}
        found += _tokens(now.allowance.now, limits)
        if rules != now.rules:
            self._follow(rules)
        now.settings, now.budget, now.rules, now.allowance.now = new, budget, rules, limits
        if any(each.key == "log.level" for each in found):
            self._on_level(new)
        return [Changed(each.key, each.old, each.new, each.applies.value) for each in found]

    def _follow(self, rules: Mapping[str, Rule]) -> None:
        """Tell every manager, and wait for all of them. Raises RefusedError where one does not follow; none has then.

        Whether each of them answers is asked first: what one has pruned does not come back.
        """
        if silent := _asked({name: rule.manager for name, rule in rules.items()}, lambda _: GetStats):
            raise RefusedError("that every stream answers", f"{', '.join(silent)} cannot")
        if failed := _told(rules):
            back = _told(self._in_force.rules)
            after = f", and {', '.join(back)} cannot go back" if back else ""
            raise RefusedError("that every stream follows", f"{', '.join(failed)} cannot{after}")


def _ruled(rule: Rule, name: str, old: Settings, new: Settings, budget: Budget) -> Rule:
    """Return what a stream's manager is to be told; its view is another one only where it retires at other sizes."""
    stanza = new.streams[name]
    kept = {"max_aged": None, "max_age_ms": None}
    same = stanza.model_copy(update=kept) == old.streams[name].model_copy(update=kept)
    meter = replace(
        rule.meter,
        budget=new.memory.budget,
        spill=new.memory.spill_budget if rule.spills else None,
        max_aged=stanza.max_aged,
        max_age=max_age_of(stanza),
    )
    view = rule.view if same else view_of(stanza)
    return replace(rule, meter=meter, baseline_bytes=budget.baseline // len(new.streams), view=view)


def _told(rules: Mapping[str, Rule]) -> list[str]:
    """Tell every manager what is in force; returns the streams whose manager does not say in time that it follows."""

    def message(name: str) -> Callable[[ReplyTo], Message]:
        rule = rules[name]
        return lambda reply_to: Reconfigure(rule.meter, rule.baseline_bytes, rule.view, reply_to)

    return _asked({name: rule.manager for name, rule in rules.items()}, message)


def _asked(managers: Mapping[str, Address], message: Callable[[str], Callable[[ReplyTo], Message]]) -> list[str]:
    """Ask every manager at once what `message` makes for it; returns the streams that are not there, refuse, or are silent."""
    replies: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    refused = [name for name, manager in managers.items() if not manager.is_alive()]
    waiting = set(managers) - set(refused)
    for name in waiting:
        managers[name].tell(message(name)(_reply_to(replies, name)))
    with contextlib.suppress(Empty):
        while waiting:
            name, reply = replies.get(timeout=_PATIENCE_S)
            waiting.discard(name)
            if isinstance(reply, Busy):
                refused.append(name)
    return sorted({*refused, *waiting})


def _reply_to(replies: "SimpleQueue[tuple[str, Any]]", name: str) -> ReplyTo:
    def reply_to(reply: Any) -> None:
        replies.put((name, reply))

    return reply_to


def _tokens(old: Limits, new: Limits) -> list[Change]:
    """Return the change of the tokens, which lie in a file whose name is the same, without any of them."""
    if old.tokens == new.tokens:
        return []
    return [Change("http.tokens", f"{len(old.tokens)} tokens", f"{len(new.tokens)} tokens", Applies.AT_ONCE)]


class Hangup:
    """Reloads at SIGHUP. Where the terminal is gone that the process began with, that is an end instead, as for any program.

    `end` is called then. Made on the main thread.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._had_terminal = _terminal()
        self._reload: Reloading | None = None
        self._asked = False
        signal.signal(signal.SIGHUP, self._hear)

    def attach(self, reload: Reloading) -> None:
        """Reload by `reload` from now on, and at once where that was asked for already."""
        self._reload = reload
        if self._asked:
            _in_background(reload)

    def _hear(self, *_: object) -> None:
        if self._had_terminal and not _terminal():
            self._end()
        elif self._reload is None:
            self._asked = True
        else:
            _in_background(self._reload)


def _in_background(reload: Reloading) -> None:
    """Reload on a thread of its own: a signal's handler must not wait."""

    def run() -> None:
        with contextlib.suppress(RefusedError):  # it is in the log
            reload()

    threading.Thread(target=run, name="reload", daemon=True).start()


def _terminal() -> bool:
    """Whether the process has a terminal that can be had."""
    try:
        os.close(os.open(_CONSOLE, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
