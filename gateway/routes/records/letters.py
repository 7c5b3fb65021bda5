"""The routes of a stream's dead letters: refused records in a topic of their own, which can be put back."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.replies import cut_headers, cut_key, cut_value
from gateway.api import params
from gateway.api.errors import Problem, busy
from gateway.api.forms import json_response
from gateway.api.operation import Body, Operation
from gateway.ask import Asker
from gateway.letters import Letter, Letters, LettersAway
from gateway.schemas import Answer, Count, RecordHeader, Text, WrittenAt, headers_of, text_of, written
from gateway.stream import Served

_Meta = msgspec.Meta
_MOST = 10_000
_SHOWN = 50
_LONGEST_BODY = 65_536
_DEFAULT = 1_000

_T = TypeVar("_T")

STATUSES = {503: "Kafka does not answer, another replay runs, or a right is missing."}


class LetterReport(Answer, frozen=True):
    """A refused record in the topic of dead letters."""

    partition: Annotated[int | None, _Meta(description="The partition that it came from.")]
    offset: Annotated[int | None, _Meta(description="Its offset there.")]
    reason: str
    written_at: WrittenAt
    length: Annotated[Count | None, _Meta(description="Bytes of its value; null for a tombstone.")]
    value: Annotated[Text, _Meta(description="The first 512 bytes; bytes that are not UTF-8 are escaped.")]
    key: Text | None
    headers: list[RecordHeader]


class LetterList(Answer, frozen=True):
    """The dead letters of a stream that were not put back yet."""

    topic: Annotated[str | None, _Meta(description="The topic; null if the stream keeps no dead letters.")]
    reasons: Annotated[dict[str, Count], _Meta(description="Dead letters by reason.")]
    newest: Annotated[list[LetterReport], _Meta(description="The newest of them, the newest first.")]
    more: Annotated[bool, _Meta(description=f"There are more than {_MOST} dead letters; the others are not counted.")]


_Reasons = Annotated[list[str], _Meta(max_length=100)]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to put back."""

    reasons: Annotated[_Reasons | None, _Meta(description="Only those of these reasons. Default: all.")] = None
    limit: Annotated[int, _Meta(ge=1, le=_MOST, description="At most this many, the oldest first.")] = _DEFAULT


class PutBack(Answer, frozen=True):
    """The dead letters that are back in their topic. The stream reads them again, and may refuse them again."""

    count: Annotated[Count, _Meta(description="How many were put back.")]
    reasons: Annotated[dict[str, Count], _Meta(description="The same by reason.")]


class LetterRoutes:
    """Endpoints of one stream. A stream without dead letters has the list alone, which is empty."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._letters: Letters | None = stream.letters
        self._decoder = msgspec.json.Decoder(Wanted)
        self._at_work = asyncio.Lock()

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        name = self._stream.name
        listing = Operation(
            method="GET",
            path=f"/{name}/dead-letters",
            endpoint=self.waiting,
            tag=name,
            answer=LetterList,
            statuses=STATUSES,
        )
        if self._letters is None:
            return [listing]
        replaying = Operation(
            method="POST",
            path=f"/{name}/dead-letters/replay",
            endpoint=self.replay,
            tag=name,
            answer=PutBack,
            body=Body(type=Wanted, example={"reasons": ["no_number"], "limit": 100}),
            statuses={**STATUSES, 422: "The body is not such an object."},
        )
        return [listing, replaying]

    async def waiting(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Show the dead letters that were not put back yet: counts by reason, and the newest ones.

        They are read from their topic, which takes some tenths of a second.
        """
        if self._letters is None:
            return json_response(LetterList(None, {}, [], more=False))
        async with self._at_work:
            found = await _done(partial(self._letters.waiting, _MOST, _SHOWN))
        newest = [_report(each) for each in found.newest]
        return json_response(LetterList(self._letters.topic, dict(found.counts), newest, more=found.more))

    async def replay(self, request: Request) -> Response:
        """Put dead letters back to the topic that they came from, each once, with its own key, headers and partition.

        Records and progress are one transaction, so nothing is lost or put back twice if the request breaks off.
        `firnline replay` does the same, and both share their progress.
        """
        assert self._letters is not None, "the operation exists with dead letters alone"
        body = await params.body(request, min(_LONGEST_BODY, self._asker.allowance.now.max_body_bytes))
        try:
            wanted = self._decoder.decode(body or b"{}")
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Problem(422, where="body", expected='such as {"reasons":["no_number"],"limit":100}', got=str(error)) from None
        if self._at_work.locked():
            raise busy("another request reads the dead letters")
        async with self._at_work:
            reasons = None if wanted.reasons is None else set(wanted.reasons)
            counts = await _done(partial(self._letters.put_back, reasons, wanted.limit))
        return json_response(PutBack(sum(counts.values()), dict(counts)))


async def _done(work: Callable[[], _T]) -> _T:
    """Run on another thread, because it waits for Kafka."""
    try:
        return await asyncio.to_thread(work)
    except LettersAway as problem:
        raise Problem(503, where="dead letters", expected="Kafka to answer", got=str(problem)) from None


def _report(letter: Letter) -> LetterReport:
    return LetterReport(
        partition=letter.partition,
        offset=letter.offset,
        reason=letter.reason,
        written_at=written(letter.written_at),
        length=None if letter.value is None else len(letter.value),
        value=text_of(cut_value(letter.value)),
        key=None if (key := cut_key(letter.key)) is None else text_of(key),
        headers=headers_of(cut_headers(letter.headers)),
    )
