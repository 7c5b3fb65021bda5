"""Records that kill: a live slice fails whenever it is given one, however often it is tried."""

from collections.abc import Callable
from typing import Any

from actors.views.view import View
from tests.simulation.faults import TroubleError


class PoisonedView:
    """Is `view`, whose live slices take no batch of which `deadly` says that it kills."""

    def __init__(self, view: View, deadly: Callable[[Any], bool]) -> None:
        self._view = view
        self._deadly = deadly

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def open(self, carry: Any) -> Any:
        return self._poisoned(self._view.open(carry))

    def revive(self, state: Any) -> Any:
        return self._poisoned(self._view.revive(state))

    def _poisoned(self, live: Any) -> Any:
        add = live.add

        def adding(batch: Any, watermark: int | None) -> Any:
            if self._deadly(batch):
                raise TroubleError("poison")
            return add(batch, watermark)

        live.add = adding
        return live
