"""The data folder and the broker of a run. The folder outlasts the process; an embedded broker is started for it."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.durability.disk import Disk
from actors.durability.lock import owned
from actors.durability.store import Store
from config.settings import Checkpoints, Settings
from config.streams import Stream
from scripts.brokers.embedded import find_embedded, start_embedded
from scripts.brokers.process import end


@dataclass(frozen=True, slots=True)
class Keeping:
    """The data folder, and when checkpoints are written. `name` identifies the folder, for ids that must be unique to it."""

    folder: Path
    name: str
    when: Checkpoints

    def store_of(self, stream: str, stanza: Stream) -> Store:
        """Return the store of a stream. If the meaning of its answers changes it gets another folder; the old one stays."""
        meaning = json.dumps(stanza.meaning(), sort_keys=True).encode()
        return Store(self.folder / f"{stream}-{hashlib.sha256(meaning).hexdigest()[:8]}", Disk())

    def others_of(self, stream: str, store: Store) -> list[Path]:
        """Return the folders of a stream whose answers had another meaning."""
        return [path for path in sorted(self.folder.glob(f"{stream}-????????")) if path != store.folder]


@contextlib.contextmanager
def kept(settings: Settings, *, lasting: bool) -> Iterator[Keeping | None]:
    """Lock the data folder. Yields None without `lasting`, or if `data_dir` is null.

    Raises ValueError if another process uses the folder.
    """
    if settings.data_dir is None or not lasting:
        yield None
        return
    with contextlib.ExitStack() as around:
        try:
            name = around.enter_context(owned(settings.data_dir))
        except OSError as error:
            raise ValueError(f"data_dir: {settings.data_dir}: {error.strerror}") from None
        yield Keeping(settings.data_dir, name, settings.checkpoint)


@contextlib.contextmanager
def broker_of(settings: Settings, on_start: Callable[[str, int], None]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield librdkafka's settings, and whether the broker keeps records and transactions over its own end.

    The embedded broker does not. It is started if none runs; then `on_start` gets its address and process id.
    """
    kafka = dict(settings.kafka)
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
