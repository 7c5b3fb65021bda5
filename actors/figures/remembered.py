"""What answers remember of pieces that do not change, for the next answers. Pure.

Without locks: answers that remember something are made on one thread.
"""

from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

P = TypeVar("P")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Marks(Generic[P]):
    """Numbers pieces while they live. No two pieces ever have the same number."""

    def __init__(self) -> None:
        self._numbers: WeakKeyDictionary[P, int] = WeakKeyDictionary()
        self._next = count()

    def of(self, piece: P) -> int:
        """Return the number of a piece."""
        number = self._numbers.get(piece)
        if number is None:
            number = self._numbers[piece] = next(self._next)
        return number


class Recent(Generic[K, V]):
    """The values that were put or found last, `most` of them.

    >>> recent = Recent[str, int](2)
    >>> for key in "abac": recent.put(key, ord(key))
    >>> [recent.find(key) for key in "abc"]
    [97, None, 99]
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    def find(self, key: K) -> V | None:
        """Return the value of a key, if it is kept."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value, and drop the one that was needed longest ago if there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
