"""How much memory this process may use, as the machine and the container say, and how much it has.

Reads files, changes nothing. Used by the composition root, and once a second while streams run.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNLIMITED = 1 << 60
"""Version 1 of cgroups writes a number near 2**63 where there is no limit."""

_CGROUP_V2 = ("memory.max", "memory.high")
"""Above the first one a process is killed, above the second one it is slowed down until it hardly moves."""

_CGROUP_V1 = ("memory.limit_in_bytes",)
_MOST_BYTES = 65_536
_TOTAL = re.compile(rb"^MemTotal:\s*(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(rb"^Rss(Anon|File|Shmem):\s*(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes that the process may use at most, and who says so."""

    bytes: int
    origin: str


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of this process in memory.

    `held` are its own, that only the process can give back: anonymous and shared memory. `mapped` are pages of files, such as
    libraries: the system takes them back when memory is short, and reads them again.
    """

    held: int
    mapped: int

    @property
    def total(self) -> int:
        """What is called the resident set."""
        return self.held + self.mapped


class MemoryMeter:
    """Measures again at every call, so what changes while the process runs is seen. `root` is another one for tests.

    Reads of a file each, no locks: for any thread, once a second or more often. On a machine without /proc psutil measures.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._groups = b""
        self._limits: tuple[tuple[str, str], ...] = ()

    def limit(self) -> MemoryLimit:
        """Return the smallest of the cgroup limits (both versions) and the machine's memory. Cost: some 60 us.

        Where the limits stand is found out again only when the process is moved to another control group.
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
        """Return what the process has in memory. Cost: some 15 us."""
        found = {name: int(kilobytes) << 10 for name, kilobytes in _RESIDENT.findall(_read(f"{self._root}/proc/self/status"))}
        if len(found) < 3:  # no Linux, or one older than 4.5
            return Resident(int(psutil.Process().memory_info().rss), 0)
        return Resident(found[b"Anon"] + found[b"Shmem"], found[b"File"])

    def _host(self) -> MemoryLimit:
        found = _TOTAL.search(_read(f"{self._root}/proc/meminfo"))
        total = int(found[1]) << 10 if found else int(psutil.virtual_memory().total)
        return MemoryLimit(total, "the machine's memory")


def memory_limit(root: Path = Path("/")) -> MemoryLimit:
    """Return what a new `MemoryMeter` says the limit is."""
    return MemoryMeter(root).limit()


def _read(path: str) -> bytes:
    """Return the beginning of a file, or nothing where there is none: groups come and go. Cost: a third of `read_bytes`."""
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
    """Yield where the limits of the process's own control group and of each one above it stand, and what they are."""
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
    # Inside a container the path is often the host's, and only the mount itself is there; a limit may also be set later.
    for folder in (own, *own.parents):
        for name in names:
            yield str(folder / name), origin
        if folder == mount:
            return
