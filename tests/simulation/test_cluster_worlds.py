"""Processes of one cluster in a simulated world: no answer is silently partial, and the cluster comes to rest whole.

`--seeds 400` runs 100 worlds. `-k` repeats a seed that failed: it is the same run.
"""

import subprocess
import sys
from typing import Any

import pytest

from scripts.checkout import ROOT
from tests.simulation.cluster.world import ClusterWorld, Outcome


@pytest.mark.seeds_modulo(4, 0)
def test_no_answer_of_a_cluster_is_false_and_it_comes_to_rest_whole(seed: int):
    _run(seed)


@pytest.mark.seeds_modulo(40, 4)
def test_no_answer_lacks_a_shard_that_moves_in_order(seed: int):
    outcome = _run(seed, orderly=True)
    assert outcome.answers > outcome.partial


def test_a_seed_gives_the_same_cluster_in_every_process():
    seeds = (1, 3)
    runs = [ClusterWorld(seed).traced() for seed in seeds]
    command = [sys.executable, "-m", "tests.simulation.cluster.world", *map(str, seeds)]
    again = subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert again.stdout.split() == runs
    assert len(set(runs)) == len(runs)


def test_worlds_have_whole_answers_and_partial_ones_and_leases_that_move():
    outcomes = [_run(seed) for seed in (4, 8, 12)]
    assert 0 < sum(each.partial for each in outcomes) < sum(each.answers for each in outcomes)


def _run(seed: int, **switches: Any) -> Outcome:
    world = ClusterWorld(seed, **switches)
    try:
        return world.run()
    except Exception as error:
        error.add_note(f"cluster seed {seed}: {world.plan}\n{world.trace.tail()}")
        raise
