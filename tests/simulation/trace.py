"""The events of a run, step by step. Two runs of one seed must have the same trace."""

from hashlib import blake2b


class Trace:
    """Entries of (step, place, text), in order. The dispatcher counts `step`."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, str]] = []
        self.step = 0

    def note(self, place: str, text: str) -> None:
        """Add an entry to the current step."""
        self.entries.append((self.step, place, text))

    @property
    def identity(self) -> str:
        """A hash of all entries, by which two runs are compared."""
        return blake2b(repr(self.entries).encode(), digest_size=16).hexdigest()

    def tail(self, count: int = 40) -> str:
        """Return the last entries, a line each."""
        return "\n".join(f"{step:>7}  {place:<16} {text}" for step, place, text in self.entries[-count:])
