#!/usr/bin/env bash
# One JSON record in which a member comes twice: five readers, three different results.
#
# RFC 8259 allows such a record and leaves the result open; most parsers take the last member. A record of a Kafka topic that is
# counted by one tool and checked by another can therefore belong to two different users.
# Seen with the versions below: json and msgspec take the last one; polars takes the first one; pyarrow and DuckDB raise an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0 polars==2.1.0 pyarrow==26.0.1 duckdb==2.0.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import json
import sys

import duckdb
import msgspec
import polars
import pyarrow
import pyarrow.json

LINE = b'{"user":"first","user":"last"}\n'
with open("record.ndjson", "wb") as file:
    file.write(LINE)


def by_pyarrow():
    return pyarrow.json.read_json(io.BytesIO(LINE)).to_pylist()[0]["user"]


def by_duckdb():
    return duckdb.sql("SELECT user FROM read_ndjson('record.ndjson')").fetchall()[0][0]


READERS = {
    "json": lambda: json.loads(LINE)["user"],
    "msgspec": lambda: msgspec.json.decode(LINE)["user"],
    "polars": lambda: polars.read_ndjson(io.BytesIO(LINE))["user"][0],
    "pyarrow": by_pyarrow,
    "duckdb": by_duckdb,
}
EXPECTED = {"json": "last", "msgspec": "last", "polars": "first", "pyarrow": "ArrowInvalid", "duckdb": "InvalidInputException"}
seen = {}
for name, read in READERS.items():
    try:
        seen[name] = read()
    except (pyarrow.ArrowInvalid, duckdb.InvalidInputException) as error:
        seen[name] = type(error).__name__
    print(f"{name:8} {seen[name]}")
sys.exit("the behaviour has changed" if seen != EXPECTED else 0)
PYTHON
