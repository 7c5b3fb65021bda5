"""A broker that checks rights, and the rights of one user on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from scripts.brokers.process import free_port
from scripts.brokers.real import real_node
from scripts.checkout import ROOT

_USER, _PASSWORD = "app", "not-a-secret"
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True)
class Guarded:
    """A broker. `bootstrap` is for an administrator without a password, `settings` for a user without rights."""

    bootstrap: str
    settings: dict[str, Any]

    def grant(self, kind: ResourceType, name: str, *operations: AclOperation, prefix: bool = False) -> None:
        """Grant the user rights to a resource, or to all resources whose names begin with `name`."""
        pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
        bindings = [
            AclBinding(kind, name, pattern, f"User:{_USER}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for done in admin.create_acls(bindings).values():
            done.result(20)


@contextmanager
def guarded_broker(**settings: str) -> Iterator[Guarded]:
    """Run a broker with Kafka's own authorizer. `settings` are further settings, with underscores for dots."""
    port = free_port()
    more = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{_MODULE} required user_{_USER}="{_PASSWORD}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        **{name.replace("_", "."): value for name, value in settings.items()},
    }
    with real_node(ROOT / ".firnline" / "kafka", {"SASL_PLAINTEXT": port}, more) as node:
        bootstrap = node.bootstrap
        user = {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": _USER,
            "sasl.password": _PASSWORD,
        }
        yield Guarded(bootstrap, user)
