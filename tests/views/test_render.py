"""Sets as text, pages and cursors."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.timeline.span import EVER, Span
from actors.views.sets.arguments import Cursor, Page
from actors.views.sets.render import page
from actors.views.sets.view import SetsView
from scripts.lab.truth import greedy
from tests.support.rendered import rendered
from tests.views.test_slices import Chain, batch

ALL = Page()


def text(view: SetsView, pieces: tuple, span: Span = EVER, arguments: Page = ALL, form: str = "json", **members: object) -> str:
    return b"".join(rendered(view, pieces, span, arguments, form, members)).decode()


def whole(chain: Chain, span: Span, arguments: Page) -> tuple:
    chosen = chain.view.select([each.meta() for each in chain.frozen], span, arguments)
    parts = [chain.frozen[index].read(span, arguments) for index in chosen]
    return chain.view.merge([*parts, chain.live.read(span, arguments)])


def test_one_set_is_written_in_the_documented_form():
    chain = Chain(3, 10)
    view = SetsView(steps=["R", "G", "B"], max_sets=10)
    chain.add(batch([(1685695916, 0), (1685695917, 1), (1685695918, 2)]), None)
    assert text(view, whole(chain, EVER, Page())) == (
        '{"sets":[{"r":{"name":"red","timestamp":1685695916},"g":{"name":"green","timestamp":1685695917},'
        '"b":{"name":"blue","timestamp":1685695918}}]}'
    )
    assert text(view, ()) == '{"sets":[]}'
    assert text(view, (), coverage=1) == '{"sets":[],"coverage":1}'
    assert text(view, whole(chain, EVER, Page()), form="ndjson").count("\n") == 1


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="_ "), min_size=1), min_size=2, max_size=4, unique_by=str.lower
    )
)
def test_steps_of_any_name_make_valid_json(steps: list[str]):
    view = SetsView(steps=steps, max_sets=10)
    live = view.open(None)
    live.add(batch([(number, number) for number in range(len(steps))], len(steps)), None)
    (only,) = json.loads(text(view, live.read(EVER, Page())))["sets"]
    assert [each["timestamp"] for each in only.values()] == list(range(len(steps)))
    assert list(only) == [step.lower() for step in steps]


@pytest.mark.parametrize("seed", range(80))
def test_joined_pages_are_the_whole_answer_even_if_generations_age_between_them(seed: int):
    chance = random.Random(seed)
    events = sorted((chance.randrange(60), chance.randrange(3)) for _ in range(200))
    chain = Chain(3, chance.choice([1, 3, 1_000]))
    chain.add(batch(events), 99)
    start = chance.randrange(40)
    span = Span(start, start + chance.randrange(60))
    wanted = [each for each in greedy(events, 3) if span.start <= each[0] < span.end]
    limit, cursor, found = chance.randrange(1, 6), None, []
    while True:
        arguments = Page(limit, cursor)
        following, count = None, 0
        for block, place in page(whole(chain, span, arguments), span, arguments):
            following = place
            got = [tuple(map(int, each)) for each in zip(*block, strict=True)]
            found += got
            count += len(got)
        assert count <= limit
        assert len(found) <= len(wanted)
        if following is None:
            break
        assert count == limit
        cursor = Cursor.parse(str(following), steps=3)
        # More events, and a retirement of what is asked for: the cursor does not mind.
        chain.add(batch([(1_000 + len(found), 0)]), None)
        frozen, carry = chain.live.freeze()
        chain.frozen.append(frozen)
        chain.live = chain.view.open(carry)
    assert found == wanted


@pytest.mark.parametrize(
    "wrong", ["", "1", "1.2.3", "1.2.3.4.5", "a.b.c.d", "1.2.3.-1", "1.2.3.4 ", "1..2.3", "9" * 30 + ".1.1.1"]
)
def test_an_invalid_cursor_is_refused(wrong: str):
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.parse(wrong, steps=3)


def test_selection_for_a_short_page_touches_few_of_many_generations():
    chain = Chain(3, 10)
    chain.add(batch([(10 * number, number % 3) for number in range(3_000)]), None)
    metas = [each.meta() for each in chain.frozen]
    assert len(metas) == 100
    assert len(chain.view.select(metas, EVER, Page(15))) <= 3
    assert len(chain.view.select(metas, EVER, Page())) == 100


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_span_is_exact_at_both_ends(form: str):
    chain = Chain(3, 2)
    view = SetsView(steps=["R", "G", "B"], max_sets=2)
    chain.add(batch([(10 * number + step, step) for number in range(10) for step in range(3)]), None)
    for start in (19, 20, 21):
        for end in (49, 50, 51):
            span = Span(start, end)
            written = text(view, whole(chain, span, Page()), span, form=form)
            sets = [json.loads(line) for line in written.splitlines()] if form == "ndjson" else json.loads(written)["sets"]
            assert [each["r"]["timestamp"] for each in sets] == [time for time in range(0, 100, 10) if start <= time < end]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_of_many_equal_sets_neither_repeat_nor_skip_one(seed: int, limit: int):
    chance = random.Random(seed)
    events = sorted((chance.randrange(3), chance.randrange(3)) for _ in range(120))
    chain = Chain(3, chance.choice([1, 2, 5, 1_000]))
    chain.add(batch(events), None)
    found, cursor = [], None
    for _ in range(200):
        arguments, following = Page(limit, cursor), None
        for block, place in page(whole(chain, EVER, arguments), EVER, arguments):
            following = place
            found += [tuple(map(int, each)) for each in zip(*block, strict=True)]
        if following is None:
            break
        cursor = Cursor.parse(str(following), steps=3)
    assert found == greedy(events, 3)
    assert len(set(found)) < len(found)


@pytest.mark.parametrize("limit", [1_023, 1_024, 1_025, 2_048, 2_999, 3_000, 3_001])
def test_a_page_longer_than_a_block_ends_where_it_should_and_says_whether_more_follows(limit: int):
    chain = Chain(3, 1_100)
    view = SetsView(steps=["R", "G", "B"], max_sets=1_100)
    chain.add(batch([(10 * number + step, step) for number in range(3_000) for step in range(3)]), None)
    arguments = Page(limit)
    answer = json.loads(text(view, whole(chain, EVER, arguments), EVER, arguments))
    assert [each["r"]["timestamp"] for each in answer["sets"]] == [10 * number for number in range(min(limit, 3_000))]
    assert ("next" in answer) == (limit < 3_000)
    if limit < 3_000:
        arguments = Page(limit, Cursor.parse(answer["next"], steps=3))
        (first, *_) = json.loads(text(view, whole(chain, EVER, arguments), EVER, arguments))["sets"]
        assert first["r"]["timestamp"] == 10 * limit


def test_step_names_with_quotes_percent_signs_and_letters_of_any_script_are_escaped():
    steps = ['"', "%d%%", "grün", "\N{SNOWFLAKE}\\"]
    view = SetsView(steps=steps, max_sets=10)
    live = view.open(None)
    live.add(batch([(number, number) for number in range(4)], 4), None)
    written = text(view, live.read(EVER, Page()))
    (only,) = json.loads(written)["sets"]
    assert only == {step.lower(): {"name": step, "timestamp": number} for number, step in enumerate(steps)}
    assert written.isascii()


def test_the_largest_time_is_written_and_paged():
    most = 2**63 - 1
    chain = Chain(3, 10)
    view = SetsView(steps=["R", "G", "B"], max_sets=10)
    chain.add(batch([(most, 0), (most, 1), (most, 2)] * 2), None)
    answer = json.loads(text(view, whole(chain, EVER, Page(1)), EVER, Page(1)))
    assert answer["sets"][0]["b"]["timestamp"] == most
    after = Page(1, Cursor.parse(answer["next"], steps=3))
    rest = json.loads(text(view, whole(chain, EVER, after), EVER, after))
    assert len(rest["sets"]) == 1
    assert "next" not in rest
