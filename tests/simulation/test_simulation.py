"""Whole runs of real actors in a simulated world: whatever goes wrong, nothing is lost, and no answer claims what is not so.

`--seeds 200` runs so many of them. A seed that fails is run again alone with `-k`, and is the same run.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.checkout import ROOT
from tests.simulation.clock import SimulatedClock
from tests.simulation.disk import Platter, SimulatedDisk
from tests.simulation.faults import Faults
from tests.simulation.simulation import Simulation
from tests.simulation.trace import Trace


def test_whatever_goes_wrong_nothing_is_lost_and_no_answer_lies(seed: int):
    _run(seed)


@pytest.mark.parametrize("seed", [3, 4, 5, 6, 8])  # one of each view
def test_a_seed_is_the_same_run_every_time_and_in_every_process(seed: int):
    identity = Simulation(seed).traced()
    assert Simulation(seed).traced() == identity
    command = [sys.executable, "-m", "tests.simulation.simulation", str(seed)]
    again = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.split() == [identity]


def test_what_is_synced_outlasts_a_loss_of_power_and_what_is_not_may_be_lost():
    folder = Path("/data")
    lost = torn = 0
    for seed in range(50):
        chance = random.Random(seed)
        platter = Platter(chance)
        disk = SimulatedDisk(platter, SimulatedClock(), chance, Faults(chance, {}, Trace()))
        for name, safe in (("old", True), ("new", False)):
            file = disk.create(folder / f"{name}.tmp")
            file.write(name.encode() * 100)
            if safe:
                file.sync()
            disk.rename(folder / f"{name}.tmp", folder / name)
            if safe:
                disk.sync_folder(folder)
        platter.lose_power()
        left = disk.names(folder)
        assert disk.read(folder / "old") == b"old" * 100
        lost += "new" not in left
        torn += "new" in left and disk.read(folder / "new") != b"new" * 100
    assert lost
    assert torn


def test_two_seeds_are_two_runs():
    assert Simulation(3).traced() != Simulation(8).traced()


@pytest.mark.seeds_modulo(4, 0)
def test_nothing_is_lost_if_any_handler_fails(seed: int):
    _run(seed, handlers=True)


@pytest.mark.seeds_modulo(4, 1)
def test_poisoned_records_are_set_aside_among_other_faults(seed: int):
    _run(seed, poison=True)


def _run(seed: int, **switches: bool) -> None:
    simulation = Simulation(seed, **switches)
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"seed {seed}: {simulation.plan}\n{simulation.trace.tail()}")
        raise


@pytest.mark.parametrize(
    "seed,kind",
    [
        (297, "plain"),  # events that were forced out made nothing behind them late
        (533, "handlers"),  # a minute that was published twice, with nothing new
        (317, "handlers"),  # a checkpoint was written while it was settled which one to begin with
        (43, "handlers"),  # a batch counted twice, its credit given back twice
        (192, "handlers"),  # a credit lost for good
        (285, "handlers"),
        (473, "handlers"),  # the sinks put back for a start that was given up passed for those of the next one
        (379, "handlers"),  # a checkpoint was written while the books were in doubt
        (496, "handlers"),  # the guardian failed at a failure, and nobody let the reader go on
        (804, "handlers"),  # the reader never heard where to begin
        (806, "handlers"),  # without checkpoints: a result that the publisher failed at held up all others
        (893, "handlers"),
        (161, "handlers"),  # without checkpoints: what the manager failed at was never done
        (224, "handlers"),
        (377, "poison"),  # parts of a poll that said more than they brought
        (447, "poison"),
        (598, "poison"),
    ],
)
def test_worlds_that_once_failed(seed: int, kind: str):
    _run(seed, handlers=kind == "handlers", poison=kind == "poison")
