"""How much memory this process may use, as the machine and the container say. Reads files, changes nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNLIMITED = 1 << 60
"""Version 1 of cgroups writes a number near 2**63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes that the process may use at most, and who says so."""

    bytes: int
    origin: str


def memory_limit(root: Path = Path("/")) -> MemoryLimit:
    """Return the smallest of the cgroup limits (both versions) and the machine's memory; `root` is another for tests."""
    limits = [*_cgroup_limits(root), _host_limit(root)]
    return min(limits, key=lambda limit: limit.bytes)


def _host_limit(root: Path) -> MemoryLimit:
    try:
        found = re.search(r"^MemTotal:\s*(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    total = int(found[1]) * 1024 if found else int(psutil.virtual_memory().total)
    return MemoryLimit(total, "the machine's memory")


def _cgroup_limits(root: Path) -> Iterator[MemoryLimit]:
    """Yield the limit of the process's own control group and of each one above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not path:
            continue
        if not controllers:
            yield from _walk(root / "sys/fs/cgroup", path, "memory.max", "cgroup v2")
        elif "memory" in controllers.split(","):
            yield from _walk(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "cgroup v1")


def _walk(mount: Path, path: str, name: str, version: str) -> Iterator[MemoryLimit]:
    own = mount / path.strip("/")
    # Inside a container the path is often the host's, and only the mount itself is there.
    for folder in (own, *own.parents):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            text = "max"
        if text.isdigit() and int(text) < _UNLIMITED:
            yield MemoryLimit(int(text), f"the limit of the container ({version})")
        if folder == mount:
            return
