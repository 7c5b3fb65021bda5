"""The memory limit of this process, set by the machine or the container, and its resident memory.

Reads files and changes nothing. Used by the composition root, and once a second while streams run.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNLIMITED = 1 << 60
"""Version 1 of cgroups writes a number near 2**63 if there is no limit."""

_CGROUP_V2 = ("memory.max", "memory.high")
"""Above the first limit a process is killed; above the second it is slowed down to almost a stop."""

_CGROUP_V1 = ("memory.limit_in_bytes",)
_MOST_BYTES = 65_536
_TOTAL = re.compile(rb"^MemTotal:\s*(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(rb"^Rss(Anon|File|Shmem):\s*(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes that the process may use at most, and the origin of that limit."""

    bytes: int
    origin: str


@dataclass(frozen=True, slots=True)
class Resident:
    """Resident bytes of this process.

    Only the process can free `held`: anonymous and shared memory. The system can drop `mapped`, pages of files such as
    libraries, when memory is short, and read them again.
    """

    held: int
    mapped: int

    @property
    def total(self) -> int:
        """The resident set size."""
        return self.held + self.mapped


class MemoryMeter:
    """Measures again at every call, because limits may change. `root` is another root folder for tests.

    Any thread may call it; a call reads a few files. On a machine without /proc, psutil measures.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._groups = b""
        self._limits: tuple[tuple[str, str], ...] = ()

    def limit(self) -> MemoryLimit:
        """Return the smallest of the cgroup limits (both versions) and the machine's memory. Cost: 60 us.

        The paths of the limits are searched again only when the process moves to another control group.
        """
        groups = _read(f"{self._root}/proc/self/cgroup")
        if groups != self._groups:
            self._limits = tuple(_limit_files(self._root, groups.decode(errors="surrogateescape")))
            self._groups = groups
        least = self._host()
        for path, origin in self._limits:
            text = _read(path).strip()
            if text.isdigit() and int(text) < min(_UNLIMITED, least.bytes):
                least = MemoryLimit(int(text), origin)
        return least

    def resident(self) -> Resident:
        """Return the resident memory. Cost: 15 us."""
        found = {name: int(kilobytes) << 10 for name, kilobytes in _RESIDENT.findall(_read(f"{self._root}/proc/self/status"))}
        if len(found) < 3:  # no Linux, or one older than 4.5
            return Resident(int(psutil.Process().memory_info().rss), 0)
        return Resident(found[b"Anon"] + found[b"Shmem"], found[b"File"])

    def _host(self) -> MemoryLimit:
        found = _TOTAL.search(_read(f"{self._root}/proc/meminfo"))
        total = int(found[1]) << 10 if found else int(psutil.virtual_memory().total)
        return MemoryLimit(total, "the machine's memory")


def memory_limit(root: Path = Path("/")) -> MemoryLimit:
    """Return the memory limit now."""
    return MemoryMeter(root).limit()


def _read(path: str) -> bytes:
    """Return the beginning of a file; empty if it is gone, as a control group may be. Cost: a third of `read_bytes`."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(opened, _MOST_BYTES)
    except OSError:  # a group that was removed in between
        return b""
    finally:
        os.close(opened)


def _limit_files(root: Path, groups: str) -> Iterator[tuple[str, str]]:
    """Yield the path and origin of each limit: of the process's own control group and of each group above."""
    for line in groups.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not path:
            continue
        if not controllers:
            yield from _walk(root / "sys/fs/cgroup", path, _CGROUP_V2, "the limit of the container (cgroup v2)")
        elif "memory" in controllers.split(","):
            yield from _walk(root / "sys/fs/cgroup/memory", path, _CGROUP_V1, "the limit of the container (cgroup v1)")


def _walk(mount: Path, path: str, names: tuple[str, ...], origin: str) -> Iterator[tuple[str, str]]:
    own = mount / path.strip("/")
    # Inside a container the path is often the host's, so only the mount exists; a limit may also be set later.
    for folder in (own, *own.parents):
        for name in names:
            yield str(folder / name), origin
        if folder == mount:
            return
