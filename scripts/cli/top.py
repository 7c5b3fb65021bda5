"""The command `firnline top`: shows a running service in the terminal, as htop shows a machine."""

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from firnline.transport import HERE
from scripts.cli.frame import frame
from scripts.cli.printing import console_of
from scripts.cli.watching import Watching, watching

_REFRESH_S = 0.25
_PATIENCE_S = 20.0
_QUIT = b"qQ\x03"
_FRAME_LINES = 60
"""Lines of a frame that is not for a terminal."""


def main(
    *,
    url: Annotated[str, typer.Option(help="The address of the service.", envvar="FIRNLINE_URL")] = HERE,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end; the default without a terminal.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each snapshot as a line of JSON, until Ctrl-C; with --once, one line.")
    ] = False,
) -> None:
    """Watch a running Firnline: rates, generations, memory, actors.

    It reconnects when the service restarts. q or Ctrl-C ends it. If the service needs a token, set FIRNLINE_TOKEN.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the terminal is restored then too
    try:
        watched = watching(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    watched.start()
    try:
        if as_json:
            _print_json(watched, once=once)
        elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            _print(watched, url)
        else:
            _show(watched, url)
    except KeyboardInterrupt:
        return


def _print_json(watched: Watching, *, once: bool) -> None:
    """Print each snapshot as it comes. A problem before the first one ends the command; a later problem is printed once."""
    _await(watched, 2 if once else 1)
    number, printed = 0, None
    try:
        while True:
            if watched.wait(number, _PATIENCE_S):
                number, printed = watched.number, None
                print(json.dumps(watched.snapshot), flush=True)
                if once:
                    return
            elif watched.refused:
                sys.exit(f"top: {watched.trouble}")
            elif watched.trouble != printed:
                printed = watched.trouble
                print(f"top: {printed}", file=sys.stderr, flush=True)
            else:
                time.sleep(_REFRESH_S)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the buffer cannot be written


def _print(watched: Watching, url: str) -> None:
    """Print one frame. It needs two snapshots for the rates."""
    _await(watched, 2)
    console = console_of(120)
    for line in frame(watched.snapshot or {}, url, None, console.width, _FRAME_LINES):
        console.print(line, no_wrap=True)


def _await(watched: Watching, count: int) -> None:
    """Wait for `count` snapshots. Raises SystemExit with one line if the service cannot be watched."""
    for number in range(count):
        if not watched.wait(number, _PATIENCE_S):
            sys.exit(f"top: {watched.trouble or 'the service sends nothing'}")


class Screen:
    """The watched service as a frame of the terminal's current size."""

    def __init__(self, watched: Watching, url: str) -> None:
        self._watched = watched
        self._url = url

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the newest frame."""
        snapshot, trouble = self._watched.snapshot, self._watched.trouble
        if snapshot is None:
            yield Text(f"connecting to {self._url}" if trouble in {None, "connecting"} else str(trouble))
            yield Text("The service is shown here once it answers. q leaves.", "dim")
            return
        lines = frame(snapshot, self._url, trouble, options.max_width, options.height or console.height)
        yield Text("\n").join(lines)


def _show(watched: Watching, url: str) -> None:
    """Draw until a key ends it. Raises SystemExit if the service always refuses, such as a wrong token."""
    screen = Screen(watched, url)
    console = Console()
    with _keys() as keys, Live(screen, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while not watched.refused:
            live.refresh()
            if select.select([keys], [], [], _REFRESH_S)[0]:
                read = os.read(keys, 64)
                if not read or any(key in _QUIT for key in read):
                    return
    sys.exit(f"top: {watched.trouble}")


@contextlib.contextmanager
def _keys() -> Iterator[int]:
    """Read keys one by one and without echo; the terminal is restored in any case."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
