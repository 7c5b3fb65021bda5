"""Times in requests are exact: digits finer than the unit never move a start into the next second or year.

`findings/msgspec-datetime-rounds-up.sh` shows a library that rounds up (msgspec 0.22.0).
"""

import pytest

from actors.timeline.unit import UNITS
from gateway.api.instants import moment

YEAR_2027_S = 1_798_761_600


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("digits", [1, 3, 6, 7, 9, 12, 40])
def test_the_last_moment_of_a_year_stays_in_the_year(unit: str, digits: int):
    per_second = UNITS[unit]
    assert moment("2027-01-01T00:00:00Z", int) * per_second == YEAR_2027_S * per_second
    last = moment(f"2026-12-31T23:59:59.{'9' * digits}Z", int) * per_second // 1
    fraction = int("9" * min(digits, 9)) * per_second // 10 ** min(digits, 9)
    assert last == (YEAR_2027_S - 1) * per_second + fraction
    assert last < YEAR_2027_S * per_second


@pytest.mark.parametrize("text", ["2016-W28-1T13:00:00.123456Z", "20160711T130000,123456Z"])
def test_a_week_day_and_the_basic_form_are_read_exactly_or_refused(text: str):
    assert moment(text, int) == moment("2016-07-11T13:00:00.123456Z", int)
    with pytest.raises(ValueError, match="no time"):
        moment(text.replace("Z", "7Z"), int)
