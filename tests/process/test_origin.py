"""Every answer names its stream and its view, and the client and the commands take no answer of another one."""

from collections.abc import Iterator

import pytest

from firnline import Client, RefusedError
from scripts.cli.main import app
from tests.conftest import Send
from tests.support.everything import STREAMS, everything
from tests.support.service import Service

VIEWS = dict(zip(STREAMS, ("sets", "top", "segments", "uniques", "words", "funnel"), strict=True))
ABSENT = "absent"
FORMATS = ("json", "ndjson", "csv", "arrow")
PATHS = {
    "sets": ("/{}/get-sets?startTime=0&endTime=9", "/{}/explain?step=R&time=9"),
    "top": ("/{}",),
    "segments": ("/{}", "/{}/pending"),
    "uniques": ("/{}",),
    "words": ("/{}/CountWords", "/{}/CountByEventType"),
    "funnel": ("/{}", "/{}/sequences", "/{}/keys/A7"),
}

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def running(broker: str, send: Send, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with everything(broker, send, tmp_path_factory.mktemp("lines")) as found:
        yield found


@pytest.fixture
def client(running: Service) -> Client:
    return Client(f"http://127.0.0.1:{running.port}")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("stream", STREAMS)
def test_an_answer_names_its_stream_and_its_view_in_every_format(running: Service, stream: str, form: str):
    for path in (*PATHS[VIEWS[stream]], "/{}/get-stats", "/{}/rejects"):
        given = path.format(stream)
        accepted = {} if "/get-stats" in path or "/rejects" in path else {"format": form}
        query = "&".join(f"{name}={value}" for name, value in accepted.items())
        status, headers, _ = running.request(f"{given}{'&' if '?' in given else '?'}{query}" if query else given)
        assert status == 200
        assert (headers["firnline-stream"], headers["firnline-view"]) == (stream, VIEWS[stream])


def test_the_short_path_of_words_names_the_stream_that_answers(running: Service):
    _, headers, _ = running.request("/events/CountWords")
    assert (headers["firnline-stream"], headers["firnline-view"]) == ("words", "words")


@pytest.mark.parametrize("stream", [*STREAMS, ABSENT])
@pytest.mark.parametrize("view", PATHS)
def test_the_client_refuses_a_stream_of_another_view_and_an_absent_one(client: Client, view: str, stream: str):
    for rows in {
        "sets": (client.sets(stream=stream), client.explain("R", 9, stream=stream)),
        "top": (client.top(stream=stream),),
        "segments": (client.segments(stream=stream), client.segments(stream=stream, pending=True)),
        "uniques": (client.uniques(stream=stream),),
        "words": (client.words(stream=stream), client.words(stream=stream, of="types")),
        "funnel": (client.funnel(stream=stream), client.sequences(stream=stream), client.story("A7", stream=stream)),
    }[view]:
        for read in (lambda rows=rows: list(rows), rows.arrow):
            if VIEWS.get(stream) == view:
                assert read() is not None
            else:
                with pytest.raises(RefusedError):
                    read()


@pytest.mark.parametrize("stream", ["a\\1", "a b", "a/b", "ä", "%41", "?", ".*"])
def test_a_name_that_no_stream_can_have_is_refused_as_any_absent_one(client: Client, stream: str):
    for rows in (client.sets(stream=stream), client.top(stream=stream), client.sets(stream=stream).datetimes()):
        with pytest.raises(RefusedError, match="stream: expected"):
            list(rows)


@pytest.mark.parametrize("stream", [*STREAMS, ABSENT])
@pytest.mark.parametrize("view", PATHS)
def test_a_command_refuses_a_stream_of_another_view_and_an_absent_one(
    running: Service, capfd: pytest.CaptureFixture[str], view: str, stream: str
):
    words = ["query", view, "--stream", stream, "--url", f"http://127.0.0.1:{running.port}"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:  # in this process, because sixty new ones take a minute
            app([*words, *more])
        out, err = capfd.readouterr()
        if VIEWS.get(stream) == view:
            assert (ended.value.code, err) == (0, "")
        else:
            assert (out, err) == ("", "")
            reason = str(ended.value.code)  # Python prints a text to standard error, and exits with 1
            assert reason.startswith("query: "), reason
            assert "\n" not in reason
