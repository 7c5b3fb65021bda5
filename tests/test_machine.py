"""The memory that a process may use, on machines of every kind."""

from pathlib import Path

import pytest

from config.machine import memory_limit


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


def test_without_proc_the_library_says_it(tmp_path: Path):
    assert memory_limit(tmp_path).bytes > 0


def test_a_meminfo_without_a_total_is_as_good_as_none(tmp_path: Path):
    root = machine(tmp_path, "0::/\n")
    (root / "proc/meminfo").write_text("MemFree: 1 kB\n")
    assert memory_limit(root) == memory_limit(tmp_path / "elsewhere")
