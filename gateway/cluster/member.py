"""The routes by which an operator has a process of a cluster give its shards back, and take some again."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.forms import json_response
from gateway.api.operation import Operation
from gateway.schemas import Answer, Count


class Membership(Protocol):
    """The place of this process in its cluster. Any thread may use it; nothing blocks."""

    def drain(self) -> None:
        """Give all shards back in order, and take none until `resume`."""

    def resume(self) -> None:
        """Take shards again."""

    @property
    def draining(self) -> bool:
        """Whether this process takes no shards."""

    @property
    def has(self) -> Sequence[int]:
        """The shards that run here."""


class MemberReport(Answer, frozen=True):
    """A process of a cluster: what it is called, whether it takes shards, and the shards that it has."""

    cluster: str
    member: Annotated[str | None, msgspec.Meta(description="Its name, if the configuration gives it one.")]
    shards: Annotated[Count, msgspec.Meta(description="The number of shards of the cluster.")]
    state: Annotated[Literal["taking", "drained"], msgspec.Meta(description="drained: it takes no shards.")]
    has: Annotated[list[Count], msgspec.Meta(description="The shards that run here; while it drains, those that still do.")]


class MemberRoutes:
    """Endpoints about this process, as the `member` of the cluster `name` of `shards` shards."""

    def __init__(self, membership: Membership, name: str, member: str | None, shards: int) -> None:
        self._membership = membership
        self._name = name
        self._member = member
        self._shards = shards

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(method=method, path=f"/cluster/{name}", endpoint=endpoint, tag="service", answer=MemberReport)
            for method, name, endpoint in (
                ("GET", "member", self.get_member),
                ("POST", "drain", self.drain),
                ("POST", "resume", self.resume),
            )
        ]

    async def get_member(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Show the place of this process in its cluster."""
        return self._report()

    async def drain(self, request: Request) -> Response:  # noqa: ARG002
        """Give all shards of this process back, and take none until `resume` or a restart.

        The response does not wait for that. Each shard writes a last checkpoint, then other processes get it; the process goes
        on answering for all shards.
        """
        self._membership.drain()
        return self._report()

    async def resume(self, request: Request) -> Response:  # noqa: ARG002
        """Take shards again, as many as Kafka gives this process."""
        self._membership.resume()
        return self._report()

    def _report(self) -> Response:
        state: Literal["taking", "drained"] = "drained" if self._membership.draining else "taking"
        return json_response(MemberReport(self._name, self._member, self._shards, state, list(self._membership.has)))
