"""The configuration: the order of its sources, the wording of its errors, and the facts of each view."""

import contextlib
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.timeline.unit import UNITS
from actors.views.kinds import VIEWS
from actors.views.uniques.arguments import GRANULARITIES
from config.fields import Budget
from config.load import SettingsError, load
from config.settings import Settings
from config.streams import STREAMS, Granularity, StreamSettings
from config.units import NANOSECONDS
from scripts.brokers.settings import refused
from scripts.checkout import ROOT
from scripts.service.plan import view_of


def problems(tmp_path: Path, text: str, *overrides: str, **environ: str) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, overrides, environ)
    return [problem.replace(str(path), "x.yaml") for problem in caught.value.problems]


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "config").glob("*.yaml"))])
def test_the_shipped_files_are_valid(name: str):
    settings = load(ROOT / "config" / name, [], {})
    assert settings.kafka == {"bootstrap.servers": "embedded"}
    assert settings.http.host == "127.0.0.1"


def test_the_default_file_has_the_defaults():
    settings = load(None, [], {})
    streams = {
        "events": {},
        "dataset": {"view": "top", "source": {"topic": "dataset", "partitions": 10}},
        "segments": {
            "view": "segments",
            "source": {"topic": "segment-topic", "partitions": 10},
            "output": {"file": ".firnline/output.txt"},
        },
        "uniques": {
            "view": "uniques",
            "source": {"topic": "messages"},
            "output": {"topic": "output"},
            "lateness_ms": 5_000,
            "idle_ms": 1_000,
        },
        "words": {"view": "words", "source": {"topic": "words"}, "lateness_ms": 1_000},
        "funnel": {
            "view": "funnel",
            "source": {"topic": "orders", "partitions": 3},
            "steps": ["created", "paid", "shipped"],
            "within": "1m",
            "record": {
                "key": "/id",
                "time": {"field": "/meta/ts", "unit": "rfc3339"},
                "step": {
                    "field": "/type",
                    "names": {
                        "created": ["order_created", "order_imported"],
                        "paid": ["payment_ok"],
                        "shipped": ["parcel_out"],
                    },
                },
            },
        },
    }
    assert settings == Settings.model_validate({"streams": streams})
    assert (settings.http.port, settings.streams["events"].max_sets) == (8080, 1_000_000)


def test_the_command_line_overrides_the_environment_and_that_the_file():
    environ = {
        "FIRNLINE_HTTP__PORT": "1",
        "FIRNLINE_HTTP__HOST": "::1",
        "FIRNLINE_KAFKA__SASL_USERNAME": "me",
        "FIRNLINE_X": "?",
    }
    settings = load(None, ["http.port=2", "kafka.bootstrap.servers=a:1", "streams.events.steps=[a, b]"], environ)
    assert (settings.http.port, settings.http.host) == (2, "::1")
    assert settings.kafka == {"bootstrap.servers": "a:1", "sasl.username": "me"}
    assert settings.streams["events"].steps == ["a", "b"]
    assert settings.streams["events"].source.topic == "events"


def test_all_problems_are_reported_at_once_with_their_places(tmp_path: Path):
    text = "http: {prot: 1, port: abc}\nmemory:\n  budget: lots\nstreams:\n  events:\n    view: sets\n    max_sets: 0\n    source: {topc: x}\n"
    told = problems(tmp_path, text, "streams.events.steps=[R]", "nothing", FIRNLINE_HTTP__HOST="[]")
    assert told == [
        "--set nothing: expected KEY=VALUE, got no value",
        "environment FIRNLINE_HTTP__HOST: http.host: expected string, got []",
        "x.yaml:1: http.port: expected an integer, got 'abc'",
        "x.yaml:1: http.prot: unknown key, did you mean port?",
        "x.yaml:3: memory.budget: expected bytes such as 256MiB, or a share such as 60%, got 'lots'",
        "x.yaml:8: streams.events.source.topc: unknown key, did you mean topic?",
        "--set streams.events.steps: streams.events.steps: expected at least 2, got ['R']",
        "x.yaml:7: streams.events.max_sets: expected 1 or more, got 0",
    ]


@pytest.mark.parametrize("section", ["http", "log", "memory", "checkpoint", "streams.events.source", "streams.events.output"])
def test_an_unknown_key_is_reported_with_the_known_keys(section: str):
    with pytest.raises(SettingsError, match=rf"{section}\.bogus: unknown key, there are: [a-z_]+, "):
        load(None, [f"{section}.bogus=1"], {})


def test_an_unknown_view_is_reported_with_the_known_views(tmp_path: Path):
    told = problems(tmp_path, "streams:\n  events:\n    view: sts\n    steps: 1\n")
    assert told == ["x.yaml:3: streams.events.view: expected one of sets, top, segments, uniques, words, funnel, got 'sts'"]


TYPOS = """htp: {port: 1}
http: {prt: 1}
memory:
  bugdet: 60%
kafka: {sasl.usernam: me, socket.timeout.ms: abc, sasl.mechanism: PLAIN}
streams:
  events:
    view: sets
    source: {topic: t, strat: latest}
    output: {fle: x}
  uniques:
    view: unique
    source: {topc: t}
    max_cels: 7
  words: {view: words, source: {topic: w}}
  words: {view: words, source: {topic: v}}
"""


def test_every_typo_is_reported_at_any_depth_whatever_else_is_wrong(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(TYPOS)
    with pytest.raises(SettingsError) as caught:
        load(path, ["streams.evnts.max_sets=3"], {"FIRNLINE_MEMRY__BUDGET": "1GiB"}, refused=refused)
    told = "\n".join(caught.value.problems)
    for place, said in [
        ("1", "htp: unknown key, did you mean http?"),
        ("2", "http.prt: unknown key, did you mean port?"),
        ("4", "memory.bugdet: unknown key, did you mean budget?"),
        ("5", "kafka.sasl.usernam: librdkafka refuses it: there is no such setting"),
        ("5", "kafka.socket.timeout.ms: librdkafka refuses it: Invalid value"),
        ("9", "streams.events.source.strat: unknown key, did you mean start?"),
        ("10", "streams.events.output.fle: unknown key, did you mean file?"),
        ("12", "streams.uniques.view: expected one of sets, top, segments, uniques, words, funnel, got 'unique'"),
        ("13", "streams.uniques.source.topc: unknown key, did you mean topic?"),
        ("14", "streams.uniques.max_cels: unknown key, did you mean max_cells?"),
        ("16", 'expected YAML, got: found duplicate key "words"'),
    ]:
        assert f"{path}:{place}: {said}" in told
    assert "environment FIRNLINE_MEMRY__BUDGET: memry: unknown key, did you mean memory?" in told
    assert "--set streams.evnts.max_sets: streams.evnts: unknown stream, did you mean events?" in told
    assert len(caught.value.problems) == 13


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http:\n\tport: 1\n", r"x.yaml:2: expected YAML, got: found character '\t' that cannot start any token"),
        ("http: {port: @a}\n", "x.yaml:1: expected YAML, got: found character '@' that cannot start any token"),
        ("http: {port: %a}\n", "x.yaml:1: expected YAML, got: found character '%' that cannot start any token"),
        ("http: {port: `a}\n", "x.yaml:1: expected YAML, got: found character '`' that cannot start any token"),
        ("http: {port: 1\nlog: {}\n", "x.yaml:2: expected YAML, got: expected ',' or '}', but got ':'"),
        ('http: {host: "a\\q"}\n', "x.yaml:1: expected YAML, got: found unknown escape character 'q'"),
        ("http: {host: *hunter2}\n", "x.yaml:1: expected YAML, got: found undefined alias ***"),
    ],
)
def test_a_yaml_error_shows_the_wrong_character_and_no_word(tmp_path: Path, text: str, said: str):
    assert problems(tmp_path, text) == [said]


def test_the_value_of_a_secret_that_librdkafka_refuses_is_not_shown():
    with pytest.raises(SettingsError) as caught:
        load(None, ["kafka.ssl.key.password.hunter2=x", "kafka.ssl.certificate.verify_token=hunter3"], {}, refused=refused)
    assert "hunter3" not in str(caught.value)


def test_a_combination_that_librdkafka_refuses_is_reported():
    place = "--set kafka.security.protocol: kafka: librdkafka refuses it: No provider for SASL mechanism GSSAPI"
    with pytest.raises(SettingsError, match=place):
        load(None, ["kafka.security.protocol=sasl_plaintext"], {}, refused=refused)


@pytest.mark.parametrize("address", ["a:99999", "a:0", "a:abc", "a:", "b:1,a:65536", "[::1]:x", "SSL://a:-1", "a:²", "a: 1"])
def test_the_port_of_a_broker_is_a_port(address: str):
    with pytest.raises(SettingsError) as caught:
        load(None, [f"kafka.bootstrap.servers={address}"], {})
    place = "--set kafka.bootstrap.servers: kafka.bootstrap.servers"
    assert caught.value.problems == [f"{place}: expected a port from 1 to 65535, got {address.rpartition(',')[2]}"]


@pytest.mark.parametrize(
    "address", ["embedded", "a", "a:1", "::1", "[::1]", "[::1]:65535", "SSL://a:9093", "a:1, b:2,", "fe80::1"]
)
def test_an_address_that_librdkafka_takes_is_accepted(address: str):
    assert load(None, [f"kafka.bootstrap.servers={address}"], {}).kafka["bootstrap.servers"] == address


@pytest.mark.parametrize("text", ["sh -c 'x", "   "])
def test_a_command_that_no_shell_could_split_is_reported(text: str):
    with pytest.raises(SettingsError, match="a command of one word or more"):
        load(None, [f"streams.events.source={{command: {text!r}}}"], {})


@pytest.mark.parametrize("view", STREAMS)
def test_each_view_has_settings_of_its_own(tmp_path: Path, view: str):
    text = f"streams:\n  events:\n    view: {view}\n    bogus: 1\n    source: {{topic: x, file: y}}\n"
    if view == "funnel":  # it has no defaults for these
        text += "    within: 2h\n    steps: [a, b]\n    record: {key: /k, time: kafka, step: {field: /s}}\n"
    told = problems(tmp_path, text)
    assert told[1].startswith("x.yaml:4: streams.events.bogus: unknown key, there are: ")
    assert told[0].startswith("x.yaml:5: streams.events.source: expected one of topic, file, stdin and command")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected settings, got an empty file"),
        ("- 1\n", "expected settings by name, got a list"),
        ("a: [1\n", "expected YAML"),
        ("a: 1\na: 2\n", "expected YAML"),
        ("\ta: 1\n", "expected YAML"),
        ("streams: {}\n", "streams: expected at least 1"),
        ("http: 5\nstreams: {events: {}}\n", "http: expected settings by name, got 5"),
        ("streams: {events: {steps: [R, r]}}\n", "names that differ in more than case"),
        ("streams: {events: {steps: [R, G, R]}}\n", "a set has one event of each; a funnel takes one twice"),
        (
            "streams: {a: {view: funnel, within: 1m, steps: [x, y, x, x_2], record: {format: json, key: /k, step: {field: /s}}}}\n",
            "other names than x_2, by which answers call a step that is listed again",
        ),
        ("streams: {events: {steps: [R_, G]}}\n", "no space and no underscore"),
        ("streams: {Big Name: {}}\n", "streams.Big Name: expected a name like"),
        ("kafka: {a: [1]}\nstreams: {events: {}}\n", "kafka.a: expected text, a number, true or false"),
    ],
)
def test_each_kind_of_mistake_has_a_plain_message(tmp_path: Path, text: str, said: str):
    told = problems(tmp_path, text)
    assert said in " ".join(told)
    assert "pydantic" not in " ".join(told)


def test_a_mistake_in_an_override_is_not_placed_in_the_file(tmp_path: Path):
    text = "# our own\nhttp:\n  port: abc\nstreams: {events: {}}\n"
    assert problems(tmp_path, text, "http={port: x}") == ["--set http: http.port: expected an integer, got 'x'"]
    told = problems(tmp_path, text, "http.port=1", "htpp.port=1", FIRNLINE_MEMRY__BUDGET="1GiB")
    assert told == [
        "environment FIRNLINE_MEMRY__BUDGET: memry: unknown key, did you mean memory?",
        "--set htpp.port: htpp: unknown key, did you mean http?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http: {port: 1}\n", "x.yaml:1: streams: expected a value, got nothing"),
        ("http:\n  port: 1\n  port: 2\n", 'x.yaml:3: expected YAML, got: found duplicate key "port"'),
        ("http:\n  port: !!int x\n", "x.yaml:2: expected YAML, got: a value that its type cannot have"),
        ("http:\n  port: 2001-13-45\n", "x.yaml:2: expected YAML, got: a value that its type cannot have"),
        ("http:\n  port: \0\n", "x.yaml:2: expected YAML, got: the character U+0000, which YAML does not allow"),
        ('# a\nhttp: {host: "a\x07"}\n', "x.yaml:2: expected YAML, got: the character U+0007, which YAML does not allow"),
        (": #\n  http\n\n", "x.yaml:1: expected YAML, got: a comment in a place where no comment can be read"),
        ("&a {http: *a, streams: {events: {}}}\n", "x.yaml:1: expected YAML, got a value that contains itself"),
    ],
)
def test_a_file_with_one_mistake_has_one_problem_and_its_line(tmp_path: Path, text: str, said: str):
    assert problems(tmp_path, text) == [said]


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (
            "{view: uniques, source: {stdin: true}, output: {console: true, key: [start]}}",
            "output: expected key only with a topic",
        ),
        (
            "{view: uniques, source: {stdin: true}, output: {topic: t, key: [start, unique]}}",
            "expected output.key: members out of granularity, start, end, not unique",
        ),
        (
            "{view: segments, source: {stdin: true}, output: {topic: t, key: [start]}}",
            "expected output.key: none for the view segments, not start",
        ),
    ],
)
def test_only_what_identifies_a_result_is_its_key(tmp_path: Path, stream: str, said: str):
    (told,) = problems(tmp_path, f"streams: {{mine: {stream}}}\n")
    assert said in told


ORDERS = "view: sets, steps: [created, paid], source: {topic: t}"
FIELDS = "format: json, time: {field: /ts, unit: ms}, step: {field: /type}"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{time: kafka}", "record: expected format: json, which time belongs to, got {'time': 'kafka'}"),
        ("{format: json}", "record: expected the roles step, time for JSON, of which step, time is missing, got"),
        ("{format: json, time: kafka}", "record: expected the roles step, time for JSON, of which step is missing, got"),
        (
            f"{{{FIELDS}, user: /x}}",
            "record.user: unknown key, there are: format, framing, message, registry, schema, step, time",
        ),
        (f"{{{FIELDS}, tim: kafka}}", "record.tim: unknown key, did you mean time?"),
        (
            "{format: json, time: {field: /ts, unit: ms, feld: /x}, step: {field: /x}}",
            "time.feld: unknown key, did you mean field?",
        ),
        ("{format: json, time: {field: /ts}, step: {field: /x}}", "record.time.unit: expected a value, got nothing"),
        (
            "{format: json, time: {field: /ts, unit: m}, step: {field: /x}}",
            "time.unit: expected s, ms, us, ns or rfc3339, got 'm'",
        ),
        ("{format: json, time: /ts, step: {field: /x}}", "record.time: expected kafka, or a member with its unit such as"),
        ("{format: json, time: kafka, step: {field: type}}", "step.field: expected a JSON Pointer such as /meta/ts, in which"),
        ("{format: json, time: kafka, step: {field: /a~2}}", "step.field: expected a JSON Pointer such as /meta/ts, in which"),
        ("{format: json, time: kafka, step: {field: ''}}", "step.field: expected a JSON Pointer such as /meta/ts, in which"),
        ("{format: csv}", "record.format: expected text, json, avro or protobuf, got 'csv'"),
        (
            "{format: json, time: kafka, step: {field: /x, names: {payd: [b]}}}",
            "expected record.step.names: the steps created, paid, not payd",
        ),
        (
            "{format: json, time: kafka, step: {field: /x, names: {paid: [created]}}}",
            "expected record.step.names: each text for one step, not created for several",
        ),
    ],
)
def test_a_mistake_in_the_form_of_records_is_one_problem_that_names_the_roles(tmp_path: Path, record: str, said: str):
    (told,) = problems(tmp_path, f"streams:\n  orders: {{{ORDERS}, record: {record}}}\n")
    assert told.startswith("x.yaml:2: streams.orders")
    assert said in told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("within: 2h", "expected within: only with time_unit s, ms, us or ns, because the limit counts in it from the start"),
        ("within: 500ms, time_unit: s", "expected within: a whole number of s, the unit of the times"),
        ("within: 2y, time_unit: s", "within: expected a duration such as 500ms, 90s, 30m, 1h30m or 7d, got '2y'"),
        ("within: 0s, time_unit: s", "within: expected a duration from 1ms to ten years, got '0s'"),
    ],
)
def test_a_limit_of_sets_that_cannot_be_counted_is_refused(tmp_path: Path, given: str, said: str):
    (told,) = problems(tmp_path, f"streams:\n  orders: {{{ORDERS}, {given}}}\n")
    assert said in told


def test_the_limit_of_sets_counts_in_the_unit_of_the_times():
    def within(*given: str) -> object:
        return load(None, ["streams.events.within=2h", *given], {}).streams["events"].view_arguments()["within"]

    assert within("streams.events.time_unit=s") == 7_200
    assert within("streams.events.time_unit=us") == 7_200_000_000
    assert within(f"streams.events.record={{{FIELDS}}}") == 7_200_000
    assert load(None, [], {}).streams["events"].view_arguments()["within"] is None


def test_the_time_of_a_record_in_kafka_needs_a_topic(tmp_path: Path):
    text = "streams: {a: {source: {stdin: true}, record: {format: json, time: kafka, step: {field: /x}}}}\n"
    (told,) = problems(tmp_path, text)
    assert "expected record.time: kafka only with a topic" in told


def test_the_form_of_records_changes_the_meaning_and_decides_the_unit():
    def stream(*overrides: str) -> StreamSettings:
        return load(None, [f"streams.events.record={{{FIELDS}}}", *overrides], {}).streams["events"]

    plain = load(None, [], {}).streams["events"]
    assert plain.meaning() == load(None, ["streams.events.record={format: text}"], {}).streams["events"].meaning()
    assert "record" not in plain.meaning()
    assert stream().meaning() not in [plain.meaning(), stream("streams.events.record.step.field=/t").meaning()]
    assert (stream().unit, stream().unit_given, stream().alike()) == ("ms", True, [])
    units = {"s": "ms", "us": "us", "ns": "ns", "rfc3339": "ms"}
    assert {unit: stream(f"streams.events.record.time.unit={unit}").unit for unit in units} == units
    assert stream("streams.events.record.time.unit=rfc3339", "streams.events.time_unit=us").unit == "us"
    assert stream("streams.events.record.time=kafka").unit == "ms"


def test_the_settings_name_the_units_and_periods_of_the_engine():
    assert get_args(Granularity) == GRANULARITIES
    assert {name: 10**9 // each for name, each in NANOSECONDS.items()} == UNITS


def test_a_byte_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"http:\n  host: \xff\n")
    with pytest.raises(SettingsError) as caught:
        load(path, [], {})
    assert caught.value.problems == [f"{path}:2: expected UTF-8, got byte 0xff at position 14"]


@pytest.mark.parametrize("value", ["!!bool x", "!!int", "&a [*a]", "2001-13-45", "1" * 5000, "0x" + "F" * 5000, "{a: 1, a: 2}"])
def test_an_override_without_a_value_is_one_problem(tmp_path: Path, value: str):
    (told,) = problems(tmp_path, "streams: {events: {}}\n", f"http.host={value}")
    assert told.startswith("--set http.host: expected a YAML value, got ")


def test_yaml_may_share_a_part_and_name_an_anchor_twice(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("streams:\n  a: &x {idle_ms: 7}\n  b:\n    <<: *x\n  c: &x {}\n")
    assert [stream.idle_ms for stream in load(path, [], {}).streams.values()] == [7, 7, 200]


def test_true_is_not_a_number(tmp_path: Path):
    assert problems(tmp_path, "http: {port: true}\nstreams: {events: {}}\n") == [
        "x.yaml:1: http.port: expected an integer, got True"
    ]


def test_a_kafka_setting_over_the_file_is_taken_as_it_stands():
    settings = load(None, ["kafka.sasl.password=0123", "kafka.b=p #1"], {"FIRNLINE_KAFKA__C": "1e5"})
    assert (settings.kafka["sasl.password"], settings.kafka["b"], settings.kafka["c"]) == ("0123", "p #1", "1e5")


def test_a_path_through_a_value_is_reported(tmp_path: Path):
    assert "a path through" in problems(tmp_path, "http: 5\nstreams: {events: {}}\n", "http.port=1")[0]


def test_an_unreadable_file_is_reported(tmp_path: Path):
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(SettingsError, match="expected"):
            load(path, [], {})


def test_a_secret_is_never_shown(tmp_path: Path):
    told = problems(
        tmp_path, "kafka: {sasl.password: [hunter2]}\nstreams: {events: {}}\n", "kafka={ssl.key.password: [hunter2]}"
    )
    assert len(told) == 1
    assert "hunter2" not in " ".join(told)


@pytest.mark.parametrize(
    "kafka",
    [
        "{sasl: {password: hunter2}}",
        "[{sasl.password: hunter2}]",
        "sasl.password=hunter2",
        "{sasl.password:hunter2}",
        "{sasl.password: 1, sasl.password: hunter2}",
        "{sasl.password: *hunter2}",
        "{sasl.password: !hunter2!x y}",
        "{sasl.password: !!int hunter2}",
        "{sasl.password: !!timestamp hunter2}",
        "{ssl.keystore.location: [hunter2]}",
    ],
)
def test_a_secret_written_wrongly_is_not_shown_either(tmp_path: Path, kafka: str):
    good = "streams: {events: {}}\n"
    for told in (problems(tmp_path, f"kafka: {kafka}\n{good}"), problems(tmp_path, good, f"kafka={kafka}")):
        assert "hunter2" not in " ".join(told)
    assert problems(tmp_path, good, "kafka.sasl.password:hunter2") == ["--set ***: expected KEY=VALUE, got no value"]


def test_settings_hide_their_secrets_from_every_reader_but_the_client():
    settings = load(None, ["kafka.sasl.password=hunter2", "kafka.sasl.username=me"], {})
    shown = {"bootstrap.servers": "embedded", "sasl.password": "***", "sasl.username": "me"}
    assert settings.kafka["sasl.password"] == "hunter2"
    assert settings.model_dump()["kafka"] == shown
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hunter2" not in text
        assert "'me'" in text or '"me"' in text


@given(st.text(max_size=80))
def test_any_text_gives_settings_or_one_kind_of_error(tmp_path_factory: pytest.TempPathFactory, text: str):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(SettingsError):
        load(path, [], {})


WORDS = st.sampled_from(
    [
        "http",
        "kafka",
        "memory",
        "streams",
        "port",
        "budget",
        "events",
        "steps",
        "<<",
        "&a",
        "*a",
        "!!int",
        "!!bool",
        "!!omap",
        "!!set",
        "1",
        "0xFF",
        "true",
        "~",
        "2001-13-45",
        "'",
        '"',
    ]
)
MARKS = st.sampled_from([": ", "\n", "\n  ", "- ", "{", "}", "[", "]", ", ", " ", "? ", "\t", "#"])


@given(st.lists(WORDS | MARKS, max_size=25).map("".join))
def test_anything_like_yaml_gives_settings_or_one_kind_of_error(tmp_path_factory: pytest.TempPathFactory, text: str):
    path = tmp_path_factory.getbasetemp() / "like.yaml"
    path.write_text(text, encoding="utf-8")
    for file, overrides in ((path, []), (None, [f"http={text}"])):
        with contextlib.suppress(SettingsError):
            assert isinstance(load(file, overrides, {}), Settings)


@given(st.integers(1, 2**22), st.sampled_from(["", "B", "KiB", "MiB", "GiB", "kb", " MB"]), st.integers(1, 2**50))
def test_budgets_in_bytes_do_not_depend_on_the_machine(amount: int, unit: str, limit: int):
    factor = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kb": 10**3, " MB": 10**6}[unit]
    assert Budget.parse(f"{amount}{unit}").resolve(limit) == amount * factor


@given(st.integers(1, 100), st.integers(0, 2**40))
def test_budgets_in_per_cent_are_a_share_of_the_limit(share: int, limit: int):
    assert abs(Budget.parse(f"{share}%").resolve(limit) - share * limit / 100) <= 1


@pytest.mark.parametrize("wrong", ["", "0", "-1", "101%", "0%", "many", "1TiBs", True, None, [], "1 %%", "0.5", "9" * 400])
def test_an_invalid_budget_is_refused(wrong: object):
    with pytest.raises(ValueError, match=r"bytes such as|a share above"):
        Budget.parse(wrong)


def test_the_data_folder_has_a_variable_of_one_level(tmp_path: Path):
    assert load(None, [], {"FIRNLINE_DATA_DIR": str(tmp_path)}).data_dir == tmp_path
    assert load(None, [], {"FIRNLINE_DATA_DIR": "null"}).data_dir is None
    assert load(None, [], {"FIRNLINE_TEST_BOOTSTRAP": "x"}).data_dir == Path(".firnline/data")


def test_spilling_needs_a_data_folder():
    assert load(None, ["memory.spill_budget=10GiB"], {}).memory.spill_budget is not None
    with pytest.raises(SettingsError, match=r"data_dir together with memory\.spill_budget"):
        load(None, ["memory.spill_budget=10GiB", "data_dir=null"], {})
    with pytest.raises(SettingsError, match="bytes such as 10GiB"):
        load(None, ["memory.spill_budget=60%"], {})


def test_a_meaning_changes_only_with_settings_that_answers_depend_on():
    def meaning(*overrides: str) -> object:
        return load(None, list(overrides), {}).streams["events"].meaning()

    assert meaning("streams.events.max_sets=7", "streams.events.lateness_ms=1", "http.port=1") == meaning()
    with_unit = meaning("streams.events.time_unit=s")
    assert with_unit not in [meaning("streams.events.time_unit=s", f"streams.events.within={each}") for each in ("1m", "2m")]
    for changed in ("streams.events.steps=[a, b]", "streams.events.time_unit=s", "streams.events.source.topic=other"):
        assert meaning(changed) != meaning()


BEFORE = {
    "dataset": {"view": "top", "source": {"topic": "dataset"}},
    "segments": {"view": "segments", "segments": 10, "source": {"topic": "segment-topic"}},
    "uniques": {"view": "uniques", "zone": "UTC", "source": {"topic": "messages"}},
    "words": {"view": "words", "source": {"topic": "words"}},
}
"""The meanings of streams of the default configuration before settings were `newer`: they name the checkpoints."""


@pytest.mark.parametrize("name", BEFORE)
def test_with_the_defaults_a_stream_finds_the_checkpoints_of_earlier_versions(name: str):
    assert load(None, [], {}).streams[name].meaning() == BEFORE[name]


def test_a_newer_setting_changes_the_meaning():
    for name, changed in {"words": "words=alphabetic", "uniques": "granularities=[minute]"}.items():
        assert load(None, [f"streams.{name}.{changed}"], {}).streams[name].meaning() != BEFORE[name]
        default = changed.partition("=")[0]
        assert load(None, [f"streams.{name}.{changed}"], {}).streams[name].meaning()[default]


def test_granularities_are_a_set_in_the_order_of_their_length():
    def listed(text: str) -> StreamSettings:
        return load(None, [f"streams.uniques.granularities={text}"], {}).streams["uniques"]

    assert listed("[year, minute, year]").period_names == ("minute", "year")
    assert listed("[year, week, day, hour, minute, month]").meaning() == BEFORE["uniques"]
    for wrong in ("[]", "minute", "[second]", "null", "[minutes]"):
        with pytest.raises(SettingsError, match=r"streams\.uniques\.granularities"):
            listed(wrong)


@pytest.mark.parametrize("view", STREAMS)
def test_the_stanza_of_a_view_has_every_fact_about_it(view: str):
    stanza = next(each for each in load(None, [], {}).streams.values() if each.view == view)
    assert {*stanza.meant, *stanza.bounds, *stanza.view_settings} <= type(stanza).model_fields.keys()
    assert (stanza.bound is None) == (not stanza.bounds)
    assert min(stanza.load(10.0)[::2]) > 0
    assert type(view_of(stanza, None)) is VIEWS[view]


def test_the_service_and_the_commands_compare_no_views():
    for path in [*(ROOT / "scripts" / "service").glob("*.py"), *(ROOT / "scripts" / "cli" / "configuration").glob("*.py")]:
        stanzas = re.findall(r"\b(?:Sets|Top|Segments|Uniques|Words)Stream\b", path.read_text())
        assert not stanzas, f"{path.name} depends on the view: {stanzas}"
