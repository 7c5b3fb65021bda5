#!/usr/bin/env bash
# DuckDB decides the types of an NDJSON file by a sample of its first 20,480 lines. Later values are changed to fit, without an error.
#
# A column of integers reads a later 1.5 as 2. A column that was null in the sample reads later text as NULL. pyarrow reads both
# values, and polars stops with an error. A stream whose prices begin with whole numbers sums up wrongly in DuckDB.
# Seen with DuckDB 2.0.0, pyarrow 26.0.1 and polars 2.1.0. `sample_size=-1` or `columns={...}` gives the right values in DuckDB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 pyarrow==26.0.1 polars==2.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import duckdb
import polars
import pyarrow.json

LINES = 21_000
with open("prices.ndjson", "w") as file:
    for number in range(LINES):
        file.write('{"price":1,"note":null}\n' if number < LINES - 1 else '{"price":1.5,"note":"late"}\n')

LAST = "SELECT price, note FROM read_ndjson('prices.ndjson'{}) ORDER BY price DESC LIMIT 1"
seen = {
    "duckdb": duckdb.sql(LAST.format("")).fetchall()[0],
    "duckdb, sample_size=-1": duckdb.sql(LAST.format(", sample_size=-1")).fetchall()[0],
    "pyarrow": tuple(pyarrow.json.read_json("prices.ndjson").slice(LINES - 1).to_pylist()[0].values()),
}
try:
    seen["polars"] = polars.read_ndjson("prices.ndjson").row(LINES - 1)
except polars.exceptions.ComputeError as error:
    seen["polars"] = type(error).__name__
for name, row in seen.items():
    print(f"{name:23} {row}")
right = (1.5, "late")
expected = {"duckdb": (2, None), "duckdb, sample_size=-1": right, "pyarrow": right, "polars": "ComputeError"}
sys.exit("the behaviour has changed" if seen != expected else 0)
PYTHON
