"""The actor that publishes the results of all shards, in the process that has the lease of shard 0, and in no other one.

It asks all shards through the gatherer what they have, and publishes what is due by that. If a shard is absent, nothing is
published until it is back. Kafka refuses what it writes once another process has the lease; then it ends, until this process
has the lease again.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol, assert_never, cast

from actors.cluster.messages import Gathered, GathererMessage, IssuerMessage
from actors.messages import Delayed, Look
from actors.protocol import Address, Busy, Home, Message
from actors.replies import Answer, Query
from actors.runtime.actor import Actor, System
from actors.timeline.span import EVER
from actors.views.view import View

_LOOK_S = 1.0
"""The least time between two looks. It is much longer than the time between two reports of a shard that it has read all."""

_LONGEST_LOOK_S = 3.0
_SHARE = 20
"""A look takes at most this part of the time."""

_DEADLINE_S = 30.0


class Fresh(Protocol):
    """A published row: what decides about later rows. `key` is the same for all revisions of a result."""

    @property
    def key(self) -> bytes:
        """The key."""


class Notes(Protocol):
    """What was published."""

    def put(self, row: Any) -> None:
        """Note that a row was published."""


class Issue(Protocol):
    """The module `issue.due` of a view."""

    LOOK: Any
    Issued: Callable[[], Notes]

    def row_of(self, line: bytes) -> Any:
        """Return the row of a line that was published."""

    def due(self, view: View, issued: Notes, before: Any | None, now: Any) -> list[Any]:
        """Return the rows that are due by two looks. The first look has none before it."""

    def chunks(self, wanted: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """Cut rows into parts that are published at once."""

    def asking(self, wanted: Sequence[Any]) -> Any:
        """Return the arguments by which shards are asked for rows."""

    def rows(self, view: View, partial: Any, wanted: Sequence[Any]) -> list[tuple[Fresh, bytes]]:
        """Return rows with their lines. Raises ValueError if something is gone since the look."""


def issue_of(view: str) -> Issue:
    """Return the module of a view."""
    return cast("Issue", import_module(f"actors.views.{view}.issue.due"))


class Outlet(Protocol):
    """Where results go. A call may wait some seconds, and raises OSError if it fails; then `begin` has to be called again."""

    def lease(self) -> int | None:
        """Return the epoch by which this process may publish; None if it may not. Any thread may call it. Never waits."""

    def begin(self, epoch: int, take: Callable[[bytes], None]) -> None:
        """Wait until nothing of an earlier process is under way; `take` gets the last line of each key, in order."""

    def write(self, lines: Sequence[tuple[bytes, bytes]]) -> None:
        """Publish pairs of a key and a line, all of them or none, unless another process may publish by now."""

    def close(self) -> None:
        """Take back what is under way."""


class Issuer(Actor[IssuerMessage]):
    """Publishes the results of the stream `stream` of the view `view`, called `name`, that `gatherer` answers for, to `outlet`.

    `on_trouble` gets the reason if results cannot be written.
    """

    def __init__(
        self,
        system: System,
        /,
        *,
        stream: str,
        name: str,
        view: View,
        gatherer: Address[GathererMessage],
        outlet: Outlet,
        on_trouble: Callable[[str], None],
    ) -> None:
        super().__init__(system, stream=stream)
        self._issue = issue_of(name)
        self._view = view
        self._gatherer = gatherer
        self._outlet = outlet
        self._on_trouble = on_trouble
        self._epoch: int | None = None
        self._issued = self._issue.Issued()
        self._before: Any | None = None
        self._asked_at = 0.0
        self._rest_s = _LOOK_S
        self._asked: Sequence[Any] = ()
        self._waiting: list[Sequence[Any]] = []
        self._number = 0
        self._published = self._results = 0
        self._problem: str | None = None

    @property
    def counted(self) -> dict[str, int]:
        """The numbers of published records and of transactions with them."""
        return {"published": self._results, "records": self._published}

    @property
    def home(self) -> str:
        """Run on a thread of its own: a broker that is away delays no other actor."""
        return Home.OUTPUT.of(self.stream)

    def on_start(self) -> None:
        """Look for the first time soon."""
        self._again(_LOOK_S)

    def on_stop(self) -> None:
        """Take back what is under way."""
        self._outlet.close()

    def receive(self, message: IssuerMessage) -> None:
        """Handle one message. What cannot be written now is decided anew later."""
        try:
            match message:
                case Look():
                    self._look()
                case Gathered():
                    self._gathered(message)
                case _:
                    assert_never(message)
        except OSError as error:
            self._on_trouble(str(error))
            self._have(str(error))
            self._end()
            self._again(_LOOK_S)

    def failed(self, message: Message, error: Exception) -> None:
        """Begin anew, with what readers see."""
        super().failed(message, error)
        self._end()
        self._again(_LOOK_S)

    def _end(self) -> None:
        """Publish no more until `begin`."""
        if self._epoch is not None:
            self._outlet.close()
        self._epoch = self._before = None
        self._issued = self._issue.Issued()
        self._waiting = []

    def _have(self, problem: str | None) -> None:
        """Report why results cannot be written, or that they can (None)."""
        if problem != self._problem:
            self._problem = problem
            self.send(self._gatherer, Delayed(problem))

    def _again(self, seconds: float) -> None:
        self.later(seconds, self.address, Look())

    def _look(self) -> None:
        """Ask all shards what they have, if this process may publish."""
        epoch = self._outlet.lease()
        if epoch != self._epoch:
            self._end()
        if epoch is None:
            self._have(None)  # another process publishes
            self._again(_LOOK_S)
            return
        if self._epoch is None:
            self._outlet.begin(epoch, lambda line: self._issued.put(self._issue.row_of(line)))
            self._epoch = epoch
        self._ask((), self._issue.LOOK)

    def _ask(self, wanted: Sequence[Any], arguments: Any) -> None:
        """Ask for rows, or without them for a look."""
        self._number += 1
        number = self._number
        self._asked, self._asked_at = wanted, self.system.dispatcher.now()
        query = Query(
            EVER, arguments, _DEADLINE_S, lambda answer: self.send(self.address, Gathered(number, answer)), counts=False
        )
        self.send(self._gatherer, query)

    def _gathered(self, message: Gathered) -> None:
        if message.number != self._number:
            return
        answer = message.answer
        if isinstance(answer, Busy) or answer.coverage.absent:
            self._before, self._waiting = None, []  # a shard that comes back is looked at twice
            self._again(_LOOK_S)
        elif self._asked:
            self._publish(answer)
        else:
            self._decide(answer)

    def _decide(self, answer: Answer) -> None:
        """Ask for the rows that are due by this look and the one before."""
        before, self._before = self._before, answer.partial
        still = before is not None and before.idle and self._before.idle and before.frames == self._before.frames
        took_s = self.system.dispatcher.now() - self._asked_at
        longest_s = min(_LONGEST_LOOK_S, 1.5 * self._rest_s) if still else _LOOK_S
        self._rest_s = max(longest_s, _SHARE * took_s)
        self._waiting = list(self._issue.chunks(self._issue.due(self._view, self._issued, before, answer.partial)))
        if before is not None and not self._waiting:  # one look alone does not know what is due
            self._have(None)
        self._go_on()

    def _go_on(self) -> None:
        """Ask for the next rows that are due, or look again later."""
        if self._waiting:
            wanted = self._waiting.pop(0)
            self._ask(wanted, self._issue.asking(wanted))
        else:
            self._again(self._rest_s)

    def _publish(self, answer: Answer) -> None:
        """Publish the rows of one question."""
        try:
            found = self._issue.rows(self._view, answer.partial, self._asked)
        except ValueError:  # the next looks decide anew
            self._before, self._waiting = None, []
            self._again(_LOOK_S)
            return
        self._outlet.write([(row.key, line) for row, line in found])
        for row, _ in found:
            self._issued.put(row)
        self._have(None)
        self._published += len(found)
        self._results += 1
        self._go_on()
