"""Taking Kafka's reports about the records that a producer has under way, also from a client that librdkafka has ended.

Used by the sinks that write to Kafka, on their threads. `Producer.flush` is not used: it may end with a SystemError, because it
calls a delivery report while it raises the KafkaException of a client that has just ended. `poll` returns before.
"""

import contextlib
import time

from confluent_kafka import KafkaError, KafkaException, Producer

_STEP_S = 0.1
_PURGE_S = 5.0
"""librdkafka reports purged records at once."""


def listen(producer: Producer, timeout_s: float) -> KafkaError | None:
    """Take reports; wait up to `timeout_s` for the first one. Return the error if librdkafka has ended this client, else None.

    librdkafka gives this error once. It then reports the client's records, each with an error.
    """
    try:
        producer.poll(timeout_s)
    except KafkaException as error:
        ended: KafkaError = error.args[0]
        return ended
    return None


def listen_to_all(producer: Producer, timeout_s: float) -> KafkaError | None:
    """Take reports until no record is under way, for `timeout_s` at most. Return the error as `listen` does."""
    deadline = time.monotonic() + timeout_s
    ended = None
    while len(producer) and (left := deadline - time.monotonic()) > 0:
        ended = listen(producer, min(left, _STEP_S)) or ended
    return ended


def give_up(producer: Producer) -> None:
    """Give up the records under way, and take the reports about them. Afterwards the client can be dropped."""
    with contextlib.suppress(KafkaException):  # the client has ended, which may be why it is dropped
        producer.purge()
    listen_to_all(producer, _PURGE_S)
