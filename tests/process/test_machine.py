"""The memory that a process may use, on machines of every kind."""

import gc
import mmap
from pathlib import Path

import numpy as np
import psutil
import pytest

from config.machine import MemoryLimit, MemoryMeter, memory_limit


def machine(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemFree: 1 kB\nMemTotal:       8192 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "limit", "origin"),
    [
        ("0::/\n", {}, 8192 * 1024, "machine"),
        ("0::/a/b\n", {"a__b__memory.max": "max\n", "a__memory.max": "4096\n"}, 4096, "v2"),
        ("0::/not/here\n", {"memory.max": "5000\n"}, 5000, "v2"),
        ("4:cpu,memory:/x\n0::/\n", {"memory__x__memory.limit_in_bytes": "6000\n"}, 6000, "v1"),
        ("4:memory:/x\n", {"memory__x__memory.limit_in_bytes": "9223372036854771712\n"}, 8192 * 1024, "machine"),
        ("0::/\n", {"memory.max": "99999999999\n"}, 8192 * 1024, "machine"),
        ("\nnonsense\n0::/\n", {"memory.max": "7000\n"}, 7000, "v2"),
    ],
)
def test_the_smallest_limit_counts(tmp_path: Path, cgroup: str, files: dict[str, str], limit: int, origin: str):
    found = memory_limit(machine(tmp_path, cgroup, **files))
    assert found.bytes == limit
    assert origin in found.origin


def test_without_proc_the_library_gives_the_memory(tmp_path: Path):
    assert memory_limit(tmp_path).bytes > 0


def test_a_meminfo_without_a_total_is_ignored(tmp_path: Path):
    root = machine(tmp_path, "0::/\n")
    (root / "proc/meminfo").write_text("MemFree: 1 kB\n")
    assert memory_limit(root) == memory_limit(tmp_path / "elsewhere")


def test_a_changed_limit_and_a_move_to_another_group_are_seen(tmp_path: Path):
    root = machine(tmp_path, "0::/a\n", **{"a__memory.max": "max\n"})
    meter = MemoryMeter(root)
    assert meter.limit().bytes == 8192 * 1024
    limit = root / "sys/fs/cgroup/a/memory.max"
    for text, wanted in (("4096\n", 4096), ("2048\n", 2048), ("6000\n", 6000), ("max\n", 8192 * 1024)):
        limit.write_text(text)
        assert meter.limit().bytes == wanted
    (root / "sys/fs/cgroup/a/memory.high").write_text("3000\n")
    assert meter.limit() == MemoryLimit(3000, "the limit of the container (cgroup v2)")
    (root / "sys/fs/cgroup/b").mkdir()
    (root / "sys/fs/cgroup/b/memory.max").write_text("1000\n")
    (root / "proc/self/cgroup").write_text("0::/b\n")
    assert meter.limit().bytes == 1000
    (root / "sys/fs/cgroup/b/memory.max").unlink()
    assert meter.limit().bytes == 8192 * 1024


def test_pages_of_files_are_not_counted_as_own_memory():
    meter = MemoryMeter()
    gc.collect()
    before = meter.resident()
    own = np.ones(32 << 20)
    grown = meter.resident()
    assert abs(grown.held - before.held - own.nbytes) < own.nbytes // 10
    assert abs(grown.total - psutil.Process().memory_info().rss) < 2 << 20


def test_pages_of_a_mapped_file_are_not_counted(tmp_path: Path):
    path = tmp_path / "mapped"
    path.write_bytes(b"x" * (32 << 20))
    meter = MemoryMeter()
    before = meter.resident()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        after = meter.resident()
        assert after.mapped - before.mapped > 24 << 20
        assert after.held - before.held < 4 << 20


def test_an_old_kernel_counts_pages_of_files_as_own_memory(tmp_path: Path):
    found = MemoryMeter(machine(tmp_path, "0::/\n")).resident()
    assert found.held == found.total > 0
