"""Columns of text against lists of byte strings."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.text import Text, state_of, texts_of

STRINGS = st.one_of(st.binary(max_size=20), st.text("ab", max_size=18).map(str.encode))


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_the_hash_of_a_string_does_not_depend_on_its_neighbours(values: list[bytes]):
    hashes = Text.of(values).hashes().tolist()
    assert hashes == [int(Text.of([value]).hashes()[0]) for value in values]
    assert len(set(hashes)) == len(set(values))


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), min_size=1, max_size=20))
def test_columns_compare_like_their_strings(pairs: list[tuple[bytes, bytes]]):
    left, right = Text.of([pair[0] for pair in pairs]), Text.of([pair[1] for pair in pairs])
    rows = np.arange(len(pairs))
    assert left.same(right, rows).tolist() == [one == other for one, other in pairs]
    prefixes = left.prefixes(8).tolist()
    assert prefixes == [int.from_bytes(one[8:16].ljust(8, b"\0"), "big") for one, _ in pairs]


@given(st.lists(STRINGS), st.lists(STRINGS, max_size=6, unique=True))
def test_a_string_is_found_among_values(strings: list[bytes], values: list[bytes]):
    found = Text.of(strings).index(values)
    assert found.tolist() == [values.index(each) if each in values else -1 for each in strings]


def test_text_is_encoded_as_utf8():
    words = ["ab", "", "ä€", "日本"]
    assert Text.of_text(words).take(np.arange(4)) == [word.encode() for word in words]
    assert Text.of_text(["ab", "c"]).hashes().tolist() == Text.of([b"ab", b"c"]).hashes().tolist()


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=20) | st.lists(st.binary(min_size=9, max_size=9), min_size=1),
    st.randoms(),
)
def test_joined_gives_the_strings_of_the_rows(values: list[bytes], chance: random.Random):
    rows = [chance.randrange(len(values)) for _ in range(chance.randrange(1, 30))]
    assert Text.of(values).joined(np.array(rows)).tobytes() == b"".join(values[row] for row in rows)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12)))
def test_texts_are_restored(texts: list[str]):
    assert texts_of(state_of(texts)) == texts


@pytest.mark.parametrize(("text", "lengths"), [(b"abc", [1, 1]), (b"abc", [4]), (b"", [1]), (b"a", []), (b"\xff", [1])])
def test_texts_that_do_not_match_their_lengths_are_refused(text: bytes, lengths: list[int]):
    with pytest.raises(ValueError, match=r"expected|utf-8"):
        texts_of((text, np.array(lengths, np.uint32)))
