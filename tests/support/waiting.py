"""Waiting until something becomes true, without a fixed sleep."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 90.0
"""How long a test waits for something that has to come. A longer wait only makes a failed test slower."""


def until(look: Callable[[], T], *, timeout_s: float = PATIENCE_S) -> T:
    """Return the first true value of `look()`. Fails after `timeout_s`, with the last value.

    A long wait looks less often, because each look may cost processor time here and in the service or broker that it asks.
    """
    began = time.monotonic()
    while not (seen := look()):
        waited_s = time.monotonic() - began
        assert waited_s < timeout_s, f"waited {timeout_s} s in vain; seen last: {seen!r}"
        time.sleep(min(0.05, 0.005 + waited_s / 50))
    return seen


def promised(seconds: float) -> float:
    """Return the seconds that a test allows for what has to happen within `seconds` on a machine with a free processor.

    On a busy one a process waits for its turn, as long as the processes before it take. The load of the last minute comes late,
    so it counts twice; it is 1 at most on a machine with a free processor.
    """
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
