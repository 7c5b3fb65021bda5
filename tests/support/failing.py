"""A view that fails where a test wants it to: at the decoder, or at a live slice."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any


class FailingView:
    """Passes each call on to `view`. `before` may raise the failure.

    It is called with the method's name and first argument before each `decode`, and before each `add` and `read` of a live slice.
    """

    def __init__(self, view: Any, before: Callable[[str, Any], None]) -> None:
        self._view = view
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def decode(self, polled: Any) -> Any:
        return self._called("decode", self._view.decode, polled)

    def open(self, carry: Any) -> Any:
        return self._failing(self._view.open(carry))

    def revive(self, state: Any) -> Any:
        return self._failing(self._view.revive(state))

    def _failing(self, live: Any) -> Any:
        for name in ("add", "read"):
            setattr(live, name, partial(self._called, name, getattr(live, name)))
        return live

    def _called(self, name: str, method: Callable[..., Any], first: Any, *rest: Any) -> Any:
        self._before(name, first)
        return method(first, *rest)


class Failures(Counter[str]):
    """Raises ZeroDivisionError as often as the count of the method's name says. `Failures(add=2)` fails at two batches."""

    def __call__(self, name: str, first: Any) -> None:
        if self[name] > 0:
            self[name] -= 1
            raise ZeroDivisionError(name)
