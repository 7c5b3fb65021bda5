"""The sizes and times that decide how a front end reads, and when it makes a checkpoint."""

from dataclasses import dataclass

from actors.columns.values import Values

_MOST_AT_REST = 500
_BYTES_AT_REST = 1 << 16


@dataclass(frozen=True, slots=True)
class Pace:
    """Sizes in events, times in seconds. `apart_bytes` is the memory for records whose times cannot be yet.

    `rest_s` is the pause between two polls without load. `poll_s` is the longest wait for a full poll under load. `report_s` is
    the time between two reports of progress. `look_s` is the time between two searches for new partitions.
    """

    poll_records: int = 12_000
    poll_s: float = 0.005
    rest_s: float = 0.01
    micro_batch: int = 12_000
    credits: int = 4
    buffer_events: int = 1_000_000
    apart_bytes: int = 8 << 20
    report_s: float = 0.1
    look_s: float = 30.0
    wait_for_topic_s: float = 1.0
    checkpoint_s: float = 5.0
    checkpoint_events: int = 1_000_000

    def shows_load(self, values: Values) -> bool:
        """Whether a poll of these values shows load: more than an eighth of a full poll, 500 records or 64 KiB.

        So a source of small blocks or long records is read without pauses too. Cost: O(values) for a poll of few records.
        """
        return len(values) > min(_MOST_AT_REST, self.poll_records // 8) or values.nbytes > _BYTES_AT_REST
