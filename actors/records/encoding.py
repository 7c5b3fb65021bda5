"""How records are encoded if they are not JSON: the contract by which `reader.py` reads the members of such a record."""

from collections.abc import Sequence
from typing import Protocol


class UnreadableError(ValueError):
    """A record cannot be decoded. The text is the reason of its refusal, one of a few."""


class FieldsReader(Protocol):
    """Reads the values at some JSON Pointers, of one record after another."""

    def read(self, record: bytes) -> Sequence[bytes]:
        """Return each value as JSON; no bytes if it is missing. Raises UnreadableError, or UnreadyError for now."""


class Encoding(Protocol):
    """The encoding of a stream's records."""

    def members(self, pointers: Sequence[str]) -> FieldsReader:
        """Return a reader of the values at `pointers`."""
