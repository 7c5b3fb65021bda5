"""The schemas of a registry by their numbers or GUIDs, kept in memory and asked for on a thread of their own."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from actors.records.encoding import UnreadableError
from actors.records.schemas.framing import Name, Schema, Schemas, frame_of
from actors.registry.client import AwayError, Found, RegistryClient, written
from actors.replies import Trouble
from actors.views.view import UnreadyError

_MOST = 1_000
"""Schemas in memory. The records of one poll may need more."""

_FORGET_S = 60.0
"""Seconds after which an unknown schema is asked for again, if a record has it."""

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


class _Known(NamedTuple):
    """A schema, or the reason for which its records are refused; and until when, on the monotonic clock."""

    schema: Schema | None
    reason: str
    until: float


class Registry(Schemas):
    """Finds schemas by their names. The thread begins with the first one, and never keeps the process from its exit.

    `made` returns the schema of an answer, or raises ValueError. `on_error` gets a text for each schema that cannot be used, on
    the thread of the registry. `name` is that of the thread.
    """

    def __init__(
        self, client: RegistryClient, made: Callable[[Found], Schema], *, name: str, on_error: Callable[[str], None]
    ) -> None:
        self._client = client
        self._made = made
        self._name = name
        self._on_error = on_error
        self._changed = threading.Condition()
        self._known: OrderedDict[Name, _Known] = OrderedDict()
        self._wanted: dict[Name, None] = {}
        self._thread: threading.Thread | None = None
        self._trouble: Trouble | None = None
        self._failure: Exception | None = None

    def of(self, record: bytes) -> tuple[Schema, int]:
        """See the base. Never waits: a schema that is not known is asked for. Cost: 0.2 us."""
        name, start = frame_of(record)
        known = self._known.get(name)
        if known is None:
            self.ask([name])
            raise UnreadyError(f"schema {written(name)}")
        if known.schema is None:
            raise UnreadableError(known.reason)
        return known.schema, start

    def ask(self, names: Iterable[Name]) -> None:
        """Ask for the schemas that are not known, and forget those that were needed longest ago. Never waits."""
        now, count = time.monotonic(), 0
        with self._changed:
            for name in names:
                count += 1
                if name in self._known and now < self._known[name].until:
                    self._known.move_to_end(name)
                else:
                    self._wanted[name] = None
            while len(self._known) > _MOST + count:
                self._known.popitem(last=False)
            if self._wanted and self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def await_all(self, timeout_s: float) -> bool:
        """Wait until everything is known that was asked for; False if it is not after `timeout_s`.

        Raises the error by which the thread has ended, if that is a defect.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted or self._failure is not None, timeout_s)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            return not self._wanted

    def trouble(self) -> Trouble | None:
        """Return why the registry gives no answer; None if nothing is asked for, or it was not asked yet."""
        return self._trouble

    def close(self) -> None:
        """Ask for nothing more. The schemas stay known. Does not wait for the thread, which ends after its request."""
        with self._changed:
            self._thread, self._trouble, self._failure = None, None, None
            self._wanted.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while self._go_on():
                pass
        except Exception as error:  # noqa: BLE001  # a defect: `await_all` raises it on the thread of the stream
            with self._changed:
                self._failure, self._thread = error, None
                self._changed.notify_all()

    def _go_on(self) -> bool:
        """Ask for one schema until the registry answers. Returns False if the thread is not needed any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._ended)
            if self._ended:
                return False
            name = next(iter(self._wanted))
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                known = self._asked(name)
            except AwayError as error:
                with self._changed:
                    if self._ended:
                        return False
                    since = time.time() if self._trouble is None else self._trouble.since
                    self._trouble = Trouble(error.state, since, (f"schema registry {error}",))
                    if self._changed.wait_for(lambda: self._ended, wait_s):
                        return False
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            with self._changed:
                if self._ended:
                    return False
                self._known[name] = known
                self._known.move_to_end(name)
                self._wanted.pop(name, None)
                self._trouble = None
                self._changed.notify_all()
                return True

    @property
    def _ended(self) -> bool:
        return self._thread is not threading.current_thread()

    def _asked(self, name: Name) -> _Known:
        found = self._client.schema(name)
        if found is None:
            return _Known(None, "unknown_schema", time.monotonic() + _FORGET_S)
        try:
            return _Known(self._made(found), "", float("inf"))
        except ValueError as error:
            self._on_error(f"schema {written(name)} of {self._client.url}: expected {error}")
            return _Known(None, "wrong_schema", time.monotonic() + _FORGET_S)
