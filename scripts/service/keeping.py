"""The place of the checkpoints of a run, and its broker. An embedded broker is started for it."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.columns.snapshot import DamagedError
from actors.durability.disk import Disk
from actors.durability.lock import owned
from actors.durability.scratch import ScratchDisk
from actors.durability.store import Store
from config.settings import Checkpoints, Settings
from config.streams import Stream
from scripts.brokers.embedded import find_embedded, start_embedded
from scripts.brokers.process import end


@dataclass(frozen=True, slots=True)
class Keeping:
    """The place of the checkpoints, and when they are written: the data folder, or a temporary file for each stream.

    `name` identifies the data folder, for ids that must be unique to it. Both are None if no checkpoint outlasts the process.
    """

    when: Checkpoints
    folder: Path | None = None
    name: str | None = None

    def store_of(self, stream: str, stanza: Stream) -> Store:
        """Return the store of a stream. If the meaning of its answers changes it gets another folder; the old one stays.

        A stream without a folder goes on in that of settings that are alike, if the unit of its times is the same.
        """
        if self.folder is None:
            return Store(Path(stream), ScratchDisk(), lasting=False)
        own = exact_store(self.folder, stream, stanza)
        if own.folder.is_dir():
            return own
        others = (exact_store(self.folder, stream, each) for each in stanza.alike())
        return next((other for other in others if other.folder.is_dir() and _same_unit(other, stanza)), own)

    def forsaken(self, stream: str, store: Store) -> list[Path]:
        """Return the folders of a stream whose answers had another meaning, if it begins in a new folder now."""
        if self.folder is None or store.folder.is_dir():
            return []
        return sorted(self.folder.glob(f"{stream}-????????"))

    def owner_of(self, stream: str) -> str | None:
        """Return the transactional id of a stream's results; None if its checkpoints do not outlast the process."""
        return None if self.name is None else f"firnline-{self.name}-{stream}"


def exact_store(folder: Path, stream: str, stanza: Stream) -> Store:
    """Return the store of exactly these settings, whether it is there or not."""
    return Store(folder / f"{stream}-{digest_of(stanza)}", Disk())


def digest_of(stanza: Stream) -> str:
    """Return eight digits that stand for the meaning of a stream's answers: other settings of it have other digits."""
    return hashlib.sha256(json.dumps(stanza.meaning(), sort_keys=True).encode()).hexdigest()[:8]


def _same_unit(store: Store, stanza: Stream) -> bool:
    """Whether the times in the newest checkpoint count in the unit of a stanza. A unit that is not given fits any times."""
    if not stanza.unit_given:
        return True
    for number in store.checkpoints():
        with contextlib.suppress(DamagedError, OSError, LookupError, TypeError):
            return bool(store.read_checkpoint(number)["front_end"]["unit"]["name"] == stanza.unit)
    return False


@contextlib.contextmanager
def kept(settings: Settings, *, lasting: bool) -> Iterator[Keeping]:
    """Lock the data folder. It is not used without `lasting`, or if `data_dir` is null.

    Raises ValueError if another process uses the folder.
    """
    if settings.data_dir is None or not lasting:
        yield Keeping(settings.checkpoint)
        return
    with contextlib.ExitStack() as around:
        try:
            name = around.enter_context(owned(settings.data_dir))
        except OSError as error:
            raise ValueError(f"data_dir: {settings.data_dir}: {error.strerror}") from None
        yield Keeping(settings.checkpoint, settings.data_dir, name)


@contextlib.contextmanager
def broker_of(settings: Settings, on_start: Callable[[str, int], None]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield librdkafka's settings, and whether the broker keeps records and transactions over its own end.

    The embedded broker does not. It is started if none runs; then `on_start` gets its address and process id.
    """
    kafka: dict[str, Any] = dict(settings.client)
    needed = any(stream.source.topic or stream.output.topic for stream in settings.streams.values())
    if kafka["bootstrap.servers"] != "embedded" or not needed:
        yield kafka, True
        return
    with contextlib.ExitStack() as around:
        bootstrap = find_embedded()
        if bootstrap is None:
            broker, bootstrap = start_embedded()
            around.callback(end, broker)
            on_start(bootstrap, broker.pid)
        # The embedded broker has no request that creates a topic, so a request for its metadata must create it.
        yield {"allow.auto.create.topics": True, **kafka, "bootstrap.servers": bootstrap}, False
