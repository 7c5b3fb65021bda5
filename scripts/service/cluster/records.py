"""The records of a lease topic: who has a shard, and where it listens.

The offset of the first record of a lease is its epoch. A second record says that the shard answers by this lease.
"""

from typing import Self

import msgspec

from gateway.cluster.proof import proof_of, proves

_PURPOSE = "lease"


class Announced(msgspec.Struct, frozen=True):
    """The process `process` has the shard `shard` from now on, and listens at `host` and `port`. `pid` is for people.

    If the shard answers by now, `lease` is the epoch of its lease.
    """

    shard: int
    process: str
    host: str
    port: int
    pid: int
    lease: int | None = None

    def epoch(self, offset: int) -> int:
        """Return the epoch of the lease, from a record at this offset."""
        return offset if self.lease is None else self.lease

    def record(self, secret: bytes) -> tuple[bytes, bytes]:
        """Return the key and the value of the record, with a proof that a process with the secret wrote it."""
        body = msgspec.json.encode(self)
        return key_of(self.shard), msgspec.json.encode({"lease": self, "proof": proof_of(secret, _PURPOSE, body)})

    @classmethod
    def of(cls, shard: int, value: bytes, secret: bytes) -> Self | None:
        """Return what a record in the partition `shard` announces; None if it is of no process with the secret."""
        try:
            signed = msgspec.json.decode(value, type=_Signed)
        except msgspec.MsgspecError:
            return None
        found = signed.lease
        if found.shard != shard or not proves(secret, signed.proof, _PURPOSE, msgspec.json.encode(found)):
            return None
        return cls(found.shard, found.process, found.host, found.port, found.pid, found.lease)


class _Signed(msgspec.Struct, frozen=True):
    lease: Announced
    proof: str


def key_of(shard: int) -> bytes:
    """Return the key of a shard's records. Compaction keeps the last one."""
    return b"shard-%d" % shard
