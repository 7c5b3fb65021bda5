"""The manager's phases, and the messages that each of them accepts. docs/states.md has the diagram."""

from enum import Enum

from actors.messages import Attached, CheckpointPart, ManagerMessage, Publish, StartMessage


class Phase(Enum):
    """What a manager is doing. Four kinds of messages depend on the phase; the manager accepts all others in every phase."""

    WAITING = "waiting for the front end"
    """No front end has attached, so there are no collectors."""

    STARTING = "starting"
    """The manager searches for the checkpoint of the next round. Earlier collectors still answer queries."""

    RUNNING = "running"
    """The front end sends batches to the active collector."""

    DOUBTFUL = "doubtful"
    """A handler failed halfway, so the manager's state may be wrong and must not be in a checkpoint. `Recover` ends this."""

    def accepts(self, message: ManagerMessage) -> bool:
        """Return whether a manager in this phase handles `message`. It ignores a message that it does not accept."""
        match message:
            case Attached():
                return self is Phase.WAITING
            case _ if isinstance(message, StartMessage):
                return self is Phase.STARTING
            case Publish():
                return self in (Phase.RUNNING, Phase.DOUBTFUL)
            case _ if isinstance(message, CheckpointPart):
                return self is Phase.RUNNING
            case _:
                return True
