"""Times in requests are exact: digits finer than the unit are cut off and never rounded up to the next second or year.

`findings/msgspec-datetime-rounds-up.sh` shows a library that rounds up (msgspec 0.22.0).
"""

import pytest

from gateway.api.instants import UNITS, instant

YEAR_2027_S = 1_798_761_600


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("digits", [1, 3, 6, 7, 9, 12, 40])
def test_the_last_moment_of_a_year_stays_in_the_year(unit: str, digits: int):
    per_second = UNITS[unit]
    assert instant("2027-01-01T00:00:00Z", per_second) == YEAR_2027_S * per_second
    last = instant(f"2026-12-31T23:59:59.{'9' * digits}Z", per_second)
    fraction = int("9" * min(digits, 9)) * per_second // 10 ** min(digits, 9)
    assert last == (YEAR_2027_S - 1) * per_second + fraction
    assert last < YEAR_2027_S * per_second
