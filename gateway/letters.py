"""The dead letters of a stream, as the gateway needs them. The composition root reads them and puts them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: where the record came from, why it was refused, its own time (ms since 1970), and its parts."""

    partition: int | None
    offset: int | None
    reason: str
    written_at: int | None
    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Waiting(NamedTuple):
    """The dead letters that are not put back: how many by reason, the newest ones, and whether there are more."""

    counts: Mapping[str, int]
    newest: Sequence[Letter]
    more: bool


class LettersAway(Exception):  # noqa: N818  # the broker's state, not a defect
    """The dead letters cannot be read or put back now; the text says why."""


class Letters(Protocol):
    """The dead letters of one stream. Its methods block, on any thread, and raise LettersAway."""

    @property
    def topic(self) -> str:
        """The topic that has them."""

    def waiting(self, most: int, shown: int) -> Waiting:
        """Return what waits, of the first `most` letters, with the newest `shown` of them."""

    def put_back(self, reasons: set[str] | None, limit: int) -> Mapping[str, int]:
        """Put at most `limit` letters back to the topic that they came from, all or of these reasons. Returns counts."""
