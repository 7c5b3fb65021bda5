"""The imports of a command: cheap, and without a trace in the process."""

import gc
import os
import subprocess
import sys

import pytest

from scripts.service.importing import importing
from tests.support.service import ROOT

LOOK = """
import json, os, psutil
from scripts.service.importing import importing
before = dict(os.environ)
with importing():
    import scripts.service.serve
print(json.dumps([dict(os.environ) == before, psutil.Process().num_threads()]))
"""


def test_the_imports_of_the_service_start_no_thread_and_leave_the_environment():
    environ = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[true, 1]\n"


@pytest.mark.parametrize("given", [None, "3"])
def test_the_environment_and_the_collector_are_as_before_also_after_a_failed_import(
    given: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
    before = dict(os.environ)
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        assert os.environ["OPENBLAS_NUM_THREADS"] == (given or "1")
        raise ImportError
    gc.unfreeze()
    assert gc.isenabled()
    assert dict(os.environ) == before
