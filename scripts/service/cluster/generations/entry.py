"""The records of a generation: its pieces, and then its entry, which says how to put them together, and who wrote it.

The entry is written to the partition of its shelf, behind the pieces, and to partition 0 too, which is short enough to be read
at each start of the matcher. All of it is one transaction.
"""

from hashlib import sha256
from typing import Self

import msgspec

from gateway.cluster.proof import proof_of, proves

_PURPOSE = "generation"
CLAIM = b"claim"
"""The key of the record by which a new matcher ends what an earlier one left open."""


class Entry(msgspec.Struct, frozen=True):
    """The generation `name`, the matcher's number `number`: `pieces` records in `partition`, `nbytes` bytes in all.

    In partition 0 it has the offset `at` of the same entry in its own partition.
    """

    name: str
    number: int
    partition: int
    pieces: int
    nbytes: int
    sha256: str
    at: int | None = None

    def record(self, secret: bytes) -> tuple[bytes, bytes]:
        """Return the key and the value of the record, with a proof that a process with the secret wrote it."""
        body = msgspec.json.encode(self)
        return self.name.encode(), msgspec.json.encode(_Signed(proof_of(secret, _PURPOSE, body), msgspec.Raw(body)))

    @classmethod
    def of(cls, value: bytes, secret: bytes) -> Self | None:
        """Return the entry in a record; None if it is of no process with the secret."""
        try:
            signed = msgspec.json.decode(value, type=_Signed)
            if not proves(secret, signed.proof, _PURPOSE, bytes(signed.entry)):
                return None
            return msgspec.json.decode(signed.entry, type=cls)
        except msgspec.MsgspecError:
            return None


class _Signed(msgspec.Struct, frozen=True):
    proof: str
    entry: msgspec.Raw


def piece_key(name: str, number: int) -> bytes:
    """Return the key of a piece of a generation.

    >>> name_in(piece_key("7-ab", 2)), name_in(b"7-ab")
    ('7-ab', None)
    """
    return f"{name}/{number}".encode()


def name_in(key: bytes) -> str | None:
    """Return the name of the generation of which a record is a piece; None if it is no piece."""
    name, slash, _ = key.partition(b"/")
    return name.decode("utf-8", "replace") if slash else None


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of `data` in hexadecimal digits."""
    return sha256(data).hexdigest()
