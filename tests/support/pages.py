"""Pages of the documentation as tests read them: their prose, their fences, and the commands in these.

How to write a page:

- A fence with lines that begin with `$ ` is a session: each command, then its output. A fence of the kind `pycon` is a Python session.
- `…` in an output stands for any text on that line; a line that is `…` alone stands for any number of lines.
- A backslash at the end of an output line says that the next line goes on with it.
- `tests/process/test_docs.py` runs the commands in a folder that looks like the checkout, beside a service of its own for each page:
  the default configuration on the embedded broker. On the page, `127.0.0.1:8080` means that service.
- A fence `sh no-test` is for commands that cannot run in a test; `tests/house/test_docs.py` lists them.
- A question (curl without -X, `firnline query`, Python) is asked again for some seconds until its answer is the one on the page,
  because the service reads records a moment after they are sent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.checkout import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^( *)```(.*)$")


@dataclass(frozen=True)
class Fence:
    """A block of code on a page: what stands behind its opening mark, and its lines."""

    info: str
    lines: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class Step:
    """One command, and the output that the page shows."""

    command: str
    output: str
    at: int


def fences(page: Path) -> Iterator[Fence]:
    """Yield the fences of a page."""
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and opened is None:
            opened, lines = (mark[1], mark[2].strip(), number), []
        elif mark and opened is not None:
            yield Fence(opened[1], tuple(lines), opened[2])
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[0]))
    assert opened is None, f"{page.name}:{opened[2]}: a fence that does not end"


def prose(page: Path) -> str:
    """Return a page without its fences."""
    kept, inside = [], False
    for line in page.read_text().splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def steps(fence: Fence) -> Iterator[Step]:
    """Yield the commands of a session with their outputs."""
    command: list[str] = []
    output: list[str] = []
    at = fence.at
    for number, line in enumerate(fence.lines, fence.at + 1):
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(output), at)
            command, output, at = [line[2:]], [], number
        elif command and command[-1].endswith(("\\", "|")) and not output:
            command.append(line)
        else:
            output.append(line)
    if command:
        yield Step("\n".join(command), "\n".join(output), at)


def is_session(fence: Fence) -> bool:
    return "no-test" not in fence.info and any(line.startswith("$ ") for line in fence.lines)
