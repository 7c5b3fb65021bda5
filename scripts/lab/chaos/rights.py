"""The rights that the service of a chaos run has on its broker. One right at a time is taken back for a while."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # exported

from scripts.brokers.guarded import Guarded

_PREFIX = "firnline-"


class Right(NamedTuple):
    """An operation on a resource, or on all resources whose names begin with `name`."""

    kind: ResourceType
    name: str
    operation: AclOperation
    prefix: bool = False


class Rights:
    """Grants the service's user all rights that it needs, as docs/security.md lists them."""

    def __init__(self, broker: Guarded, sources: Iterable[str], outputs: Iterable[str]) -> None:
        topic, operation = ResourceType.TOPIC, AclOperation
        self._broker = broker
        self._all = [
            *(Right(topic, name, each) for name in sources for each in (operation.READ, operation.WRITE)),
            *(Right(topic, name, each) for name in outputs for each in (operation.READ, operation.WRITE)),
            *(Right(topic, name, operation.DESCRIBE_CONFIGS) for name in outputs),
            Right(ResourceType.TRANSACTIONAL_ID, _PREFIX, operation.WRITE, prefix=True),
            Right(ResourceType.GROUP, _PREFIX, operation.READ, prefix=True),
        ]
        for right in self._all:
            self.grant(right)

    def grant(self, right: Right) -> None:
        """Grant a right. Raises KafkaException if the broker is away."""
        self._broker.grant(right.kind, right.name, right.operation, prefix=right.prefix)

    def take_back(self, chance: Random) -> Right:
        """Take back some right, and return it. Raises KafkaException if the broker is away."""
        right = chance.choice(self._all)
        self._broker.revoke(right.kind, right.name, right.operation, prefix=right.prefix)
        return right
