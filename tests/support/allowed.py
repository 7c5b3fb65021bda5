"""The gateway's limits as the settings make them, for tests that put the gateway together themselves."""

from dataclasses import replace
from typing import Any

from config.settings import Http
from gateway.wire.limits import Allowance
from scripts.service.in_force import limits_of


def allowance(**changed: Any) -> Allowance:
    """Return the default limits, with those in `changed` in their place."""
    return Allowance(replace(limits_of(Http(), 64 << 20), **changed))
