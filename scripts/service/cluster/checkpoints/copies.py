"""The copies of one shard's checkpoints in the checkpoint topic: written after each checkpoint, and taken by a new holder.

All streams of the shard share its partition and one manifest. The keeper of each stream calls on its own thread, one at a time.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from typing_extensions import override

from actors.columns.snapshot import DamagedError
from actors.durability.copied import Copied, CopiedStore, Copies, sha256_of
from actors.durability.disk import Disk
from actors.durability.store import Store, number_of
from config.settings import Checkpoints
from config.streams import Stream
from scripts.service.cluster.checkpoints.fence import Claim, PassedError, Writer
from scripts.service.cluster.checkpoints.manifest import CLAIM, Manifest, Part, key_of
from scripts.service.cluster.checkpoints.reader import Reader
from scripts.service.keeping import Keeping, exact_store

_SHOWN_S = 5.0
_PASSING_S = 5.0
_AGAIN_S = 0.2
_MOST_BYTES = 256 << 20
"""A transaction of more bytes could last longer than Kafka lets it be open."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A checkpoint topic: its name, the lease group, the longest piece of a file in bytes, and the secret of the cluster."""

    name: str
    group: str
    piece_bytes: int
    secret: bytes


class ShardCopies:
    """The copies of the shard `shard` while this process has it by the lease `epoch`. `log` gets an event and its facts."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: Topic,
        shard: int,
        epoch: int,
        claim: Claim,
        log: Callable[..., object],
        *,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._shard = shard
        self._epoch = epoch
        self._claim = claim
        self._log = log
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._streams: list[str] = []
        self._writer: Writer | None = None
        self._manifest = Manifest(shard, epoch, 0, ())

    def keeping(self, when: Checkpoints, folder: Path, complain: Mapping[str, Callable[[str], None]]) -> Keeping:
        """Return the place of the checkpoints in `folder`, and here. `complain` gets the problems of each stream."""
        return _TopicKeeping(when, folder, copies_of=lambda stream, named: self.of(named, complain[stream]))

    def of(self, stream: str, complain: Callable[[str], None]) -> Copies:
        """Return the copies of one store, by the name of its folder. `complain` gets each problem."""
        self._streams.append(stream)
        return _StreamCopies(self, stream, complain)

    def close(self) -> None:
        """Write nothing more. Does not wait for a copy that is being written: Kafka refuses it if the shard has moved."""
        self._ended.set()
        if self._lock.acquire(blocking=False):
            try:
                self._drop_writer()
            finally:
                self._lock.release()

    def fetch(self, stream: str, store: CopiedStore, complain: Callable[[str], None]) -> int:
        """See `Copies.fetch`."""
        with self._lock:
            self._ensure_writer()
            checkpoints = self._manifest.of_stream(stream)
            if checkpoints and store.has([part.copied for part in checkpoints[0]]):
                self._log("checkpoint is here", shard=self._shard, stream=stream, epoch=self._manifest.epoch)
            elif checkpoints:
                self._take(stream, store, checkpoints, complain)
            numbers = [number_of(part.name) or 0 for part in self._manifest.parts if part.stream == stream]
            return max(numbers, default=0)

    def put(self, stream: str, names: Sequence[str], content: Callable[[str], memoryview]) -> None:
        """See `Copies.put`; raises OSError."""
        with self._lock:
            try:
                self._put_again(stream, names, content)
            except Exception:
                self._drop_writer()  # whether Kafka has committed is unknown: a new writer finds out
                raise

    # With the lock ---------------------------------------------------------------------------------------------------

    def _ensure_writer(self) -> Writer:
        """Return the writer. Its first transaction ends all earlier ones, and then the newest manifest is read."""
        if self._ended.is_set():
            raise OSError(f"shard {self._shard} ends")
        if self._writer is not None:
            return self._writer
        claimed: list[int] = []
        with self._reader() as reader:
            writer = Writer(self._settings, self._topic.name, self._shard, self._claim, self._ended.is_set)
            at = reader.committed()
            writer.begin()
            writer.write(CLAIM, msgspec.json.encode({"epoch": self._epoch}), claimed.append)
            writer.commit(at)
            found = reader.newest(at, claimed[0])
        if found is None and reader.distrusts:
            self._log("checkpoint not trusted", shard=self._shard, reason="its proof is wrong: the secrets may differ")
        self._manifest = found or Manifest(self._shard, self._epoch, 0, ())
        self._writer = writer
        return writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _reader(self) -> Reader:
        topic = self._topic
        return Reader(self._settings, topic.name, self._shard, topic.group, topic.secret, self._ended.is_set)

    def _take(
        self, stream: str, store: CopiedStore, checkpoints: Sequence[list[Part]], complain: Callable[[str], None]
    ) -> None:
        """Have the store take the newest checkpoint that is whole."""
        for place, parts in enumerate(checkpoints):
            began, total = time.monotonic(), sum(part.nbytes for part in parts)
            ordered = sorted(parts, key=lambda part: part.at)
            with self._reader() as reader:
                pieces = _Pieces(reader, ordered, lambda done: self._show(stream, done, total))  # noqa: B023  # used within
                try:
                    store.take([part.copied for part in ordered], pieces)
                except DamagedError as error:
                    last = place == len(checkpoints) - 1
                    then = "all records are read again" if last else "the checkpoint before is taken"
                    complain(f"checkpoint topic: {error}: {then}")
                    continue
            took_s = round(time.monotonic() - began, 1)
            self._log("checkpoint taken from the topic", shard=self._shard, stream=stream, bytes=total, took_s=took_s)
            return

    def _show(self, stream: str, done: int, total: int) -> None:
        self._log("checkpoint is read from the topic", shard=self._shard, stream=stream, bytes=done, of=total)

    def _put_again(self, stream: str, names: Sequence[str], content: Callable[[str], memoryview]) -> None:
        """Put files, and again if the group got a new generation meanwhile, which this process is about to learn."""
        writer, began = self._ensure_writer(), time.monotonic()
        while True:
            try:
                return self._put(writer, stream, names, content)
            except PassedError:
                if time.monotonic() - began > _PASSING_S or self._ended.wait(_AGAIN_S):
                    raise
                writer.abort()

    def _put(self, writer: Writer, stream: str, names: Sequence[str], content: Callable[[str], memoryview]) -> None:
        """Write the files that the topic does not have, delete those that no kept checkpoint names, then the manifest."""
        strange = self._manifest.without(self._streams)
        own = {part.name: part for part in self._manifest.parts if part.stream == stream}
        others = [part for part in self._manifest.parts if part.stream != stream and part not in strange]
        writer.begin()
        unsaved = 0
        for name in names:
            if name in own:
                continue
            own[name] = self._send(writer, stream, name, content(name))
            unsaved += own[name].nbytes
            if unsaved > self._most_bytes:
                self._commit(writer, [*others, *strange, *own.values()])
                writer.begin()
                unsaved = 0
        wanted = frozenset(names)
        after = [replace(part, newest=part.name in wanted, before=part.newest) for part in own.values()]
        kept = [part for part in (*others, *after) if part.newest or part.before]
        held = frozenset(kept)
        for part in (*strange, *others, *after):
            if part not in held:
                for key in part.keys:
                    writer.write(key, None)
        self._commit(writer, kept)

    def _send(self, writer: Writer, stream: str, name: str, data: memoryview) -> Part:
        """Write the pieces of one file, and return where they are."""
        size, offsets = self._topic.piece_bytes, list[int]()
        for number, start in enumerate(range(0, len(data), size)):
            keep = offsets.append if number == 0 else _forget
            writer.write(key_of(stream, name, number), bytes(data[start : start + size]), keep)
        writer.flush()
        pieces = -(-len(data) // size)
        return Part(stream, name, len(data), sha256_of(data), pieces, offsets[0], newest=False, before=False)

    def _commit(self, writer: Writer, parts: Sequence[Part]) -> None:
        """Write a manifest behind all that it lists, and commit."""
        manifest = Manifest(self._shard, self._epoch, self._manifest.turn + 1, tuple(parts))
        key, value = manifest.record(self._topic.secret)
        at: list[int] = []
        writer.write(key, value, at.append)
        writer.flush()
        writer.commit(at[0])
        self._manifest = manifest


@dataclass(frozen=True, slots=True)
class _StreamCopies:
    """The copies of one stream of a shard."""

    shard: ShardCopies
    stream: str
    complain: Callable[[str], None]

    def fetch(self, store: CopiedStore) -> int:
        return self.shard.fetch(self.stream, store, self.complain)

    def put(self, names: Sequence[str], content: Callable[[str], memoryview]) -> str | None:
        try:
            self.shard.put(self.stream, names, content)
        except OSError as error:
            problem = f"the checkpoint is here, and not in the checkpoint topic: {error}"
            self.complain(problem)
            return problem
        return None


@dataclass(slots=True)
class _Pieces:
    """The bytes of files, piece by piece; `show` gets their number from time to time."""

    reader: Reader
    parts: Sequence[Part]
    show: Callable[[int], None]
    done: int = 0
    shown: float = 0.0

    def __post_init__(self) -> None:
        self.shown = time.monotonic()

    def __call__(self, file: Copied) -> Iterator[bytes]:
        part = next(part for part in self.parts if part.name == file.name)
        for piece in self.reader.pieces(part):
            self.done += len(piece)
            if time.monotonic() - self.shown > _SHOWN_S:
                self.shown = time.monotonic()
                self.show(self.done)
            yield piece


@dataclass(frozen=True, slots=True)
class _TopicKeeping(Keeping):
    """The place of the checkpoints of a shard, and their copies. The function is by the name of a folder."""

    copies_of: Callable[[str, str], Copies] | None = None

    @override
    def store_of(self, stream: str, stanza: Stream) -> Store:
        store = Keeping.store_of(self, stream, stanza)
        if self.folder is None or self.copies_of is None:
            return store
        # The name of the folder that any process with these settings makes, although this one may go on in an older folder.
        named = exact_store(self.folder, stream, stanza).folder.name
        return CopiedStore(store.folder, Disk(), self.copies_of(stream, named))


def _forget(_: int) -> None:
    """Take an offset that is not needed."""
