"""Coverage as clients see it: in the header of every answer, in its body on request, and in the metadata of tables."""

from collections.abc import Mapping

import msgspec

from actors.replies import Coverage
from actors.timeline.span import Span
from gateway.api.params import Flag
from gateway.schemas import CoverageReport, bound, bounds_of

COVERAGE = {"Firnline-Coverage": "The times for which the answer is complete, as JSON: the schema CoverageReport."}
"""The header, with its description."""

WITH_COVERAGE = Flag(name="coverage", description="1: the coverage in the body too, not in its header alone.")


def span_of(span: Span | None) -> list[int | None] | None:
    """Return a span as JSON has it: [start, end), or null. A bound that does not exist is null."""
    return None if span is None else bounds_of(span)


def coverage_of(coverage: Coverage) -> dict[str, object]:
    """Return the coverage as JSON has it."""
    members: dict[str, object] = msgspec.to_builtins(CoverageReport.of(coverage))
    return members


def coverage_header(coverage: Coverage) -> dict[str, str]:
    """Return the header `Firnline-Coverage`, which every answer has."""
    return {"Firnline-Coverage": msgspec.json.encode(CoverageReport.of(coverage)).decode()}


def coverage_within(coverage: Coverage, span: Span) -> dict[str, str]:
    """Return the metadata of a table over `span`: the coverage, clipped to that span, as JSON.

    Two answers over the same span that lack nothing have the same metadata, even if the stream has grown in between.
    `completeFrom` is null if nothing is missing at the beginning of the span.
    """
    start, end, final = coverage.complete_from, coverage.complete_to, coverage.final_until
    within: Mapping[str, object] = {
        "completeFrom": None if start is None or start <= span.start else bound(min(start, span.end)),
        "completeTo": None if end is None else bound(max(span.start, min(end, span.end))),
        "finalUntil": None if final is None else bound(max(span.start, min(final, span.end))),
        "missing": [
            bounds_of(Span(max(each.start, span.start), min(each.end, span.end)))
            for each in coverage.missing
            if each.overlaps(span)
        ],
        **({"absent": coverage.absent} if coverage.absent else {}),
    }
    return {"firnline.coverage": msgspec.json.encode(within).decode()}
