"""The arguments of a query: which batches, finished or pending, and how many."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listing:
    """The arguments of a query for batches."""

    after: int | None = None
    """Return only batches of the newest epoch whose id is greater. None: batches of all epochs."""
    limit: int | None = None
    """Return at most this many batches. None: all."""
    pending: bool = False
    """Return the incomplete batches and their missing segments, not the finished batches."""


@dataclass(frozen=True, slots=True)
class Figures(Listing):
    """The number of finished batches, and of their numbers, by epoch."""
