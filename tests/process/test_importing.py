"""The imports of a command: cheap, and without a trace in the process."""

import gc
import os
import subprocess
import sys

import pytest

from actors.views.kinds import VIEWS
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

SERVE = """
import sys
from scripts.service.importing import importing
with importing():
    from scripts.service.serve import main
from gateway.app import routes_of
from gateway.stream import Served
from config.load import load
from scripts.service.plan import view_of
for name, stream in load(None, [], {}).streams.items():
    if name == sys.argv[1]:
        view_of(stream, None)
        routes_of(None, Served(name, stream.view, None)).operations()
print(*sys.modules)
"""


def modules_of(stream: str) -> set[str]:
    """Return the modules that the service imports for a stream of the default configuration."""
    done = subprocess.run([sys.executable, "-c", SERVE, stream], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(("stream", "view"), [("events", "sets"), ("uniques", "uniques")])
def test_a_service_imports_only_the_view_of_its_stream(stream: str, view: str):
    found = modules_of(stream)
    views = {name for name in VIEWS if any(each.startswith(f"actors.views.{name}.") for each in found)}
    assert views == {view}
    assert not found & {"rich", "prometheus_client", "pyarrow", "opentelemetry"}
    assert not found & {"click", "watchfiles", "multiprocessing", "uvicorn.main", "numpy._core._add_newdocs"}
    assert ("datasketches" in found) == (view == "uniques")


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
    monkeypatch.delitem(sys.modules, "uvicorn.main", raising=False)
    before = dict(os.environ)
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        assert sys.modules["uvicorn.main"].run is None
        assert os.environ["OPENBLAS_NUM_THREADS"] == (given or "1")
        raise ImportError
    gc.unfreeze()
    assert gc.isenabled()
    assert dict(os.environ) == before
    assert "uvicorn.main" not in sys.modules
