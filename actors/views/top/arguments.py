"""The arguments of a query of `top`, and the records that clients may write to its topic."""

from dataclasses import dataclass

CLEAR_KEY = b"firnline-clear"
"""Key of a record that deletes all earlier values of its partition, and all values of earlier epochs of the topic."""

CLEAR_VALUE = b"cleared"

LONGEST = 65_536
"""Bytes of the longest accepted record."""


@dataclass(frozen=True, slots=True)
class Top:
    """The arguments of a query: the `limit` largest values, or all if it is None."""

    limit: int | None = None
