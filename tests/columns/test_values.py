"""The values of a poll are the same in each form."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.values import Values
from tests.support.polled import in_columns

VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=12)


@given(VALUES, st.binary(max_size=5), st.data())
def test_columns_and_lists_hold_the_same_values(values: list[bytes | None], noise: bytes, data: st.DataObject):
    indices = np.array(sorted(data.draw(st.sets(st.integers(0, len(values) - 1))) if values else []), np.int64)
    for form in (in_columns(values, noise), Values.of(values)):
        for each, wanted in ((form, values), (form.part(indices), [values[index] for index in indices.tolist()])):
            assert (len(each), list(each), each.listed) == (len(wanted), wanted, wanted)
            assert [each[place] for place in range(len(wanted))] == wanted
            assert each.text.take(np.arange(len(wanted))) == [value or b"" for value in wanted]
            assert each.nbytes == sum(len(value or b"") for value in wanted)
            assert [None in wanted] * len(wanted) == [each.absent is not None and bool(each.absent.any())] * len(wanted)
            assert each == Values.of(wanted) == in_columns(wanted, noise)
        assert form[1:3] == values[1:3]
        assert form != [*values, b""]


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"\r")), max_size=12), st.data())
def test_lines_hold_the_same_values_as_a_list_of_them(lines: list[bytes], data: st.DataObject):
    raw = b"".join(line + b"\n" for line in lines) + bytes(8)
    lengths = np.array([len(line) for line in lines], np.int64)
    values = Values.of_lines(raw, np.cumsum(lengths + 1) - lengths - 1, lengths)
    first, last = data.draw(st.integers(0, len(lines))), data.draw(st.integers(0, len(lines)))
    for each, wanted in ((values, lines), (values[first:last], lines[first:last]), (values[::2], lines[::2])):
        assert each.listed == wanted
        assert each.text.take(np.arange(len(wanted))) == wanted
        assert (each.absent, each.nbytes) == (None, sum(map(len, wanted)))
