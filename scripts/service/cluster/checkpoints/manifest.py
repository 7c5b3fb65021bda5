"""The records of a checkpoint topic: pieces of files, and manifests, each of which lists all files of one shard.

A file is a run of records with the keys `STREAM/FILE/0`, `STREAM/FILE/1`, …, behind each other. It never changes. A manifest
says at which offset each run begins. The newest one is the last record of its transaction, so it lists all that the partition
holds. Two keys take turns, so compaction keeps the manifest before the newest one too.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from actors.durability.copied import Copied
from gateway.cluster.proof import proof_of, proves

_PURPOSE = "checkpoint"
_KEYS = b"manifest/0", b"manifest/1"
CLAIM = b"claim"
"""The key of the record by which a new holder ends what an earlier one left open."""


class Part(msgspec.Struct, frozen=True):
    """A file in the topic: a run of `pieces` records, the first one `at` this offset. `stream` names the folder of the store.

    It is of the `newest` checkpoint of its stream, of the one `before`, of both, or of neither: then it is deleted next.
    """

    stream: str
    name: str
    nbytes: int
    sha256: str
    pieces: int
    at: int
    newest: bool
    before: bool

    @property
    def keys(self) -> Iterable[bytes]:
        """The keys of its records, in their order."""
        return (key_of(self.stream, self.name, number) for number in range(self.pieces))

    @property
    def copied(self) -> Copied:
        """The file as a store sees it."""
        return Copied(self.name, self.nbytes, self.sha256)


class Manifest(msgspec.Struct, frozen=True):
    """All files of a shard in the topic, as the holder of the lease `epoch` left them. `turn` numbers the manifests."""

    shard: int
    epoch: int
    turn: int
    parts: tuple[Part, ...]

    def record(self, secret: bytes) -> tuple[bytes, bytes]:
        """Return the key and the value of the record, with a proof that a process with the secret wrote it."""
        body = msgspec.json.encode(self)
        signed = _Signed(proof_of(secret, _PURPOSE, body), msgspec.Raw(body))
        return _KEYS[self.turn % len(_KEYS)], msgspec.json.encode(signed)

    @classmethod
    def of(cls, shard: int, value: bytes, secret: bytes) -> Self | None:
        """Return the manifest in a record of the partition `shard`; None if it is of no process with the secret."""
        try:
            signed = msgspec.json.decode(value, type=_Signed)
            if not proves(secret, signed.proof, _PURPOSE, bytes(signed.manifest)):
                return None
            found = msgspec.json.decode(signed.manifest, type=cls)
        except msgspec.MsgspecError:
            return None
        return found if found.shard == shard else None

    def of_stream(self, stream: str) -> list[list[Part]]:
        """Return the files of each checkpoint of a stream, the newest checkpoint first."""
        own = [part for part in self.parts if part.stream == stream]
        found = [[part for part in own if part.newest], [part for part in own if part.before]]
        return [parts for parts in found if parts]

    def without(self, streams: Sequence[str]) -> list[Part]:
        """Return the files of the streams that these replace: the same names, and another meaning of their answers."""
        names = {_plain(stream) for stream in streams}
        return [part for part in self.parts if part.stream not in streams and _plain(part.stream) in names]


class _Signed(msgspec.Struct, frozen=True):
    proof: str
    manifest: msgspec.Raw


def is_manifest(key: bytes | None) -> bool:
    """Whether a record with this key is a manifest."""
    return key in _KEYS


def key_of(stream: str, name: str, number: int) -> bytes:
    """Return the key of one piece of a file."""
    return f"{stream}/{name}/{number}".encode()


def _plain(stream: str) -> str:
    """Return the name of a stream without the digest of what its answers mean."""
    return stream.rpartition("-")[0]
