"""A real broker with passwords and rights: one listener for an administrator without a password, one for a user.

Chaos runs and tests use it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from scripts.brokers.process import free_port
from scripts.brokers.real import Member, real_node
from scripts.checkout import ROOT

USER, PASSWORD = "reader", "kept-from-every-log"
_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


class Guarded:
    """The running broker. Clients of `plain` may do everything; `USER` may do what is granted."""

    def __init__(self, member: Member, sasl_port: int) -> None:
        self.member = member
        self.plain = member.bootstrap
        self.sasl_port = sasl_port
        self.sasl = f"127.0.0.1:{sasl_port}"
        self.admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

    @property
    def as_user(self) -> dict[str, Any]:
        """The settings of a client that connects as `USER`."""
        return {
            "bootstrap.servers": self.sasl,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }

    def grant(self, kind: ResourceType, name: str, *operations: AclOperation, prefix: bool = False) -> None:
        """Grant the user rights to a resource, or to all resources whose names begin with `name`."""
        rules = [_rule(AclBinding, kind, name, each, prefix=prefix) for each in operations]
        for done in self.admin.create_acls(rules).values():
            done.result(20)

    def revoke(self, kind: ResourceType, name: str, *operations: AclOperation, prefix: bool = False) -> None:
        """Take back rights that were granted in the same form."""
        rules = [_rule(AclBindingFilter, kind, name, each, prefix=prefix) for each in operations]
        for done in self.admin.delete_acls(rules).values():
            done.result(20)


def _rule(made: Any, kind: ResourceType, name: str, operation: AclOperation, *, prefix: bool) -> Any:
    pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
    return made(kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)


@contextmanager
def guarded_broker(settings: Mapping[str, object], listeners: Mapping[str, int], *, heap_mib: int = 256) -> Iterator[Guarded]:
    """Run a broker with Kafka's own authorizer, further `settings`, and further `listeners` (ports by protocol).

    Raises OSError if Java or Maven is missing, or if the broker does not start.
    """
    port = free_port()
    more = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{_LOGIN} required user_{USER}="{PASSWORD}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        **settings,
    }
    with real_node(ROOT / ".firnline" / "kafka", {"SASL_PLAINTEXT": port, **listeners}, more, heap_mib=heap_mib) as member:
        yield Guarded(member, port)
