"""Reads the settings again while the service runs, and applies all changes or none.

Used for SIGHUP and `POST /config/reload`. The new settings are read and checked, and everything is made from them, before any
actor gets a message. If a manager then does not follow, the others go back to the old rules.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from actors.messages import ManagerAddress, ManagerMessage, Reconfigure, Reconfigured
from actors.protocol import ReplyTo
from actors.replies import Busy, GetStats
from config.changes import Applies, Change, changes
from config.load import SettingsError
from config.settings import Settings
from gateway.routes.reload import Changed, RefusedError
from gateway.wire.limits import Limits
from scripts.service.in_force import InForce, Rule, limits_of
from scripts.service.memory import budget_of

_REPLY_TIMEOUT_S = 10.0


class Reloading:
    """Applies the settings that `read` returns in place of those `in_force`, and writes each change to `log`.

    `on_level` sets the level of the log, and `on_change` gets the keys of what a reload has changed. Any thread may reload; a
    lock lets one do so at a time.
    """

    def __init__(self, in_force: InForce, read: Callable[[], Settings], log: Any, on_level: Callable[[Settings], None]) -> None:
        self._in_force = in_force
        self._read = read
        self._log = log
        self._on_level = on_level
        self._lock = threading.Lock()
        self.on_change: Callable[[Sequence[str]], None] = lambda _: None

    def __call__(self) -> list[Changed]:
        """Read again and apply; returns the changes. Blocks until every manager has replied.

        Raises RefusedError, and then has changed nothing.
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
            self.on_change([each.key for each in changed])
            return changed

    def in_background(self) -> None:
        """Reload; a refusal is in the log alone."""
        with contextlib.suppress(RefusedError):
            self()

    def _reload(self) -> list[Changed]:
        """Make all new objects before any manager gets a message; after the managers have applied theirs, nothing can fail."""
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
            limits = limits_of(new.http, budget.replies)
        except ValueError as error:
            raise RefusedError("settings that can be carried out", str(error)) from None
        rules = {name: rule.under(name, now.settings, new, budget) for name, rule in now.rules.items()}
        found += _token_change(now.allowance.now, limits)
        if rules != now.rules:
            self._reconfigure(rules)
        now.settings, now.budget, now.rules, now.allowance.now = new, budget, rules, limits
        if any(each.key == "log.level" for each in found):
            self._on_level(new)
        return [Changed(each.key, each.old, each.new, each.applies.value) for each in found]

    def _reconfigure(self, rules: Mapping[str, Rule]) -> None:
        """Send every manager its rule, and wait. Raises RefusedError if one does not follow; then none does.

        First each manager must answer a question, because a generation that a manager drops cannot be restored.
        """
        if silent := _ask({name: rule.manager for name, rule in rules.items()}, lambda _: GetStats):
            raise RefusedError("that every stream answers", f"{', '.join(silent)} cannot")
        if failed := _send(rules):
            back = _send(self._in_force.rules)
            after = f", and {', '.join(back)} cannot go back" if back else ""
            raise RefusedError("that every stream follows", f"{', '.join(failed)} cannot{after}")


def _send(rules: Mapping[str, Rule]) -> list[str]:
    """Send every manager its rule; returns the streams whose manager does not confirm in time."""

    def message(name: str) -> Callable[[ReplyTo[Reconfigured]], Reconfigure]:
        rule = rules[name]
        return lambda reply_to: Reconfigure(rule.meter, rule.baseline_bytes, rule.view, reply_to)

    return _ask({name: rule.manager for name, rule in rules.items()}, message)


def _ask(
    managers: Mapping[str, ManagerAddress], message: Callable[[str], Callable[[ReplyTo[Any]], ManagerMessage]]
) -> list[str]:
    """Send all managers a message at the same time; returns the streams that are dead, refuse, or do not reply in time."""
    replies: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    refused = {name for name, manager in managers.items() if not manager.is_alive()}
    waiting = set(managers) - refused
    for name in waiting:
        managers[name].tell(message(name)(_reply_to(replies, name)))
    with contextlib.suppress(Empty):
        while waiting:
            name, reply = replies.get(timeout=_REPLY_TIMEOUT_S)
            waiting.discard(name)
            if isinstance(reply, Busy):
                refused.add(name)
    return sorted(refused | waiting)


def _reply_to(replies: "SimpleQueue[tuple[str, Any]]", name: str) -> ReplyTo[Any]:
    return lambda reply: replies.put((name, reply))


def _token_change(old: Limits, new: Limits) -> list[Change]:
    """Return the change of the tokens, counted and never printed; the name of their file may be the same."""
    if old.tokens == new.tokens:
        return []
    return [Change("http.tokens", f"{len(old.tokens)} tokens", f"{len(new.tokens)} tokens", Applies.AT_ONCE)]
