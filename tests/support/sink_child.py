"""A process that writes numbered records through a sink, with checkpoints at random moments, until it is killed or done.

The tests of the sinks run it as `python -m tests.support.sink_child SINK TARGET FOLDER COUNT SEED`. It starts from its newest
checkpoint that the sink has committed, as a stream does.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from actors.sinks.file.sink import FileSink
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.sink import Sink
from scripts.checkout import ROOT
from tests.support.waiting import until


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def sink_of(kind: str, target: str) -> Sink:
    if kind == "file":
        return FileSink(Path(target), max_bytes=3_000, on_error=say)
    bootstrap, topic = target.split("/")
    return KafkaSink({"bootstrap.servers": bootstrap}, topic, transactional_id=f"tx-{topic}", on_error=say)


def patiently(call: Callable[[], object]) -> object:
    """Retry an operation that fails for the moment."""

    def tried() -> list[object]:
        try:
            return [call()]
        except OSError as error:
            say(str(error))
            return []

    return until(tried)[0]


def main(kind: str, target: str, folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    sink = sink_of(kind, target)
    newest = max((int(path.stem) for path in folder.glob("*.json")), default=0)
    committed = patiently(sink.committed)
    assert committed is None or committed in {newest, newest - 1}, (committed, newest)
    checkpoint = newest if committed is None else int(str(committed))
    state = json.loads((folder / f"{checkpoint}.json").read_text()) if checkpoint else {"next": 0, "place": None}
    for path in folder.glob("*.json"):
        if int(path.stem) > checkpoint:
            path.unlink()
    sink.restore(state["place"])
    following = state["next"]

    def save(*, surely: bool = False) -> None:
        nonlocal checkpoint
        place = patiently(sink.prepare)
        checkpoint += 1
        fresh = folder / f"{checkpoint}.new"
        fresh.write_text(json.dumps({"next": following, "place": place}))
        if not surely and chance.random() < 0.2:
            fresh.unlink()  # this checkpoint is given up, as after a failed write
            checkpoint -= 1
            return
        fresh.rename(folder / f"{checkpoint}.json")
        say(f"checkpoint {checkpoint} at {following}")
        patiently(lambda: sink.commit(checkpoint))

    def write(records: int) -> None:
        nonlocal following
        last = min(count, following + records)
        sink.write(iter([b"".join(b"%d\n" % number for number in range(following, last))]))
        following = last
        sink.poll()

    save(surely=True)
    while following < count:
        write(chance.randrange(1, 50))
        if chance.random() < 0.2:
            save()
    save(surely=True)
    sink.close()
    say("done")


def _has_said(child: subprocess.Popen[bytes], output: Path, checkpoints: int) -> bool:
    """Whether the process has made that many checkpoints, or has ended."""
    return child.poll() is not None or output.read_text().count("checkpoint") >= checkpoints


def killed_again_and_again(arguments: list[str], folder: Path, kills: int) -> list[str]:
    """Run the process `kills` times, killing it at random moments, and once to its end. Return the output of each run."""
    said: list[str] = []
    chance = random.Random(kills)
    output = folder / "said.txt"
    for number in range(kills + 1):
        with output.open("wb") as file:
            command = [sys.executable, "-m", "tests.support.sink_child", *arguments, str(number)]
            child = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        try:
            if number == kills:
                assert child.wait(60) == 0, output.read_text()
            else:
                until(partial(_has_said, child, output, chance.randrange(1, 5)))
                time.sleep(chance.uniform(0, 0.02))  # waits for nothing: the moment of the kill is random
        finally:
            child.kill()
            child.wait()
        said.append(output.read_text())
        assert "Traceback" not in said[-1], said[-1]
    return said


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    os._exit(0)
