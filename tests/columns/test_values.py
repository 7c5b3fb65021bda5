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
