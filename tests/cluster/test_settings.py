"""A configuration whose streams cannot be in a cluster is refused with the reason, before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.load import SettingsError, load
from scripts.checkout import ROOT
from scripts.service.cluster.local import count_of
from scripts.service.cluster.rekeyed.topic import topic_of
from scripts.service.cluster.secret import VARIABLE, secret_of
from scripts.service.keeping import digest_of

WORDS = "streams: {words: {view: words, source: {topic: words}}}\nkafka: {bootstrap.servers: a:9092}\n"
CLUSTER = "cluster: {name: c1, shards: 3}\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CLUSTER + WORDS.replace("view: words", "view: segments"), "is of the view segments: the segments of a batch lie in"),
        (
            CLUSTER
            + WORDS.replace(
                "view: words",
                "view: funnel, steps: [a, b, a], within: 1h, record: {key: /k, step: {field: /s}, time: {field: /t, unit: ms}}",
            ),
            "is of the view funnel: with a step that is listed again",
        ),
        (CLUSTER + WORDS.replace("topic: words", "stdin: true"), "words has another source"),
        (CLUSTER + WORDS.replace("topic: words", "topic: words, start: latest"), "source.start: earliest"),
        (CLUSTER + WORDS.replace("view: words", "view: words, output: {console: true}"), "words has one"),
        (
            CLUSTER + WORDS.replace("view: words", "view: uniques, output: {topic: t, console: true}"),
            "no output.file or output",
        ),
        (CLUSTER + WORDS.replace("view: words", "view: uniques, output: {file: rows}"), "only Kafka refuses"),
        (CLUSTER + WORDS.replace("a:9092", "embedded"), "kafka.bootstrap.servers"),
        (CLUSTER + WORDS + "http: {host: 0.0.0.0}\n", "cluster.address"),
        (CLUSTER.replace("3", "0") + WORDS, "cluster.shards"),
        (CLUSTER.replace("c1", "C 1") + WORDS, "cluster.name"),
        (CLUSTER.replace("3", "3, generations_ms: 5") + WORDS, "generations_ms"),
    ],
)
def test_what_cannot_be_in_a_cluster_is_refused_with_the_reason(text: str, reason: str, tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=reason):
        load(file, [], {})
    file.write_text(
        text.replace(CLUSTER, "")
        .replace(CLUSTER.replace("3", "0"), "")
        .replace(CLUSTER.replace("c1", "C 1"), "")
        .replace(CLUSTER.replace("3", "3, generations_ms: 5"), "")
    )
    assert load(file, [], {}).cluster is None


def test_a_stream_of_uniques_may_have_a_topic_as_its_output_in_a_cluster(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(CLUSTER + WORDS.replace("view: words", "view: uniques, output: {topic: t, key: [granularity, start]}"))
    assert load(file, [], {}).streams["words"].output.topic == "t"


def test_a_stream_by_key_has_other_checkpoints_and_another_topic_than_one_without_it(tmp_path: Path):
    file = tmp_path / "c.yaml"
    funnel = "view: funnel, steps: [a, b], within: 1h, record: {format: json, key: /k, step: {field: /s}, time: {field: /t, unit: ms}}"
    file.write_text(CLUSTER + WORDS.replace("view: words", funnel))
    plain = load(file, [], {}).streams["words"]
    by_key = load(file, ["streams.words.by_key=true"], {}).streams["words"]
    assert (plain.rekeyed, by_key.rekeyed) == (False, True)
    assert "by_key" not in plain.meaning(), "earlier checkpoints are found"
    assert digest_of(plain) != digest_of(by_key)
    assert topic_of("c1", "words", by_key) == f"firnline-c1-by-key-words-{digest_of(by_key)}"
    with pytest.raises(SettingsError, match="by_key"):
        file.write_text(CLUSTER + WORDS)
        load(file, ["streams.words.by_key=true"], {})


def test_one_shard_of_a_stream_of_sets_matches_alone(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(CLUSTER + WORDS.replace("view: words, ", "view: sets, steps: [a, b], "))
    assert [stream.matches_alone for stream in load(file, [], {}).streams.values()] == [True]


def test_a_checkpoint_topic_needs_a_folder_to_take_the_files_into(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(CLUSTER.replace("3", "3, checkpoints: topic") + WORDS)
    assert load(file, [], {}).cluster is not None
    with pytest.raises(SettingsError, match="data_dir"):
        load(file, ["data_dir=null"], {})


def test_the_file_of_make_cluster_is_valid():
    settings = load(ROOT / "deploy" / "cluster" / "three.yaml", [], {})
    assert settings.cluster is not None
    assert all(stream.joins for stream in settings.streams.values())


def test_a_secret_comes_from_a_file_that_others_cannot_read_or_from_the_environment(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text("sixteen bytes or more\n")
    with pytest.raises(ValueError, match="other users"):
        file.chmod(0o644)
        secret_of(file, {})
    file.chmod(0o600)
    assert secret_of(file, {}) == b"sixteen bytes or more"
    assert secret_of(None, {VARIABLE: "sixteen bytes or more"}) == b"sixteen bytes or more"
    with pytest.raises(ValueError, match=VARIABLE):
        secret_of(None, {VARIABLE: "short"})
    with pytest.raises(ValueError, match="expected a file to read"):
        secret_of(tmp_path / "absent", {})


@pytest.mark.parametrize("given", ["local:0", "local:", "local:100", "other:3", "local:3 "])
def test_a_wrong_number_of_processes_is_refused(given: str):
    with pytest.raises(ValueError, match="local:N"):
        count_of(given)


def test_one_process_imports_nothing_of_a_cluster():
    names = "[name for name in sys.modules if 'cluster' in name.split('.')]"
    code = f"import sys, scripts.service.serve, scripts.service.run; print({names})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert found.strip() == "['config.cluster']"
