"""Hooks of schemathesis: rules for which JSON Schema has no words.

A range must not end before it begins, `last` excludes a range, and buckets of uniques have whole minutes; the descriptions
state these as text. Each parameter is valid by its schema, so `positive_data_acceptance` would expect 200 and not 400. This
check is the same except for these rules. It reads them from the request and not from the response, so a refusal of anything
else still fails.
"""

import contextlib
import re
import time
from fractions import Fraction
from typing import Any

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from actors.timeline.unit import DURATION, duration_ns
from gateway.api.instants import moment, number


@schemathesis.check
def fitting_data_acceptance(ctx: CheckContext, response: Response, case: schemathesis.Case) -> bool | None:
    """Check that a request that follows schema and rules is answered, and that one that breaks a rule is refused."""
    if breaks_a_rule(case):
        # Another parameter may be wrong too, or the memory be in use: then the request is refused as well.
        assert response.status_code in {400, 405, 406, 429, 503}, f"a broken rule was answered with {response.status_code}"
        return None
    return positive_data_acceptance(ctx, response, case)


def breaks_a_rule(case: schemathesis.Case) -> bool:
    """Whether the request breaks one of the rules."""
    query: dict[str, Any] = dict(case.query or {})
    by = str(query.get("by", ""))
    of_uniques = "/uniques" in case.path and case.path.endswith("/summary")
    if of_uniques and re.fullmatch(DURATION, by) and duration_ns(by) % duration_ns("1m"):
        return True
    if "last" in query and {"startTime", "endTime"} & set(query):
        return True
    names = ("startTime", "endTime") if "startTime" in query else ("start", "end")
    if not set(names) <= set(query):
        return False
    per_second = 1_000 if case.path.endswith("/get-sets") else 1
    start, end = (_seconds(str(query[name]), per_second) for name in names)
    return start is not None and end is not None and start > end


def _seconds(text: str, per_second: int) -> Fraction | None:
    found = number(text)
    if found is not None:
        return Fraction(found) / per_second
    with contextlib.suppress(ValueError):
        return moment(text, time.time_ns)
    return None
