"""Exactly the records that are not UTF-8 are found."""

from hypothesis import given
from hypothesis import strategies as st

from actors.columns.utf8 import NO_TEXT, text_only


def is_text(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


PIECES = st.binary(max_size=4) | st.text(max_size=3).map(str.encode) | st.just(b"\xc3") | st.just(b"\xa4") | st.none()


@given(st.lists(PIECES, max_size=60))
def test_each_record_is_checked_alone(values: list[bytes | None]):
    assert list(text_only(values)) == [value if is_text(value) else NO_TEXT for value in values]


def test_a_poll_without_any_utf8_is_masked_completely():
    assert set(text_only([b"\xfe\xff"] * 500)) == {NO_TEXT}
