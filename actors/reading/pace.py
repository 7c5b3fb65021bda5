"""How a front end reads, and when it pauses for a checkpoint. Decisions alone: the clock and the counts are handed in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Sizes in events, times in seconds. Without `checkpoint_s` there are no checkpoints."""

    poll_records: int = 4_000
    poll_s: float = 0.005
    rest_s: float = 0.01
    micro_batch: int = 6_000
    credits: int = 4
    buffer_events: int = 1_000_000
    report_s: float = 0.1
    look_s: float = 30.0
    wait_for_topic_s: float = 1.0
    checkpoint_s: float | None = None
    checkpoint_events: int = 1_000_000
