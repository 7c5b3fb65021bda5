#!/usr/bin/env bash
# Conditions on a time that DuckDB does not pass on to an Arrow dataset, so that all rows are read: no error and no sign of it.
#
# The other side must have the very type of the column. `timestamp '…'` has microseconds, so on a column of milliseconds, which
# many files have, the column is converted and compared afterwards. Text takes the type of the column, and is passed on.
# `now()` has a zone, so on any column without one the condition stays behind too; `now()::timestamp` is passed on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds


class Watched(ds.Dataset):
    """A dataset without rows that keeps the conditions of each scan."""

    def __init__(self, unit):
        self._schema = pa.schema({"t": pa.timestamp(unit)})
        self.filters = []

    @property
    def schema(self):
        return self._schema

    def scanner(self, columns=None, filter=None, **_):
        self.filters.append(filter)
        return ds.Scanner.from_batches(iter(()), schema=self._schema, columns=columns, filter=filter)


SAID = {
    ("ms", "t >= '2026-11-27 10:00:00'"): True,
    ("ms", "t >= timestamp '2026-11-27 10:00:00'"): False,
    ("us", "t >= timestamp '2026-11-27 10:00:00'"): True,
    ("us", "t >= now() - interval 1 hour"): False,
    ("us", "t >= now()::timestamp - interval 1 hour"): True,
}
seen = {}
for unit, condition in SAID:
    table = Watched(unit)
    with duckdb.connect(":memory:") as connection:
        connection.register("events", table)
        connection.execute(f"select * from events where {condition}").fetchall()
    seen[unit, condition] = table.filters[0] is not None
    print(f"column of {unit}: {condition:45} {'passed on' if seen[unit, condition] else 'all rows are read'}")
sys.stdout.flush()
os._exit(1 if seen != SAID else 0)
PYTHON
