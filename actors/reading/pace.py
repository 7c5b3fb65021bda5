"""The sizes and times that decide how a front end reads, and when it makes a checkpoint."""

from dataclasses import dataclass

from actors.columns.values import Values

_SILENCE_A_REST = 50
_SILENCE_A_REPORT = 10
_LONGEST_REPORT_S = 0.5
_MOST_AT_REST = 500
_BYTES_AT_REST = 1 << 16


@dataclass(frozen=True, slots=True)
class Pace:
    """Sizes in events, times in seconds. `apart_bytes` is the memory for records whose times cannot be yet.

    `rest_s` is the pause between two polls without load, and `longest_rest_s` that of a stream that has long been silent. After
    it the stream waits for records, for `longest_wait_s` at most, if its source knows at once when there are some.
    `poll_s` is the longest wait for a full poll under load. `report_s` is the time between two reports of progress. `look_s` is
    the time between two searches for new partitions.
    """

    poll_records: int = 12_000
    poll_s: float = 0.005
    rest_s: float = 0.01
    longest_rest_s: float = 0.1
    longest_wait_s: float = 0.15
    micro_batch: int = 12_000
    credits: int = 4
    buffer_events: int = 1_000_000
    apart_bytes: int = 8 << 20
    report_s: float = 0.1
    look_s: float = 30.0
    wait_for_topic_s: float = 1.0
    checkpoint_s: float = 5.0
    checkpoint_events: int = 1_000_000

    def rest_after(self, silent_s: float) -> float:
        """Return the pause before the next poll of a stream that gave no record for `silent_s`: a fiftieth of that, in bounds.

        A poll that finds nothing takes 0.2 ms of CPU or more. The next record waits 0.1 s longer at most, and never much longer
        in comparison with the time since the last one.
        """
        return min(max(self.rest_s, silent_s / _SILENCE_A_REST), max(self.rest_s, self.longest_rest_s))

    def wait_after(self, silent_s: float) -> float:
        """Return for how long to wait for records then, before the poll."""
        return max(0.0, min(silent_s / _SILENCE_A_REST - self.longest_rest_s, self.longest_wait_s))

    def report_after(self, silent_s: float) -> float:
        """Return the time between two reports of a stream that gave no record for `silent_s`: a tenth of that, in bounds."""
        return max(self.report_s, min(silent_s / _SILENCE_A_REPORT, _LONGEST_REPORT_S))

    def shows_load(self, values: Values) -> bool:
        """Whether a poll of these values shows load: more than an eighth of a full poll, 500 records or 64 KiB.

        So a source of small blocks or long records is read without pauses too. Cost: O(values) for a poll of few records.
        """
        return len(values) > min(_MOST_AT_REST, self.poll_records // 8) or values.nbytes > _BYTES_AT_REST
