"""The arguments of a query of `words`."""

from dataclasses import dataclass
from typing import Literal

from actors.timeline.grid import Grid

Of = Literal["types", "words"]


@dataclass(frozen=True, slots=True)
class Counting:
    """The arguments of a query: the counts of types or of words, the `limit` highest or all."""

    of: Of
    limit: int | None = None

    def __post_init__(self) -> None:
        """Reject a limit below 0.

        Raises ValueError.
        """
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"a limit of at least 0 was expected, got {self.limit}")


@dataclass(frozen=True, slots=True)
class Buckets(Counting):
    """All events of a span, counted by their second: a bucket has the times in ms of [k * width, (k + 1) * width)."""

    width: int = 1


@dataclass(frozen=True, slots=True)
class Figures(Buckets):
    """All events of a span in each bucket of `by`; None: in the whole span. The answer has at most `most` buckets."""

    by: Grid | None = None
    most: int = 1 << 62
