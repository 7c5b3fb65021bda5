"""A full, failing or limited disk loses at most the checkpoint that is being written, and the problem is reported."""

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.durability.disk import Disk
from actors.durability.store import Store
from actors.messages import Loaded
from tests.actors.test_store import VIEW, frozen_state, slice_of
from tests.conftest import ROOT
from tests.support.keeping import FOLDER, Keeping, keeping
from tests.support.logged_disk import LoggedDisk, PassingDisk

ERRORS = [errno.ENOSPC, errno.EIO, errno.EFBIG]


@dataclass
class Fault:
    """Fails at the `at`-th operation from now, and if it is `lasting`, at every later one. Only operations in `kinds` count."""

    at: int
    lasting: bool = False
    error: int = errno.EIO
    kinds: frozenset[str] | None = None
    struck: list[str] = field(default_factory=list)
    healed: bool = False

    def __call__(self, what: str, path: Path) -> None:
        if self.healed or what == "close" or (self.kinds is not None and what not in self.kinds):
            return
        self.at -= 1
        if self.at == 0 or (self.lasting and self.at < 0):
            self.struck.append(what)
            raise OSError(self.error, os.strerror(self.error), str(path))


def state_of(number: int, names: list[str]) -> Any:
    aged = [[place, name, place * 100, place * 100 + 100, 9, 1, False] for place, name in enumerate(names)]
    return {"number": number, "live": slice_of(number).state(), "aged": aged}


def save(keeper: Keeping, number: int, names: list[str]) -> int | None:
    return keeper.save(state_of(number, names), frozenset(names)).checkpoint_id


def two_checkpoints(make: Callable[[Path, Disk], Store] = Store) -> tuple[LoggedDisk, str]:
    """Return a disk with the checkpoints 2 and 3, and the name of the generation that both name."""
    disk = LoggedDisk.of({}, {FOLDER.parent})
    with keeping(disk, VIEW, make) as keeper:
        keeper.load()
        name = keeper.keep(0, frozen_state(1))
        assert name is not None
        assert [save(keeper, number, [name]) for number in (2, 3)] == [2, 3]
    return disk, name


def opened(disk: LoggedDisk, committed: int | None = None) -> Loaded:
    """Return the checkpoint that another process would load now. The disk does not change."""
    with keeping(LoggedDisk.of(disk.contents(), {FOLDER}), VIEW) as keeper:
        loaded = keeper.load(committed)
    assert all(each.frozen is not None for each in loaded.aged)
    assert loaded.state is not None, "no checkpoint is found"
    assert loaded.state["number"] == loaded.checkpoint_id
    return loaded


def check_a_failing_disk(fault: Fault, make: Callable[[Path, Disk], Store] = Store) -> bool:
    """Write a generation and checkpoints while `fault` is active. Return whether it struck."""
    disk, old = two_checkpoints()
    with keeping(disk, VIEW, make) as keeper:
        assert keeper.load().checkpoint_id == 3
        disk.before = fault
        fresh = keeper.keep(1, frozen_state(4))
        attempts = [save(keeper, number, [old, *([fresh] if fresh else [])]) for number in (5, 6)]
        assert attempts[0] in {5, None}
        assert attempts[1] in {6, None}
        last = max((number for number in attempts if number), default=3)
        if fresh is None or None in attempts:
            assert fault.struck
        if fault.struck:
            assert keeper.troubles
        elif not fault.healed:
            return False
        assert opened(disk).checkpoint_id >= last
        assert opened(disk, last).checkpoint_id == last
        if not fault.lasting and "remove" not in fault.struck:
            assert not [path for path in disk.files if path.suffix == ".tmp"], "temporary files are deleted at once"
        fault.healed = True
        assert save(keeper, 7, [old]) == 7
        assert opened(disk, last).checkpoint_id == last, "the results of the next checkpoint are not committed"
        assert opened(disk).checkpoint_id == 7
        assert save(keeper, 8, [old]) == 8
        assert {path.name for path in disk.files} == {old, "checkpoint-0000000007.firn", "checkpoint-0000000008.firn"}
    return True


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_failed_disk_operation_loses_only_that_checkpoint(error: int, lasting: bool):
    struck: set[str] = set()
    for at in range(1, 1_000):
        fault = Fault(at, lasting, error)
        if not check_a_failing_disk(fault):
            break
        struck |= set(fault.struck)
    assert at > 50
    assert struck == {"create", "write", "sync", "rename", "sync_folder", "names", "remove"}


class Hoarder(Store):
    """Temporary files of failed writes are not deleted."""

    def _write(self, kind: str, number: int, state: Any) -> tuple[str, int]:
        removing, self._disk = self._disk, KeepingDisk(self._disk)
        try:
            return super()._write(kind, number, state)
        finally:
            self._disk = removing


class KeepingDisk(PassingDisk):
    def remove(self, path: Path) -> None:
        pass


class Forgetful(Store):
    """A checkpoint whose writing failed at its last operation counts as one of the newest two."""

    def _write(self, kind: str, number: int, state: Any) -> tuple[str, int]:
        try:
            return super()._write(kind, number, state)
        finally:
            self._void.clear()


@pytest.mark.parametrize(("make", "message"), [(Hoarder, "deleted at once"), (Forgetful, "no checkpoint is found")])
def test_a_store_that_handles_errors_wrongly_fails_the_test(make: Callable[[Path, Disk], Store], message: str):
    with pytest.raises(AssertionError, match=message):
        for lasting in (False, True):
            for at in range(1, 100):
                check_a_failing_disk(Fault(at, lasting), make)


@pytest.mark.parametrize("error", [*ERRORS, errno.EMFILE], ids=errno.errorcode.get)
def test_a_read_that_fails_once_loses_no_state(error: int):
    for at in range(1, 1_000):
        disk, old = two_checkpoints()
        disk.before = fault = Fault(at, error=error)
        with keeping(disk, VIEW) as keeper:
            loaded = keeper.load()
            assert loaded.checkpoint_id == 3
            assert [each.frozen is not None for each in loaded.aged] == [True]
            assert not loaded.lost
            assert bool(keeper.troubles) == bool(fault.struck)
            assert {path.name for path in disk.files} == {old, "checkpoint-0000000002.firn", "checkpoint-0000000003.firn"}
        if not fault.struck:
            break
    assert at > 5


def test_loading_waits_for_a_folder_that_cannot_be_listed():
    disk, _ = two_checkpoints()
    disk.before = fault = Fault(1, lasting=True, kinds=frozenset({"names"}))
    with keeping(disk, VIEW) as keeper, pytest.raises(AssertionError, match="retried without end"):
        keeper.load()
    fault.healed = True
    assert opened(disk).checkpoint_id == 3


# The machine's own disk ----------------------------------------------------------------------------------------------


def test_a_file_is_complete_if_each_write_takes_only_a_part(tmp_path: Path):
    file = Disk().create(tmp_path / "file")
    raw = file._file

    class Parts:
        name = str(tmp_path / "file")

        def write(self, data: memoryview) -> int:
            return raw.write(data[: min(len(data), 7)])

    file._file = Parts()
    data = random.Random(1).randbytes(1_000)
    file.write(data)
    raw.close()
    assert (tmp_path / "file").read_bytes() == data


def test_a_write_that_takes_no_bytes_is_an_error(tmp_path: Path):
    file = Disk().create(tmp_path / "file")

    class Full:
        name = str(tmp_path / "file")

        def write(self, data: memoryview) -> int:
            return 0

    file._file.close()
    file._file = Full()
    with pytest.raises(OSError, match="takes no more bytes"):
        file.write(b"x")


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 40])
def test_written_bytes_are_read_and_mapped(tmp_path: Path, data: bytes):
    disk = Disk()
    disk.make_folder(tmp_path / "a" / "b")
    path = tmp_path / "a" / "b" / "file"
    file = disk.create(path.with_suffix(".tmp"))
    file.write(memoryview(data))
    file.sync()
    file.close()
    disk.rename(path.with_suffix(".tmp"), path)
    disk.sync_folder(path.parent)
    assert disk.names(path.parent) == ["file"]
    assert disk.read(path) == bytes(disk.map(path)) == data
    assert disk.map(path).readonly
    disk.remove(path)
    assert disk.names(path.parent) == []


LIMITED = """
import resource, sys
from pathlib import Path
from actors.durability.disk import Disk
from actors.durability.store import Store
store = Store(Path(sys.argv[1]), Disk())
store.open()
store.write_checkpoint({"number": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.write_checkpoint({"large": b"x" * 150_000})
except OSError as error:
    print(error.errno, store.checkpoints(), sorted(path.name for path in store.folder.iterdir()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write_checkpoint({"large": b"x" * 150_000})
print(store.checkpoints(), len(store.read_checkpoint(3)["large"]))
"""


def test_a_write_above_the_file_size_limit_is_an_error_and_leaves_no_file(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [f"{errno.EFBIG} [1] ['checkpoint-0000000001.firn']", "[3, 1] 150000"], done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_its_checkpoint_and_takes_the_next_once_there_is_room(small_disk: Path):
    store = Store(small_disk / "events", Disk())
    store.open()
    store.write_checkpoint({"number": 1, "large": bytes(400_000)})
    for _ in range(5):
        with pytest.raises(OSError) as caught:
            store.write_checkpoint({"number": 2, "large": bytes(900_000)})
        assert caught.value.errno == errno.ENOSPC
        assert [path.name for path in store.folder.iterdir()] == ["checkpoint-0000000001.firn"]
    number, _ = store.write_checkpoint({"number": 3, "large": bytes(400_000)})
    assert store.read_checkpoint(number)["number"] == 3
    (small_disk / "other").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4_096))
    with pytest.raises(OSError):
        store.write_checkpoint({"number": 4, "large": bytes(300_000)})
    store.sweep([])
    assert store.checkpoints() == [number, 1]
