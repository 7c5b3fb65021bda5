"""What can be asked: which finished batches, or which ones wait, and how many of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listing:
    """At most `limit` batches; `pending` asks for those that wait, with what they lack, instead of the finished ones.

    With `after`, only batches of the newest epoch in the answer whose id is greater. None is all.
    """

    after: int | None = None
    limit: int | None = None
    pending: bool = False
