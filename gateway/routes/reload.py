"""The route that reloads the configuration. The composition root reads and applies it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.errors import Problem
from gateway.api.operation import Operation


class Changed(msgspec.Struct, frozen=True):
    """A changed setting: its key, its old and its new value, and when the new one takes effect."""

    key: str
    old: Any
    new: Any
    applies: str


class Reloaded(msgspec.Struct, frozen=True):
    """The changes of a reload."""

    changed: list[Changed]


class RefusedError(Exception):
    """The configuration cannot be applied; nothing has changed. `expected` and `got` say why."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


Reload = Callable[[], Sequence[Changed]]
"""Reads the configuration again and applies all of it, or nothing. Blocks. Raises RefusedError."""


class ConfigRoutes:
    """Endpoints of the configuration."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(
                method="POST",
                path="/config/reload",
                endpoint=self.reload,
                tag="service",
                answer=Reloaded,
                statuses={409: "The configuration is wrong, or a change needs a restart. Nothing has changed."},
            )
        ]

    async def reload(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Read the configuration again, and apply its changes.

        File, environment and command line are read as at the start. Retention, memory and limits change at once. Any other
        change needs a restart; then the whole reload is refused, with the list of these settings.
        """
        try:
            changed = await asyncio.to_thread(self._reload)
        except RefusedError as error:
            raise Problem(409, where="configuration", expected=error.expected, got=error.got) from None
        return Response(msgspec.json.encode(Reloaded(list(changed))), media_type="application/json")
