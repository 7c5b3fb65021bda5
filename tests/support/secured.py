"""A real broker with passwords, TLS and rights: a listener without any, one with SASL, and one with a self-signed certificate."""

import contextlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from scripts.brokers.process import free_port
from scripts.brokers.real import Member, real_node
from scripts.checkout import ROOT

USER, PASSWORD = "reader", "kept-from-every-log"
_STORE = "changeit"
_HEADER = struct.Struct(">qi")


class Secured:
    """The running broker. Clients of `plain` may do everything; `USER` may do what is granted."""

    def __init__(self, member: Member, sasl: int, tls: int) -> None:
        self.member = member
        self.plain = member.bootstrap
        self.sasl = f"127.0.0.1:{sasl}"
        self.tls = f"127.0.0.1:{tls}"
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

    def create(self, topic: str, partitions: int = 1) -> str:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
        return topic

    def grant(self, topic: str, *operations: AclOperation) -> None:
        rules = [_rule(AclBinding, topic, each) for each in operations]
        for each in self.admin.create_acls(rules).values():
            each.result(20)

    def revoke(self, topic: str, *operations: AclOperation) -> None:
        rules = [_rule(AclBindingFilter, topic, each) for each in operations]
        for each in self.admin.delete_acls(rules).values():
            each.result(20)

    def damage(self, topic: str, batch: int) -> range:
        """Change 40 bytes of a batch of partition 0 in the broker's log. Returns the offsets of the batch."""
        log = self.member.log.parent / "data" / f"{topic}-0" / f"{0:020}.log"
        content = bytearray(log.read_bytes())
        starts: list[tuple[int, int, int]] = []
        place = 0
        while place < len(content):
            base, length = _HEADER.unpack_from(content, place)
            starts.append((place, base, length))
            place += _HEADER.size + length
        place, base, length = starts[batch]
        for at in range(place + 101, place + 141):
            content[at] ^= 0x5A
        with log.open("r+b") as file:  # the broker has the file open
            file.write(content)
        return range(base, starts[batch + 1][1])


def _rule(kind: Any, topic: str, operation: AclOperation) -> Any:
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    return kind(ResourceType.TOPIC, topic, literal, f"User:{USER}", "*", operation, allow)


@contextlib.contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """Run the broker; its certificate is made in `folder`. Raises OSError if Java or Maven is missing."""
    if shutil.which("keytool") is None:
        raise OSError("a certificate needs keytool, which comes with Java")
    store = folder / "keys.p12"
    name = ("-alias", "broker", "-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1", "-keyalg", "RSA", "-storetype", "PKCS12")
    made = ["keytool", "-genkeypair", *name, "-keystore", str(store), "-storepass", _STORE]
    subprocess.run(made, check=True, capture_output=True)
    sasl, tls = free_port(), free_port()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} required user_{USER}="{PASSWORD}";',
        "ssl.keystore.location": store,
        "ssl.keystore.password": _STORE,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with real_node(ROOT / ".firnline" / "kafka", {"SASL_PLAINTEXT": sasl, "SSL": tls}, settings) as member:
        yield Secured(member, sasl, tls)
