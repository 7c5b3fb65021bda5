"""What happened in a run, step by step. Two runs of one seed have the same trace, or the simulator is broken."""

from hashlib import blake2b


class Trace:
    """Entries of (step, where, what), in order. `step` is counted by the dispatcher."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, str]] = []
        self.step = 0

    def note(self, where: str, what: str) -> None:
        """Add an entry to the current step."""
        self.entries.append((self.step, where, what))

    @property
    def identity(self) -> str:
        """A hash of all entries: what two runs are compared by."""
        return blake2b(repr(self.entries).encode(), digest_size=16).hexdigest()

    def tail(self, count: int = 40) -> str:
        """Return the last entries, a line each."""
        return "\n".join(f"{step:>7}  {where:<16} {what}" for step, where, what in self.entries[-count:])
