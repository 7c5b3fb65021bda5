"""The route that has the configuration read again. What that means is the composition root's business."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.errors import Problem
from gateway.api.operation import Operation


class Changed(msgspec.Struct, frozen=True):
    """One setting that has changed: its key, what it was and is, and when that counts."""

    key: str
    old: Any
    new: Any
    applies: str


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload has changed."""

    changed: list[Changed]


class RefusedError(Exception):
    """The configuration as it stands now cannot come into force; nothing has changed. Says what was `expected` and `got`."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


Reload = Callable[[], Sequence[Changed]]
"""Reads the configuration again and applies it, whole or not at all. Blocks. Raises RefusedError."""


class ConfigRoutes:
    """Endpoints about the configuration."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    def operations(self) -> list[Operation]:
        """Return the table."""
        return [
            Operation(
                method="POST",
                path="/config/reload",
                endpoint=self.reload,
                tag="service",
                answer=Reloaded,
                statuses={409: "the configuration cannot come into force while the service runs, or is wrong; nothing changed"},
            )
        ]

    async def reload(self, request: Request) -> Response:  # noqa: ARG002  # Starlette hands it in
        """Read the configuration again, and apply what has changed in it.

        File, environment and command line are read as at the start. Retention, memory and limits change at once; whatever else
        differs needs a restart, and is refused as a whole with the list of it.
        """
        try:
            changed = await asyncio.to_thread(self._reload)
        except RefusedError as error:
            raise Problem(409, where="configuration", expected=error.expected, got=error.got) from None
        return Response(msgspec.json.encode(Reloaded(list(changed))), media_type="application/json")
