"""How a manager starts a round and recovers from a failure: with checkpoints, and without."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from actors.messages import (
    GetCommitted,
    Grown,
    KeeperMessage,
    Load,
    Loaded,
    ManagerMessage,
    Partial,
    PublisherMessage,
)
from actors.protocol import Address, CheckpointId, Message, Round
from actors.runtime.actor import Actor

NOTHING_LOADED = Loaded(CheckpointId(0), None, None, (), (), Round(0))
"""The start without a checkpoint."""


class Recovery(ABC):
    """One of the two ways. Belongs to the manager, and runs on its thread."""

    has_checkpoints: ClassVar[bool]
    """Whether the stream can go back to a checkpoint. A published result must be complete then, or the stream goes back."""

    @abstractmethod
    def load(self, round_: Round) -> None:
        """Take the first step of a new round."""

    @abstractmethod
    def failed(self, message: Message) -> bool:
        """Note that `message` failed. Return whether the manager's state may be wrong now."""

    @abstractmethod
    def handled(self, message: ManagerMessage) -> None:
        """Note that `message` was handled."""

    @abstractmethod
    def recover(self) -> bool:
        """Recover from the failures so far. Return whether the manager must start a new round for this."""


class FromCheckpoint(Recovery):
    """Every failure is repaired by a return of the whole stream to the last checkpoint."""

    has_checkpoints = True

    def __init__(
        self, manager: Actor[ManagerMessage], keeper: Address[KeeperMessage], publisher: Address[PublisherMessage] | None
    ) -> None:
        self._manager = manager
        self._keeper = keeper
        self._publisher = publisher

    def load(self, round_: Round) -> None:
        """Ask the publisher for the committed checkpoint, or without one the keeper for the newest."""
        if self._publisher is not None:
            self._manager.send(self._publisher, GetCommitted(self._manager.address, round_))
        else:
            self._manager.send(self._keeper, Load(None, self._manager.address, round_))

    def failed(self, message: Message) -> bool:
        """Return whether handling `message` changes the state."""
        return self._manager.must_wait(message)

    def handled(self, message: ManagerMessage) -> None:
        """Keep nothing: the checkpoint has everything."""

    def recover(self) -> bool:
        """Return True: a new round starts from the checkpoint."""
        return True


class ByRetry(Recovery):
    """Without checkpoints there is no earlier state, so the manager handles a failed message once more."""

    has_checkpoints = False

    def __init__(self, receive: Callable[[ManagerMessage], None], begin: Callable[[Loaded], None]) -> None:
        self._receive = receive
        self._begin = begin
        self._last: ManagerMessage | None = None
        self._failed: list[ManagerMessage] = []

    def load(self, round_: Round) -> None:  # noqa: ARG002  # an empty start belongs to any round
        """Begin empty, at once."""
        self._begin(NOTHING_LOADED)

    def failed(self, message: Message) -> bool:
        """Keep `message` for `recover`, unless it failed after it was handled."""
        if isinstance(message, ManagerMessage) and message is not self._last:
            self._failed.append(message)
        return False

    def handled(self, message: ManagerMessage) -> None:
        """Remember the last message, and drop earlier reports of the same collector."""
        if isinstance(message, Grown):
            self._failed = [
                each for each in self._failed if not (isinstance(each, Grown) and each.collector_id == message.collector_id)
            ]
        # A partial may be large, and handling it twice does no harm.
        self._last = message if not isinstance(message, Partial) else None

    def recover(self) -> bool:
        """Handle the failed messages. The first one that raises again stays, with those after it."""
        while self._failed:
            message = self._failed[0]
            self._receive(message)
            self._failed = [each for each in self._failed if each is not message]
        return False
