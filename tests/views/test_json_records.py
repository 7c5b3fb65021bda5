"""If a JSON record has a member twice, the last one counts, in every view that reads JSON. Other readers differ.

`findings/json-member-twice.sh` shows what other readers do (polars 2.1.0 takes the first one; pyarrow and DuckDB raise).
"""

import json
from typing import Any

import pytest

from actors.views.kinds import VIEWS
from tests.support.polled import polled


@pytest.mark.parametrize(
    ("view", "record", "member", "other"),
    [
        ("uniques", {"ts": 1_468_244_384, "uid": "last"}, "uid", "first"),
        ("uniques", {"ts": 1_468_244_384, "uid": "last"}, "ts", 7),
        ("words", {"event_type": "last", "data": "a b", "timestamp": 1_513_765_893}, "event_type", "first"),
        ("words", {"event_type": "last", "data": "a b", "timestamp": 1_513_765_893}, "data", "c"),
        ("segments", {"batch_id": 4, "segment_id": 2, "data": [1, 2]}, "batch_id", 3),
        ("segments", {"batch_id": 4, "segment_id": 2, "data": [1, 2]}, "data", [9]),
    ],
)
def test_the_last_of_two_equal_members_counts(view: str, record: dict[str, Any], member: str, other: Any):
    once = json.dumps(record)
    twice = f"{{{json.dumps(member)}: {json.dumps(other)}, {once[1:]}"
    view_of = VIEWS[view](spool=None) if view == "segments" else VIEWS[view]()

    def read(text: str) -> str:
        decoded = view_of.decode(polled([text.encode()]))
        assert not decoded.refusals
        batch = decoded.batch
        columns = (batch.batch_ids, batch.segment_ids, batch.runs) if view == "segments" else batch
        return repr((decoded.times, columns))

    assert read(twice) == read(once)
    assert read(json.dumps({**record, member: other})) != read(once), "the member is used"
