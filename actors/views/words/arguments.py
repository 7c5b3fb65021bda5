"""The arguments of a query of `words`."""

from dataclasses import dataclass
from typing import Literal

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
