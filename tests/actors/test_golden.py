"""Checkpoints of an earlier version can be loaded, answered from, and continued.

`python -m tests.actors.test_golden` makes new ones. Do this only if `snapshot.FORMAT` grows, and keep the old ones.
"""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.columns import snapshot
from actors.views.kinds import VIEWS
from scripts.checkout import ROOT
from tests.support.listed import Listed, listed
from tests.support.samples import SAMPLES

GOLDEN = ROOT / "tests" / "golden"
_MOST_BYTES = 20_000


def view_of(name: str) -> Any:
    return VIEWS[name](**SAMPLES[name].options)


def answers(running: Listed, name: str) -> dict[str, Any]:
    """Return the stream's answers and counters, without those that depend on time."""
    stats = running.settled()
    return {
        "answers": [json.loads(running.shown(arguments)) for arguments in SAMPLES[name].arguments],
        "records": stats.progress.records,
        "events": stats.progress.events,
        "dropped": dict(stats.dropped),
        "generations": len(stats.aged),
        "complete_from": stats.coverage.complete_from,
    }


def make(name: str) -> None:
    """Write the checkpoint of a view, and a file with its answers, at once and after more records."""
    folder, scratch = GOLDEN / name, GOLDEN / "scratch"
    for each in (folder, scratch):
        shutil.rmtree(each, ignore_errors=True)
    source = SAMPLES[name].records(random.Random(name))
    values, said = live(name, source, folder)
    shutil.copytree(folder, scratch)
    more = [value for _ in range(3) for value in next(source)]
    with listed(view_of(name), values + more, folder=scratch) as running:
        after = answers(running, name)
    shutil.rmtree(scratch)
    expected = {"said": said, "more": [value.decode() for value in more], "after": after}
    (GOLDEN / f"{name}.json").write_text(json.dumps(expected, sort_keys=True, separators=(",", ":")) + "\n")


def live(name: str, source: Iterator[list[bytes]], folder: Path) -> tuple[list[bytes], dict[str, Any]]:
    """Run a stream three times, with generations, refused records and open slices. Return the records and the answers."""
    values: list[bytes] = []
    said: dict[str, Any] = {}
    for _ in range(3):
        values += [b"no event", *(value for _ in range(3) for value in next(source))]
        with listed(view_of(name), values, folder=folder) as running:
            running.settled()
            values += next(source)  # so that a checkpoint follows the freezing of slices
            said = answers(running, name)
    return values, said


@pytest.mark.parametrize("name", VIEWS)
def test_a_golden_checkpoint_is_loaded_and_the_stream_continues(name: str, tmp_path: Path):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    folder = shutil.copytree(GOLDEN / name, tmp_path / name)
    values = [b"read before"] * expected["said"]["records"]
    with listed(view_of(name), values, folder=folder) as running:
        assert answers(running, name) == expected["said"]
        durability = running.running.stats().durability
        assert durability is not None
        assert durability.recovered_from > 0
        assert not durability.lost
        values += [value.encode() for value in expected["more"]]
        assert answers(running, name) == expected["after"]
        assert not running.running.logged


@pytest.mark.parametrize("name", VIEWS)
def test_a_golden_checkpoint_is_small_and_names_generations(name: str):
    files = list((GOLDEN / name).iterdir())
    assert sum(path.stat().st_size for path in files) < _MOST_BYTES
    assert (GOLDEN / f"{name}.json").stat().st_size < 2 * _MOST_BYTES
    named = [snapshot.read("checkpoint", path.read_bytes())["aged"] for path in files if path.name.startswith("checkpoint")]
    assert all(named) or name == "top", "a checkpoint without a generation tests little"


if __name__ == "__main__":
    for each in VIEWS:
        make(each)
