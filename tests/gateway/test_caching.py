"""Tags of answers over a real stream, and answers compressed as they are made."""

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from actors.replies import Answer
from actors.timeline.span import EVER, Span
from actors.views.sets.arguments import Page
from gateway.api.caching import caching_headers, not_modified, tag_of
from gateway.api.formats import FORMATS, write
from gateway.coverage import coverage_within
from gateway.wire.compression import SHORTEST_BYTES, Compression, accepts_gzip
from tests.conftest import Send
from tests.support.running import Stream, records, stream


def written(answer: Answer, form: str) -> tuple[bytes, dict[str, Any]]:
    """Return an answer as it is sent, and what of it does not come from rows."""
    metadata = coverage_within(answer.coverage, answer.span) if FORMATS[form].table else {}
    return b"".join(write(answer, form, metadata=metadata)), dict(metadata)


class Witness:
    """Sees every answer with its tag."""

    def __init__(self) -> None:
        self.bytes_of: dict[str, bytes] = {}
        self.tags_of: dict[tuple[Any, ...], set[str]] = {}
        self.seen_again = 0

    def look(self, answer: Answer) -> None:
        for form in FORMATS:
            body, said = written(answer, form)
            tag = tag_of(answer, form, said)
            if tag is not None:
                self.seen_again += tag in self.bytes_of
                assert self.bytes_of.setdefault(tag, body) == body, (answer.span, answer.arguments, answer.origin)
                self.tags_of.setdefault((form, answer.span, answer.arguments), set()).add(tag)


def asked(running: Stream, span: Span, page: Page) -> Answer:
    answer = running.answer(span, page)
    assert (answer.span, answer.arguments) == (span, page)
    return answer


@pytest.mark.parametrize("trial", range(2))
def test_an_equal_tag_never_stands_for_different_bytes(embedded: str, mock_topic: str, send: Send, trial: int):
    """Under late events, which add sets anywhere, retirement, settling and pruning."""
    chance, witness, time, sent = random.Random(trial), Witness(), 10_000, 0
    spans = [EVER, *(Span(low, low + chance.randrange(1, 3_000)) for low in range(9_000, 22_000, 1_000))]
    pages = [Page(), Page(5), Page(50)]
    with stream(embedded, mock_topic, max_sets=30, max_aged=chance.choice([3, 8]), idle_s=0.02) as running:
        for turn in range(14):
            events = []
            for _ in range(120):
                time += chance.randrange(8)
                late = turn > 3 and chance.random() < 0.05
                events.append((chance.randrange(9_000, time) if late else time, chance.randrange(3)))
            send(embedded, mock_topic, records(events), [0] * len(events))
            sent += len(events)
            if chance.random() < 0.5:
                running.settled(sent)
            for _ in range(10):
                witness.look(asked(running, chance.choice(spans), chance.choice(pages)))
        stats = running.settled(sent)
        for span in spans:
            witness.look(asked(running, span, Page()))
    assert stats.progress.late > 20
    assert sum(stats.dropped_generations.values()) > 5
    assert len(witness.bytes_of) > 60
    assert witness.seen_again > 10
    assert sum(len(tags) > 1 for tags in witness.tags_of.values()) > 5


def test_what_a_live_slice_has_a_part_in_has_no_tag(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(300)]
    with stream(embedded, mock_topic, max_sets=30) as running:
        send(embedded, mock_topic, records(events), [0] * 300)
        running.settled(300)
        whole, aged, page = running.answer(), running.answer(Span(0, 2_000)), running.answer(Span(0, 2_000), Page(5))
        assert tag_of(whole, "json", {}) is None
        tag = tag_of(aged, "json", {})
        assert tag is not None
        assert tag_of(running.answer(Span(0, 2_000)), "json", {}) == tag
        others = [
            tag_of(aged, "csv", {}),
            tag_of(aged, "json", {"coverage": 1}),
            tag_of(page, "json", {}),
            tag_of(running.answer(Span(0, 2_001)), "json", {}),
        ]
        assert len({tag, *others}) == 5
        # A late set lies in the active slice, and so the range has no tag until that one has aged.
        send(embedded, mock_topic, records([(105, 0), (105, 1), (105, 2)]), [0] * 3)
        running.settled(303)
        assert (105, 105, 105) in running.sets(Span(0, 2_000))
        assert tag_of(running.answer(Span(0, 2_000)), "json", {}) is None
        assert tag_of(running.answer(Span(200, 2_000)), "json", {}) is not None


def test_a_client_that_has_it_is_told_so_by_a_weak_comparison():
    def known(*fields: str, tag: str | None = '"a"') -> bool:
        asked = Headers(raw=[(b"if-none-match", each.encode()) for each in fields])
        response = not_modified(asked, tag, caching_headers(tag))
        assert response is None or (response.status_code, response.headers["etag"], response.body) in [
            (304, tag, b""),
            (304, f"W/{tag}", b""),
        ]
        return response is not None

    assert known('"a"')
    assert known('W/"a"')
    assert known('"b", W/"a" ,"c"')
    assert known('"b"', '"a"')
    assert known("*")
    assert not known('"b"')
    assert not known("a")
    assert not known()
    assert not known("*", tag=None)
    assert caching_headers(None)["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("sent", "form"),
    [('"a"', '"a"'), ('W/"a"', 'W/"a"'), ('"b", W/"a"', 'W/"a"'), ('W/"a", "a"', '"a"'), ("*", '"a"'), (' W/"a" ', 'W/"a"')],
)
@pytest.mark.parametrize("accept", ["gzip", "identity"])
def test_a_304_has_the_tag_in_the_form_that_the_client_got_with_its_answer(sent: str, form: str, accept: str):
    async def unchanged(_: Request) -> Response:
        response = not_modified(Headers({"if-none-match": sent}), '"a"', caching_headers('"a"'))
        assert response is not None
        return response

    found = headers_of(exchange(unchanged, accept))
    assert found.getlist("etag") == [form]
    assert found["vary"] == "Accept, Accept-Encoding"


# Compression -----------------------------------------------------------------------------------------------------


def exchange(endpoint: Callable[[Request], Any], accept: str | None = "gzip") -> list[dict[str, Any]]:
    """Return the messages with which a compressing application answers one request."""
    sent: list[dict[str, Any]] = []
    headers = [(b"accept-encoding", accept.encode())] if accept is not None else []
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers, "root_path": ""}

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3_600)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append({**message})

    asyncio.run(Compression(Starlette(routes=[Route("/", endpoint)]))(scope, receive, send))
    return sent


def headers_of(sent: list[dict[str, Any]]) -> Headers:
    return Headers(raw=sent[0]["headers"])


BLOCKS = [f"{number},{number + 10},{number + 20}\r\n".encode() * 300 for number in range(1_685_695_916_000, 1_685_695_916_012)]


async def streamed(_: Request) -> Response:
    async def blocks() -> AsyncIterator[bytes]:
        for block in BLOCKS:
            yield block

    return StreamingResponse(blocks(), media_type="text/csv", headers=caching_headers('"a"'))


def test_a_streamed_answer_is_compressed_block_by_block_as_it_is_made():
    sent = exchange(streamed)
    assert headers_of(sent)["content-encoding"] == "gzip"
    assert headers_of(sent)["etag"] == 'W/"a"'
    assert headers_of(sent).getlist("vary") == ["Accept, Accept-Encoding"]
    reader, come = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    for block, message in zip(BLOCKS, sent[1:], strict=False):
        assert message["more_body"]
        come = reader.decompress(message["body"])
        assert come == block  # all of it is there, before the next one is made
    assert gzip.decompress(b"".join(message["body"] for message in sent[1:])) == b"".join(BLOCKS)
    assert sum(len(message["body"]) for message in sent[1:]) < sum(map(len, BLOCKS)) / 10


@pytest.mark.parametrize("accept", [None, "", "identity", "gzip;q=0", "gzip;q=0.000, *", "br", "*;q=0"])
def test_a_client_that_does_not_take_gzip_gets_it_as_it_is(accept: str | None):
    sent = exchange(streamed, accept)
    assert "content-encoding" not in headers_of(sent)
    assert headers_of(sent)["etag"] == '"a"'
    assert headers_of(sent).getlist("vary") == ["Accept, Accept-Encoding"]
    assert b"".join(message["body"] for message in sent[1:]) == b"".join(BLOCKS)


@pytest.mark.parametrize("accept", ["gzip", "GZIP", "x-gzip", "br;q=1, gzip;q=0.001", "*", "deflate, gzip"])
def test_weights_and_stars_say_who_takes_gzip(accept: str):
    assert accepts_gzip(accept)


def test_short_answers_and_streams_of_events_are_left_as_they_are():
    async def short(_: Request) -> Response:
        return PlainTextResponse("x" * (SHORTEST_BYTES - 1), headers=caching_headers('"a"'))

    async def long_enough(_: Request) -> Response:
        return PlainTextResponse("x" * SHORTEST_BYTES, headers=caching_headers('"a"'))

    async def events(_: Request) -> Response:
        async def blocks() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n" * 1_000

        return StreamingResponse(blocks(), media_type="text/event-stream")

    async def unchanged(_: Request) -> Response:
        response = not_modified(Headers({"if-none-match": 'W/"a"'}), '"a"', caching_headers('"a"'))
        assert response is not None
        return response

    sent = exchange(short)
    assert (headers_of(sent)["etag"], headers_of(sent)["vary"], len(sent[1]["body"])) == (
        '"a"',
        "Accept, Accept-Encoding",
        1_023,
    )
    sent = exchange(long_enough)
    assert headers_of(sent)["content-length"] == str(len(sent[1]["body"]))
    assert gzip.decompress(sent[1]["body"]) == b"x" * SHORTEST_BYTES
    assert "content-encoding" not in headers_of(exchange(events))
    sent = exchange(unchanged)
    assert (sent[0]["status"], headers_of(sent)["etag"], headers_of(sent)["vary"]) == (304, 'W/"a"', "Accept, Accept-Encoding")
