"""The scratch disk: a disk as the store needs it, which leaves nothing behind and takes no memory."""

import os
from pathlib import Path

import pytest

from actors.durability.scratch import ScratchDisk
from actors.durability.store import Store

FOLDER = Path("events")


def written(disk: ScratchDisk, name: str, *blocks: bytes) -> None:
    file = disk.create(FOLDER / name)
    for block in blocks:
        file.write(block)
    file.sync()
    file.close()


def test_a_file_is_read_as_it_was_written_under_its_last_name():
    disk = ScratchDisk()
    large = os.urandom(3 << 20)
    written(disk, "a", b"old")
    written(disk, "b", b"begin", large, memoryview(b"end"), memoryview(large)[: 1 << 16], b"", memoryview(large)[:7])
    disk.rename(FOLDER / "b", FOLDER / "a")
    assert disk.names(FOLDER) == ["a"]
    expected = b"begin" + large + b"end" + large[: 1 << 16] + large[:7]
    assert disk.read(FOLDER / "a") == disk.map(FOLDER / "a") == expected
    assert disk.names(Path("others")) == []


def test_the_space_of_deleted_files_is_used_again():
    disk = ScratchDisk()
    for _ in range(20):
        written(disk, "a", bytes(1 << 20))
        disk.remove(FOLDER / "a")
    assert disk._spool.nbytes == 0


def test_a_file_that_is_absent_is_reported_as_by_a_disk():
    disk = ScratchDisk()
    for action in (disk.read, disk.map, disk.remove):
        with pytest.raises(FileNotFoundError, match="events/a"):
            action(FOLDER / "a")


def test_a_store_on_it_keeps_two_checkpoints_and_the_generations_that_they_name():
    store = Store(FOLDER, ScratchDisk(), lasting=False)
    store.open()
    name, _ = store.write_generation({"rows": b"x" * 100})
    for number in range(4):
        store.write_checkpoint({"number": number})
        store.sweep({name})
    assert [store.read_checkpoint(number)["number"] for number in store.checkpoints()] == [3, 2]
    assert bytes(store.read_generation(name)["rows"]) == b"x" * 100


def test_a_full_temporary_folder_is_an_error_of_the_disk(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = Store(FOLDER, ScratchDisk())
    store.open()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_checkpoint({"rows": b"x" * 100})
    assert store.checkpoints() == []
