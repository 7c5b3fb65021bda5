#!/usr/bin/env bash
# msgspec rounds a time with more than six decimals to the nearest microsecond, up into the next second, day or year if need be.
#
# The standard library and pydantic cut the same text off. So an event of the last 500 ns of a day is counted on the next day
# by a consumer that decodes it with msgspec, and on the right day by one that does not.
# Seen with msgspec 0.22.0 and pydantic 2.14.3: 2026-12-31T23:59:59.9999999Z is in 2027 for msgspec, in 2026 for the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0 pydantic==2.14.3
"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
from datetime import datetime

import msgspec
import pydantic

TEXT = "2026-12-31T23:59:59.9999999Z"
seen = {
    "msgspec": msgspec.json.decode(json.dumps(TEXT), type=datetime).isoformat(),
    "datetime": datetime.fromisoformat(TEXT).isoformat(),
    "pydantic": pydantic.TypeAdapter(datetime).validate_json(json.dumps(TEXT)).isoformat(),
}
for name, shown in seen.items():
    print(f"{name:9} {TEXT} -> {shown}")
cut = "2026-12-31T23:59:59.999999+00:00"
sys.exit("the behaviour has changed" if seen != {"msgspec": "2027-01-01T00:00:00+00:00", "datetime": cut, "pydantic": cut} else 0)
PYTHON
