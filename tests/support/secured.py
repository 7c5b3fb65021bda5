"""A real broker with passwords, rights and TLS, whose batches can be damaged."""

import contextlib
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka.cimpl import NewTopic

from scripts.brokers.process import free_port
from scripts.brokers.real import Member
from tests.support.java import need_java
from tests.support.rights import Guarded, guarded_broker

_STORE = "changeit"
_HEADER = struct.Struct(">qi")


class Secured(Guarded):
    """The running broker. The listener `tls` has a self-signed certificate."""

    def __init__(self, member: Member, sasl_port: int, tls_port: int) -> None:
        super().__init__(member, sasl_port)
        self.tls = f"127.0.0.1:{tls_port}"

    def create(self, topic: str, partitions: int = 1) -> str:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
        return topic

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
        assert _HEADER.size + length > 141, "the damage must not reach the next batch"
        for at in range(place + 101, place + 141):
            content[at] ^= 0x5A
        with log.open("r+b") as file:  # the broker has the file open
            file.write(content)
        return range(base, starts[batch + 1][1])


@contextlib.contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """Run the broker; its certificate is made in `folder`."""
    need_java("keytool")
    store = folder / "keys.p12"
    name = ("-alias", "broker", "-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1", "-keyalg", "RSA", "-storetype", "PKCS12")
    made = ["keytool", "-genkeypair", *name, "-keystore", str(store), "-storepass", _STORE]
    subprocess.run(made, check=True, capture_output=True)
    tls_port = free_port()
    settings = {"ssl.keystore.location": store, "ssl.keystore.password": _STORE}
    with guarded_broker(settings, {"SSL": tls_port}) as broker:
        yield Secured(broker.member, broker.sasl_port, tls_port)
