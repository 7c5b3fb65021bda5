"""The types that settings are made of: a frozen model, whole numbers and amounts of memory; and which values are secret."""

import math
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_serializer

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KB|KiB|MB|MiB|GB|GiB)?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECRET = re.compile(r"passw(or)?d|secret|key|token|jaas|authorization|credential|\.pem\b", re.IGNORECASE)
HIDDEN = "***"
TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
"""The names that Kafka allows for a topic."""


def secret(name: str) -> bool:
    """Whether the value of a setting or log field with this name must not be printed."""
    return _SECRET.search(name) is not None


class Model(BaseModel):
    """A part of the settings: frozen, without unknown keys, and without values in its error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


def _no_flag(given: object) -> object:
    # Otherwise YAML's true would count as 1.
    if isinstance(given, bool):
        raise ValueError("an integer")  # noqa: TRY004  # pydantic reports only a ValueError
    return given


Whole = Annotated[int, BeforeValidator(_no_flag)]


class Budget(BaseModel):
    """An amount of memory: bytes, or a share of what the process may use.

    >>> Budget.parse("256MiB").resolve(10**9), Budget.parse("60%").resolve(1000)
    (268435456, 600)
    """

    model_config = ConfigDict(frozen=True)

    amount: float
    share: bool

    @classmethod
    def parse(cls, given: object) -> "Budget":
        """Read `60%`, `256MiB` or a number of bytes. Raises ValueError for anything else."""
        if isinstance(given, Budget):
            return given
        text = str(given).strip()
        if found := _PERCENT.fullmatch(text):
            if not 0 < float(found[1]) <= 100:
                raise ValueError("a share above 0% and up to 100%")
            return cls(amount=float(found[1]) / 100, share=True)
        found = None if isinstance(given, bool) else _SIZE.fullmatch(text)
        amount = float(found[1]) * _UNITS[(found[2] or "B").lower()] if found else 0.0
        if not 1 <= amount < math.inf:
            raise ValueError("bytes such as 256MiB, or a share such as 60%")
        return cls(amount=amount, share=False)

    @model_serializer
    def _written(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Write the amount as `parse` reads it.

        >>> str(Budget.parse("60 %")), str(Budget.parse(256 << 20)), str(Budget.parse(1000))
        ('60%', '256MiB', '1000')
        """
        if self.share:
            return f"{self.amount * 100:g}%"
        unit = next((unit for unit in ("GiB", "MiB", "KiB") if self.amount % _UNITS[unit.lower()] == 0), "")
        return f"{self.amount / _UNITS[unit.lower() or 'b']:.0f}{unit}"

    def resolve(self, limit_bytes: int) -> int:
        """Return the amount in bytes, if the process may use `limit_bytes`."""
        return int(self.amount * limit_bytes) if self.share else int(self.amount)
