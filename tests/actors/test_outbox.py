"""The outbox: a credit of an earlier round does not count, and returned batches are sent first."""

from typing import Any

from actors.messages import Ingest, Ingested, Returned
from actors.reading.outbox import Outbox
from actors.reading.pace import Pace
from actors.views.view import Silence


class Sender:
    """Keeps each message with its receiver."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Any]] = []

    def send(self, to: Any, message: Any) -> None:
        self.sent.append((to, message))

    def batches(self, to: Any) -> list[int | None]:
        """Return the watermark of each batch that was sent to a collector."""
        return [message.watermark for address, message in self.sent if address == to and isinstance(message, Ingest)]


def begun(room: int = 2) -> tuple[Outbox, Sender]:
    sender = Sender()
    outbox = Outbox(sender.send, Pace(credits=room))
    outbox.begin(1, "first")  # type: ignore[arg-type]
    return outbox, sender


def test_a_credit_of_an_earlier_round_does_not_count():
    outbox, sender = begun()
    for number in range(3):
        outbox.put_silence(number, Silence(None))
    outbox.send(one_by_one=False)
    assert sender.batches("first") == [0, 1]
    outbox.begin(2, "second")  # type: ignore[arg-type]
    assert outbox.settled
    assert not outbox.credited(Ingested(0, 1))
    assert not outbox.credited(Returned(Ingest(None, 0, 1)))
    assert outbox.settled
    for number in range(10, 14):
        outbox.put_silence(number, Silence(None))
    outbox.send(one_by_one=False)
    assert sender.batches("second") == [10, 11], "two credits, and not four"


def test_batches_that_a_retired_collector_returned_go_to_its_successor_first():
    outbox, sender = begun()
    for number in range(4):
        outbox.put_silence(number, Silence(None))
    outbox.send(one_by_one=False)
    outbox.follow("second")  # type: ignore[arg-type]
    for _, message in list(sender.sent):
        assert outbox.credited(Returned(message))
    outbox.send(one_by_one=False)
    assert sender.batches("second") == [0, 1]


def test_one_by_one_a_batch_is_sent_only_when_no_other_is_on_its_way():
    outbox, sender = begun(room=4)
    for number in range(3):
        outbox.put_silence(number, Silence(None))
    outbox.send(one_by_one=True)
    assert sender.batches("first") == [0]
    outbox.send(one_by_one=True)
    assert sender.batches("first") == [0]
    outbox.credited(Ingested(0, 1))
    outbox.send(one_by_one=True)
    assert sender.batches("first") == [0, 1]
