"""After a loss of power or an error at any moment while files are taken, each checkpoint of the folder has all its generations."""

import errno
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.columns.snapshot import DamagedError
from actors.durability.copied import Copied, CopiedStore, sha256_of
from actors.durability.store import Store
from tests.support.keeping import FOLDER
from tests.support.logged_disk import FailingDisk, Files, LoggedDisk, left_after, nothing


@dataclass
class Elsewhere:
    """Copies in memory. `fetch` takes them all."""

    files: dict[str, bytes] = field(default_factory=dict)
    highest: int = 50

    @property
    def copied(self) -> list[Copied]:
        return [Copied(name, len(data), sha256_of(data)) for name, data in self.files.items()]

    def pieces(self, file: Copied) -> Iterator[bytes]:
        data = self.files[file.name]
        return (data[at : at + 100] for at in range(0, len(data), 100))

    def fetch(self, store: CopiedStore) -> int:
        if self.files and not store.has(self.copied):
            store.take(self.copied, self.pieces)
        return self.highest

    def put(self, names: Sequence[str], content: Any) -> None:
        self.files = {name: bytes(content(name)) for name in names}


def written(disk: Any, copies: Elsewhere, checkpoints: int) -> CopiedStore:
    """Write checkpoints of two generations each; the last one is in `copies`."""
    store = CopiedStore(FOLDER, disk, copies)
    store.open()
    named: list[str] = []
    for _ in range(checkpoints):
        before, named = named, [store.write_generation({"a": random.randbytes(150)})[0] for _ in range(2)]
        store.write_checkpoint({"aged": [[number, name] for number, name in enumerate(named)], "live": random.randbytes(150)})
        store.sweep([*before, *named])
    return store


def whole(files: Files) -> list[int]:
    """Return the checkpoints of a folder, each of which must be readable, with its generations."""
    store = Store(FOLDER, LoggedDisk.of(files, {FOLDER, *FOLDER.parents}))
    numbers = store.checkpoints()
    for number in numbers:
        for _, name in store.read_checkpoint(number)["aged"]:
            store.read_generation(name)
    return numbers


@pytest.fixture
def there() -> Elsewhere:
    random.seed(1)
    copies = Elsewhere()
    written(LoggedDisk(), copies, 4)
    return copies


def test_a_loss_of_power_while_files_are_taken_leaves_whole_checkpoints_or_none(there: Elsewhere):
    own = LoggedDisk()
    store = written(own, Elsewhere(), 2)
    before = whole(own.contents())
    begun = len(own.log)
    store.take(there.copied, there.pieces)
    assert {path.name: data for path, data in own.contents().items()} == there.files
    after = whole(own.contents())
    seen = set()
    for place in range(begun, len(own.log)):
        for model, files in left_after(own.log[: place + 1], random.Random(place)):
            found = whole({path: data for path, data in files.items() if path.suffix == ".firn"})
            assert set(found) <= {*before, *after}, model
            seen.add(tuple(found))
    assert seen >= {tuple(before), (), tuple(after)}


@pytest.mark.parametrize("harm", ["byte", "short", "long"])
def test_wrong_bytes_replace_nothing(there: Elsewhere, harm: str):
    own = LoggedDisk()
    store = written(own, Elsewhere(), 2)
    before = dict(own.contents())
    expected, name = there.copied, max(there.files)
    data = there.files[name]
    there.files[name] = {"byte": data[:-1] + bytes([data[-1] ^ 1]), "short": data[:-1], "long": data + b"x" * 10_000}[harm]
    with pytest.raises(DamagedError, match=name):
        store.take(expected, there.pieces)
    assert own.contents() == before


def test_only_names_of_a_store_become_paths(there: Elsewhere):
    own = LoggedDisk()
    store = written(own, Elsewhere(), 1)
    before = dict(own.contents())
    for name in ("../generation-0000000001.firn", "/etc/passwd", "generation-0000000001.firn.tmp", "other"):
        with pytest.raises(DamagedError, match="not the name"):
            store.take([*there.copied, Copied(name, 0, sha256_of(b""))], there.pieces)
    assert own.contents() == before


def test_numbers_go_on_above_those_elsewhere_and_files_that_are_here_are_not_taken(there: Elsewhere):
    there.highest = 500
    store = CopiedStore(FOLDER, LoggedDisk(), there)
    store.open()
    assert store.write_generation({"a": b"b"})[0] == "generation-0000000501.firn"
    there.pieces = None  # type: ignore[assignment,method-assign]  # it must not be called again
    store.open()
    again = CopiedStore(FOLDER, store._disk, there)  # of a process that is started again
    again.open()
    assert again.checkpoints() == store.checkpoints()


def test_after_an_error_of_the_disk_the_next_open_takes_all_files(there: Elsewhere):
    failed = 0
    for number in range(1_000):
        own = LoggedDisk()
        written(own, Elsewhere(), 2)
        disk, left = FailingDisk(own), [number]

        def before(what: str, path: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0 and what in {"create", "write", "sync", "rename", "remove", "sync_folder"}:
                raise OSError(errno.ENOSPC, what, str(path))

        disk.before = before
        store = CopiedStore(FOLDER, disk, there)
        try:
            store.open()
        except OSError:
            failed += 1
        else:
            assert failed > 20
            return
        finally:
            disk.before = nothing
        whole({path: data for path, data in own.contents().items() if path.suffix == ".firn"})
        store.open()
        assert {path.name: data for path, data in own.contents().items()} == there.files
    raise AssertionError("the store is never opened")
