"""Waiting until something becomes true, without a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], *, timeout_s: float = 30.0) -> T:
    """Return the first true value of `look()`. Fails after `timeout_s`, with the last value."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain; seen last: {seen!r}"
        time.sleep(0.005)
    return seen
