"""Waiting for something that another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class OverdueError(TimeoutError):
    """Something did not happen in the time that it may take."""


def until(look: Callable[[], T], limit_s: float, what: str, *, every_s: float = 0.005) -> T:
    """Return the first true value of `look()`, which is called every `every_s` seconds. Raises OverdueError after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise OverdueError(f"waited {limit_s:.0f} s for {what}")
        time.sleep(every_s)
    return seen
