"""The messages of shelves and librarians, beside those of the gateway in `actors.replies`."""

from typing import Any, Protocol

from msgspec import Struct

from actors.messages import Reconfigure
from actors.protocol import Busy, Control, QueryId
from actors.replies import Answer, GetStats, Query, ShardState
from actors.views.view import Frozen


class Put(Control, frozen=True):
    """Hold a generation: its name, its number, the offset at which its record ends, and its bytes. Sent by the reader.

    It is of the same lane as `Reached`, which must not overtake it.
    """

    name: str
    number: int
    at: int
    nbytes: int
    frozen: Frozen


class Reached(Control, frozen=True):
    """All records before the offset `until` are read, and those before `since` are no longer in the topic. By the reader."""

    since: int
    until: int


class Overdue(Control, frozen=True):
    """The deadline of a query has passed. A shelf sends this to itself."""

    number: int


ShelfMessage = Query | GetStats | Reconfigure | Put | Reached | Overdue


class Answered(Control, frozen=True):
    """The matcher's answer to a query, or the reason without one. The librarian sends this to itself."""

    query_id: QueryId
    answer: Answer | Busy


class Filled(Control, frozen=True):
    """What the shelves have of a query, or the reason without it. The librarian sends this to itself."""

    query_id: QueryId
    answer: Answer | Busy


class Located(Control, frozen=True):
    """Who has each shard, after the shelves have answered a query. The librarian sends this to itself."""

    query_id: QueryId
    states: tuple[ShardState, ...] | Busy


class Listed(Control, frozen=True):
    """The slips of all generations in the range of a query, or the reason without them. The librarian sends this to itself."""

    query_id: QueryId
    answer: Answer | Busy


LibrarianMessage = Query | GetStats | Answered | Filled | Located | Listed


class Shelved(Protocol):
    """Which generations are in the topic of the shelves, by the names of their files. Any thread may ask."""

    def has(self, file: str) -> bool:
        """Whether the generation in a file is in the topic, so that it may be given away."""

    def comes(self, file: str) -> bool:
        """Whether it will be there soon: it is on its way, and nothing is known to hinder it."""

    def gone(self, file: str) -> bool:
        """Whether the file has only a slip, and its generation is no longer in the topic."""


class OfMatcher(Protocol):
    """What a matcher's view has beside those of all views."""

    shelved: Shelved


class Box(Struct, frozen=True):
    """A generation that a shelf holds."""

    number: int
    at: int
    nbytes: int
    frozen: Any
