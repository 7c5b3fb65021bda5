"""Every changed byte of a stored file is detected, so that no answer is wrong because of it."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors.columns.snapshot import DamagedError, State
from actors.durability.store import Store
from actors.messages import Loaded
from actors.views.kinds import VIEWS
from tests.actors.test_golden import answers, live, view_of
from tests.support.keeping import FOLDER, keeping
from tests.support.listed import listed
from tests.support.logged_disk import Files, LoggedDisk
from tests.support.running import placed
from tests.support.samples import SAMPLES

_SAMPLED = 60


@dataclass(frozen=True)
class Kept:
    """The files of a stream of the view `name`, the records that it read, and its answers."""

    name: str
    folder: Path
    values: list[bytes]
    said: dict[str, Any]

    def files(self) -> Files:
        return {FOLDER / path.name: path.read_bytes() for path in self.folder.iterdir()}

    def named(self, kind: str) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.name.startswith(kind))

    def load(self, files: Files) -> tuple[Loaded, list[str]]:
        """Return the checkpoint that a keeper loads from `files`, and the problems that it reports."""
        with keeping(LoggedDisk.of(files, {FOLDER}), view_of(self.name)) as keeper:
            return keeper.load(), keeper.troubles


@pytest.fixture(scope="module")
def all_kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kept]:
    made = {}
    for name in VIEWS:
        folder = tmp_path_factory.mktemp("kept") / name
        values, said = live(name, SAMPLES[name].records(random.Random(name)), folder)
        made[name] = Kept(name, folder, values, said)
    return made


@pytest.fixture(params=VIEWS)
def kept(request: pytest.FixtureRequest, all_kept: dict[str, Kept]) -> Kept:
    return all_kept[request.param]


def damaged(files: Files, name: str, places: Iterator[int], chance: random.Random) -> Iterator[tuple[int, Files]]:
    """Yield each place, and the files with the byte at that place of the file `name` changed."""
    data = files[FOLDER / name]
    for place in places:
        other = bytes([data[place] ^ chance.randrange(1, 256)])
        yield place, {**files, FOLDER / name: data[:place] + other + data[place + 1 :]}


def some_places(size: int, chance: random.Random) -> Iterator[int]:
    ends = [*range(8), *range(size - 16, size)]
    return iter(sorted({*ends, *(chance.randrange(size) for _ in range(_SAMPLED))}))


def read(files: Files, checkpoint: str) -> State:
    return Store(FOLDER, LoggedDisk.of(files, {FOLDER})).read_checkpoint(int(checkpoint[11:21]))


def check_checkpoint(kept: Kept, places: Any, chance: random.Random) -> None:
    before, newest = kept.named("checkpoint")
    for place, files in damaged(kept.files(), newest, places, chance):
        loaded, _ = kept.load(files)
        assert loaded.checkpoint_id == int(before[11:21]), place
        assert [each for each in loaded.lost if f"checkpoint {int(newest[11:21])} cannot be read" in each], place
        assert all(each.frozen is not None for each in loaded.aged), place


def check_generation(kept: Kept, name: str, places: Any, chance: random.Random) -> None:
    whole, _ = kept.load(kept.files())
    assert not whole.lost
    place_of = {each.name: index for index, each in enumerate(whole.aged)}
    for place, files in damaged(kept.files(), name, places, chance):
        loaded, troubles = kept.load(files)
        assert loaded.checkpoint_id == whole.checkpoint_id, place
        read = [each.frozen is not None for each in loaded.aged]
        assert read == [index != place_of.get(name) for index in range(len(read))], place
        assert [(each.collector_id, each.span, each.events) for each in loaded.aged] == [
            (each.collector_id, each.span, each.events) for each in whole.aged
        ]
        assert bool(troubles) == bool(loaded.lost) == (name in place_of)
        assert all(name in trouble for trouble in troubles)


def test_every_changed_byte_of_the_smallest_checkpoint_is_detected(all_kept: dict[str, Kept]):
    """The store raises the error after which a keeper loads the older checkpoint: see the test of some bytes of each view."""
    smallest = min(all_kept.values(), key=lambda each: len(each.files()[FOLDER / each.named("checkpoint")[1]]))
    newest = smallest.named("checkpoint")[1]
    whole = {FOLDER / newest: smallest.files()[FOLDER / newest]}
    read(whole, newest)
    for place, files in damaged(whole, newest, iter(range(len(whole[FOLDER / newest]))), random.Random(1)):
        with pytest.raises(DamagedError):
            read(files, newest)
            pytest.fail(f"byte {place}")


def test_every_changed_byte_of_the_smallest_generation_is_detected(all_kept: dict[str, Kept]):
    aged = [(len(kept.files()[FOLDER / name]), kept, name) for kept in all_kept.values() for name in kept.named("generation")]
    size, smallest, name = min(aged, key=lambda each: each[0])
    check_generation(smallest, name, range(size), random.Random(2))


def test_a_changed_byte_of_a_checkpoint_is_detected_and_the_older_one_is_loaded(kept: Kept):
    chance = random.Random(3)
    newest = kept.named("checkpoint")[1]
    check_checkpoint(kept, some_places(len(kept.files()[FOLDER / newest]), chance), chance)


def test_a_changed_byte_of_a_generation_is_detected_and_the_others_are_read(kept: Kept):
    chance = random.Random(4)
    for name in kept.named("generation"):
        check_generation(kept, name, some_places(len(kept.files()[FOLDER / name]), chance), chance)


def test_a_truncated_deleted_or_replaced_file_is_detected(kept: Kept):
    before, newest = kept.named("checkpoint")
    files = kept.files()
    whole = files[FOLDER / newest]
    for other in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\0", bytes(len(whole)), *files.values()):
        if other not in (files[FOLDER / newest], files[FOLDER / before]):
            assert kept.load({**files, FOLDER / newest: other})[0].checkpoint_id == int(before[11:21])
    for name in kept.named("generation"):
        gone = {path: data for path, data in files.items() if path.name != name}
        assert [each.name for each in kept.load(gone)[0].aged if each.frozen is None] in ([], [name])


def test_without_a_readable_checkpoint_nothing_is_loaded_and_the_loss_is_reported(kept: Kept):
    files = kept.files()
    for name in kept.named("checkpoint"):
        files[FOLDER / name] = b"nothing"
    loaded, _ = kept.load(files)
    assert (loaded.checkpoint_id, loaded.state, loaded.live, loaded.aged) == (0, None, None, ())
    assert len(loaded.lost) == 2


def spoil(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


def test_a_stream_loads_the_older_checkpoint_and_answers_the_same(kept: Kept, tmp_path: Path):
    folder = shutil.copytree(kept.folder, tmp_path / kept.name)
    spoil(folder, kept.named("checkpoint")[1])
    with listed(view_of(kept.name), kept.values, folder=folder) as running:
        assert answers(running, kept.name) == kept.said
        assert not running.running.logged


def test_a_stream_without_a_readable_checkpoint_answers_the_same(kept: Kept, tmp_path: Path):
    folder = shutil.copytree(kept.folder, tmp_path / kept.name)
    for name in kept.named("checkpoint"):
        spoil(folder, name)
    with listed(view_of(kept.name), kept.values, folder=folder) as running:
        assert timeless(answers(running, kept.name)) == timeless(kept.said)
        running.saved()


def timeless(said: Any) -> Any:
    """Return the answers without the numbers that depend on times of silence: revisions and generations."""
    if isinstance(said, dict):
        return {key: timeless(value) for key, value in said.items() if key not in {"revision", "generations"}}
    return [timeless(each) for each in said] if isinstance(said, list) else said


def test_a_stream_reports_a_generation_that_cannot_be_read(kept: Kept, tmp_path: Path):
    whole, _ = kept.load(kept.files())
    for gone in whole.aged:
        folder = shutil.copytree(kept.folder, tmp_path / gone.name)
        spoil(folder, gone.name)
        with listed(view_of(kept.name), kept.values, folder=folder) as running:
            stats = running.settled()
            assert stats.durability is not None
            assert stats.durability.lost == (f"generation {gone.collector_id} cannot be read",)
            assert stats.dropped["unreadable"] == gone.events
            assert stats.dropped_generations["unreadable"] == 1
            assert gone.span is None or gone.span in stats.coverage.missing
            assert placed(stats) == stats.progress.events == kept.said["events"]
