"""The form of a stream's records: in which member each role is. Made from the configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.records.encoding import Encoding


@dataclass(frozen=True, slots=True)
class TimeAt:
    """The member that has the time, and its unit: s, ms, us, ns or rfc3339. `pointer` None: the record's own time in Kafka."""

    pointer: str | None
    unit: str = "ms"


@dataclass(frozen=True, slots=True)
class Form:
    """`members` has the JSON Pointer of each role other than the time, whose unit is to be `unit`.

    `names` has the texts that stand for a name, for a role whose values are names. Without an `encoding`, records are JSON.
    """

    members: Mapping[str, str] = field(default_factory=dict)
    time: TimeAt | None = None
    unit: str = "ms"
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    encoding: Encoding | None = None
