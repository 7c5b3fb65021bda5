"""The search for poison: an event that fails once is suspected; only an event that fails again alone is poison."""

import numpy as np

from actors.messages import Ingest
from actors.reading.poison import Origin, Suspects
from actors.sources.polled import Place
from actors.timeline.batch import Batch


def one(time: int, *, offset: int | None = None, epoch: int = 0) -> Ingest:
    """Return a batch of one event; with an `offset`, the batch of a view that needs no order."""
    origin = None if offset is None else Origin({0: offset}, {0: offset + 1}, epoch)
    return Ingest(Batch((np.array([time]), np.empty(0, np.int64))), None, 0, origin=origin)


def test_one_event_is_poison_only_when_it_fails_again():
    for message in (one(7), one(7, offset=5)):
        suspects = Suspects()
        assert not suspects.narrow(message, Place({0: 6}))
        assert (suspects.batch_size, suspects.state()) == (1, {"records": [], "events": []})
        assert suspects.narrow(message, Place({0: 6}))
        assert suspects.batch_size is None
        assert sum(map(len, suspects.state().values())) == 1


def test_another_event_that_fails_meanwhile_is_suspected_and_not_poison():
    for first, other in ((one(7), one(9)), (one(7, offset=5), one(7, offset=9))):
        suspects = Suspects()
        for message in (first, other):
            suspects.narrow(message, Place({0: 10}))
        assert suspects.state() == {"records": [], "events": []}


def test_poison_of_one_epoch_is_not_poison_in_another_epoch():
    suspects = Suspects()
    for _ in range(2):
        suspects.narrow(one(7, offset=5, epoch=1), Place({0: 6}))
    assert suspects.state()["records"] == [(1, 0, 5)]
    again = Suspects()
    again.restore({"records": [[3, 4]], "events": []})
    assert again.state()["records"] == [(0, 3, 4)]


def test_poison_of_a_topic_is_not_poison_of_another_one_that_has_its_epoch_after_a_return_to_a_checkpoint():
    suspects = Suspects()
    suspects.enter(Place({0: 6}, "second", 1))
    for _ in range(2):
        suspects.narrow(one(7, offset=5, epoch=1), Place({0: 6}, "second", 1))
    suspects.enter(Place({0: 6}, "second", 1))
    assert suspects.state()["records"] == [(1, 0, 5)]
    suspects.enter(Place({0: 3}, "first", 0))
    suspects.enter(Place({0: 6}, "third", 1))
    assert suspects.state()["records"] == []
