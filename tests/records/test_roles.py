"""Each view reads JSON records to the same events as its own format, and refuses what a role does not take."""

import json
import random
from typing import Any

import numpy as np
import pytest

from actors.durability.spool import Spool
from actors.records.form import Form, TimeAt
from actors.views.kinds import VIEWS
from actors.views.top.arguments import CLEAR_KEY, CLEAR_VALUE
from tests.support.polled import polled
from tests.support.samples import JSON, SAMPLES, Run

AT = TimeAt("/at", "s")
WORDS = Form({"type": "/k", "text": "/t"}, AT)
UNIQUES = Form({"user": "/u"}, AT)
TOP = Form({"id": "/id", "value": "/v"})
SEGMENTS = Form({"batch": "/b", "segment": "/s", "data": "/d"})


def refused(view: Any, record: Any) -> str | None:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    decoded = view.decode(polled([raw]))
    return decoded.refusals[0].reason if decoded.refusals else None


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("seed", range(3))
def test_json_records_give_the_answers_of_the_views_own_format(name: str, seed: int):
    plain, own = Run(name), Run(f"{name} of JSON records")
    records, shape, _ = JSON[name]
    for values, _ in zip(records(random.Random(seed)), range(8), strict=False):
        given = [json.loads(value) if value.startswith(b"{") else value.decode().split("_") for value in values]
        plain.poll(values, idle=False)
        own.poll([json.dumps(shape(each)).encode() for each in given], idle=False)
        for run in (plain, own):
            run.age(random.Random(0))
    assert plain.events == own.events > 0
    assert plain.answers() == own.answers()


def counted(view: Any, values: list[bytes]) -> bytes:
    run = Run("words")
    run.view, run.live = view, view.open(None)
    run.poll(values, idle=False)
    return b"".join(run.answers())


@pytest.mark.parametrize("alphabetic", [False, True])
def test_words_of_any_text_are_counted_as_by_the_own_format(alphabetic: bool):
    options = {"words": "alphabetic" if alphabetic else "any"}
    texts = [
        "lorem",
        "ä ö",
        "a\tb\nc",
        "x\u2003y",
        "",
        "\x7f",
        "é",
        "a" * 300,
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ]
    rows = [
        (kind, text, 1_513_765_893 + number)
        for number, (kind, text) in enumerate((k, t) for k in ("a", "\n", "ß") for t in texts)
    ]
    own = [json.dumps({"event_type": kind, "data": text, "timestamp": at}).encode() for kind, text, at in rows]
    other = [json.dumps({"at": at, "t": text, "k": kind}).encode() for kind, text, at in rows]
    plain, form = VIEWS["words"](**options), VIEWS["words"](**options, record=WORDS)
    accepted = [refused(plain, value) is None for value in own]
    assert [refused(form, value) is None for value in other] == accepted
    kept = [index for index, fits in enumerate(accepted) if fits]
    assert counted(plain, [own[index] for index in kept]) == counted(form, [other[index] for index in kept])


def test_a_user_may_be_a_number_which_differs_from_its_digits_as_text():
    values = ["1", 1, 1.0, "1.0", -1, "-1", 2**53 + 1, "", "é", "\u00ff1"]
    view = VIEWS["uniques"](record=UNIQUES)
    decoded = view.decode(polled([json.dumps({"u": value, "at": 5}).encode() for value in values] + [b'{"u":10e-1,"at":5}']))
    hashes = decoded.batch.hashes.tolist()
    assert decoded.accepted is None
    assert hashes[1] == hashes[2] == hashes[10] != hashes[0]
    assert len(set(hashes)) == len(values) - 1
    text = VIEWS["uniques"]().decode(polled([b'{"uid":"1","ts":5}']))
    assert text.batch.hashes[0] == hashes[0], "a text is the same user as in the view's own format"


@pytest.mark.parametrize(
    ("view", "form", "record", "reason"),
    [
        ("uniques", UNIQUES, {"u": 1.5, "at": 1}, "/u: expected text or a whole number of 64 bits, got a fraction"),
        ("uniques", UNIQUES, {"u": 2**63, "at": 1}, "/u: expected text or a whole number of 64 bits, got a larger one"),
        ("uniques", UNIQUES, {"u": None, "at": 1}, "/u: expected text or a whole number of 64 bits, got null"),
        ("uniques", UNIQUES, {"u": "a", "at": -1}, "/at: expected a number of seconds since 1970, in the years 1970 to 9999, got an earlier one"),
        ("uniques", UNIQUES, {"u": "a", "at": 253_402_300_800}, "/at: expected a number of seconds since 1970, in the years 1970 to 9999, got a later one"),
        ("uniques", UNIQUES, {"u": "a", "at": 253_402_300_799.999}, None),
        ("words", WORDS, {"k": 1, "t": "a", "at": 1}, "/k: expected text, got a number"),
        ("words", WORDS, {"k": "a", "at": 1}, "/t: expected text, got nothing"),
        ("words", WORDS, {"k": "a", "t": "b", "at": -62_135_596_800}, None),
        ("top", TOP, {"id": "a_b c", "v": -(2**63)}, None),
        ("top", TOP, {"id": "a", "v": 2**63}, "/v: expected a whole number of 64 bits, got a larger one"),
        ("top", TOP, {"id": "a", "v": -(2**63) - 1}, "/v: expected a whole number of 64 bits, got a smaller one"),
        ("top", TOP, {"id": "a", "v": 1.5}, "/v: expected a whole number of 64 bits, got a fraction"),
        ("top", TOP, {"id": "a", "v": 15e1}, None),
        ("top", TOP, {"id": "a\n", "v": 1}, "/id: expected text in one line of at most 65,536 bytes, or a whole number of 64 bits, got text with control characters"),
        ("segments", SEGMENTS, {"b": 1, "s": 3, "d": []}, "/s: expected a whole number from 0 to 2, got a larger one"),
        ("segments", SEGMENTS, {"b": 1, "s": -1, "d": []}, "/s: expected a whole number from 0 to 2, got a smaller one"),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": [2, 1]}, "/d: expected an ascending list of whole numbers of 64 bits, got numbers that do not ascend"),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": [1.5]}, "/d: expected an ascending list of whole numbers of 64 bits, got a list with other values"),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": [2**63]}, "/d: expected an ascending list of whole numbers of 64 bits, got a list with other values"),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": {}}, "/d: expected an ascending list of whole numbers of 64 bits, got an object"),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": list(range(9_000))}, None),
        ("segments", SEGMENTS, {"b": 1, "s": 0, "d": [*range(9_000), 7]}, "/d: expected an ascending list of whole numbers of 64 bits, got numbers that do not ascend"),
    ],
)  # fmt: skip
def test_a_role_refuses_what_it_does_not_take(view: str, form: Form, record: Any, reason: str | None):
    options: dict[str, Any] = {"segments": 3, "spool": Spool(None)} if view == "segments" else {}
    assert refused(VIEWS[view](**options, record=form), record) == reason


def test_tombstones_and_clears_of_top_work_among_json_records():
    values = [b'{"id":"a","v":1}', b'{"id":7,"v":2}', None, None, b"{", CLEAR_VALUE, CLEAR_VALUE, None]
    decoded = VIEWS["top"](record=TOP).decode(polled(values, keys={2: b"7", 3: b"\xff", 5: CLEAR_KEY}))
    assert decoded.batch.ids.take(np.arange(2)) == [b"a", b"7"]
    assert decoded.batch.values.tolist() == [1, 2]
    assert (decoded.batch.clears.size, decoded.batch.tombstones.ids.take(np.arange(1))) == (1, [b"7"])
    assert decoded.refusals == [(3, "not_utf8"), (4, "not_json"), (6, "not_json"), (7, "empty")]
    assert decoded.times.size == 4


def test_every_view_has_a_sample_of_json_records():
    assert {*JSON, "sets", "funnel"} == set(SAMPLES)


@pytest.mark.parametrize(
    ("view", "form", "record"),
    [
        ("uniques", UNIQUES, lambda chance: {"u": chance.choice(["a", "1", f"u{chance.randrange(9)}", "é"]), "at": chance.randrange(9)}),
        ("uniques", UNIQUES, lambda chance: {"at": chance.randrange(10**11, 10**12), "u": chance.randrange(9)}),
        ("words", WORDS, lambda chance: {"k": chance.choice("ab\n"), "t": chance.choice(["a  b", "", "é"]), "at": chance.randrange(99)}),
        ("top", TOP, lambda chance: {"id": chance.choice(["a", "b_c", "\t"]), "v": chance.choice([1, -1, 7.0, 10**17])}),
        ("top", TOP, lambda chance: {"id": chance.randrange(10**6), "v": chance.randrange(10**9)}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_many_records_are_decoded_as_each_alone(view: str, form: Form, record: Any, seed: int):
    chance, own = random.Random(seed), VIEWS[view](record=form)
    values = [json.dumps(record(chance)).encode() for _ in range(400)]
    whole = own.decode(polled(values))
    accepted = np.ones(400, np.bool_) if whole.accepted is None else whole.accepted
    refusals, columns = [], []
    for place, value in enumerate(values):
        alone = own.decode(polled([value], first=place))
        refusals += [(place, refusal.reason) for refusal in alone.refusals]
        assert accepted[place] == (not alone.refusals)
        if not alone.refusals:
            columns.append((int(alone.times[0]), *rest(view, alone.batch)[0]))
    assert whole.refusals == refusals
    if view == "words":
        kept = [value for value, fits in zip(values, accepted, strict=True) if fits]
        one_by_one = Run("words")
        one_by_one.view, one_by_one.live = own, own.open(None)
        for value in kept:
            one_by_one.poll([value], idle=False)
        assert b"".join(one_by_one.answers()) == counted(own, kept)
    else:
        assert [(time, *each) for time, each in zip(whole.times.tolist(), rest(view, whole.batch), strict=True)] == columns


def rest(view: str, batch: Any) -> list[tuple[Any, ...]]:
    """Return what each event of a batch has beside its time."""
    if view == "words":
        return [()] * batch.count
    if view == "uniques":
        return [(each,) for each in batch.hashes.tolist()]
    return list(zip(batch.ids.take(np.arange(batch.values.size)), batch.values.tolist(), batch.places.tolist(), strict=True))


@pytest.mark.parametrize(
    ("record", "sets", "top"),
    [
        (b'{"type":"created"}', "STEP_TIME such as created_1795773600000", "ID_VALUE such as 11111111_10"),
        (b' {"a_b":1}', "STEP_TIME such as created_1795773600000", "ID_VALUE such as 11111111_10"),
        (b"[" + b"1," * 40_000 + b"1]", "STEP_TIME such as created_1795773600000", "ID_VALUE such as 11111111_10"),
        (b"paid_x", "no_number", "no_number"),
        (b"{_1", None, None),
        (b"{_-1", "negative", None),
        (b'{"\xff', "not_utf8", "not_utf8"),
    ],
)
def test_json_without_a_form_is_refused_with_what_is_expected(record: bytes, sets: str | None, top: str | None):
    for view, wanted in ((VIEWS["sets"](steps=["created", "{", "paid"], max_sets=9), sets), (VIEWS["top"](), top)):
        said = f"expected {wanted}, got JSON: use record.format" if wanted and "such as" in wanted else wanted
        assert refused(view, record) == said
