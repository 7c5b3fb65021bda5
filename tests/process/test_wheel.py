"""The wheel beside a user's own packages: it takes no names but `firnline` and `firnline_server`, and the command works."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from config.load import DEFAULT
from scripts.checkout import ROOT
from tests.support.service import free_port

pytestmark = pytest.mark.long

TREE = ("actors", "config", "firnline", "gateway", "scripts", "LICENSE", "README.md", "pyproject.toml", "setup.py")


def run(command: Sequence[object], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = list(map(str, command))
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120, cwd=cwd, env={**plain, **environ})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for name in TREE:
        if (ROOT / name).is_dir():  # without compiled modules, which other tests may be writing now
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    built = run([*pip, "--wheel-dir", tree / "out", "."], tree)
    assert built.returncode == 0, built.stderr
    return next((tree / "out").glob("*.whl"))


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new environment with the wheel; it borrows the libraries, but no path to this checkout."""
    folder = tmp_path_factory.mktemp("venv")
    made = run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    assert made.returncode == 0, made.stderr
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index"]
    installed = run([*pip, wheel], folder)
    assert installed.returncode == 0, installed.stderr
    (next(folder.glob("lib/*/site-packages")) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder of a user who has packages of his own called `config` and `scripts`."""
    for name in ("config", "scripts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'user'\n")
    return tmp_path


def test_the_wheel_has_two_packages_no_laboratory_and_all_data_files(wheel: Path):
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        top = opened.read(next(name for name in names if name.endswith("top_level.txt"))).decode().split()
    assert top == ["firnline", "firnline_server"]
    assert not [name for name in names if "/lab/" in name or name.endswith(("/bench.py", "/chaos.py"))]
    for folder in ("actors", "config", "gateway", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and "__pycache__" not in name and "scripts/lab/" not in name:
                assert f"firnline_server/{name}" in names or name in {"scripts/bench.py", "scripts/chaos.py"}


def test_the_metadata_has_ranges_and_the_client_alone_needs_one_package(wheel: Path):
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        metadata = opened.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    needed = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [each for each in needed if "extra" not in each] == ["msgspec<1,>=0.22"]
    assert len([each for each in needed if "extra == 'server'" in each or 'extra == "server"' in each]) > 10
    assert not [each for each in needed if "==" in each.partition(";")[0] or "uplot" in each]
    assert any(name.endswith("page/static/vendor/LICENSE") for name in names)


def test_the_client_works_with_msgspec_alone_and_the_command_says_what_it_needs(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    (tmp_path / "site" / "msgspec").symlink_to(Path(sysconfig.get_path("purelib")) / "msgspec")
    plain = [sys.executable, "-S", "-I", "-c"]
    path = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
    done = run([*plain, path + "import firnline; print(list(firnline.sets(limit=1)))"], tmp_path, FIRNLINE_URL="127.0.0.1:9")
    assert "UnreachableError" in done.stderr, done.stderr
    done = run([*plain, path + "from firnline_server.scripts.cli import __main__"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "pip install 'firnline[server]'" in done.stderr


def test_packages_of_the_user_keep_their_names(venv: Path, home: Path):
    script = "import config, scripts, firnline; print(config.OWNER, scripts.OWNER, firnline.Client.__module__)"
    assert run([venv / "python", "-c", script], home).stdout.split() == ["user", "user", "firnline.client"]
    for name in ("actors", "gateway"):
        assert "ModuleNotFoundError" in run([venv / "python", "-c", f"import {name}"], home).stderr


def test_the_installed_command_checks_serves_and_starts_its_own_children(venv: Path, home: Path):
    firnline = venv / "firnline"
    helped = run([firnline, "--help"], home, COLUMNS="100")
    assert "serve" in helped.stdout
    assert "bench" not in helped.stdout
    checked = run([firnline, "config", "check", "--json"], home, PYTHONPATH=str(home))
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["file"].endswith("firnline_server/config/default.yaml")
    made = run([firnline, "produce", "--pattern", "segments", "--count", "20", "--stdout"], home)
    (home / "in").write_text(made.stdout)
    base = [firnline, "serve", "--once", "--set", f"http.port={free_port()}", "--set", "data_dir=null"]
    source = ["--set", "streams.segments.source={file: in}", "--set", "streams.segments.output.console=true"]
    served = run([*base, "--only", "segments", *source], home)
    assert (served.returncode, served.stdout.count("\n")) == (0, 2), served.stderr
    words = DEFAULT.with_name("words.yaml").read_text().replace("--count 0 --rate 10", "--count 300")
    (home / "words.yaml").write_text(words)
    of_command = run([*base, "--config", "words.yaml"], home)
    assert of_command.returncode == 0
    assert '"records": 300' in of_command.stderr, of_command.stderr


@pytest.mark.parametrize("name", ["bench", "chaos"])
def test_a_command_of_the_laboratory_reports_that_it_is_not_installed(venv: Path, home: Path, name: str):
    done = run([venv / "firnline", name], home)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"run scripts/{name}.py in a checkout" in done.stderr


def test_the_embedded_broker_runs_from_the_wheel(venv: Path, home: Path):
    script = (
        "import sys; from firnline_server.scripts.cli import __main__; from scripts.brokers.embedded import start_embedded; "
        "from scripts.brokers.process import end; child, address = start_embedded(); end(child); print(address)"
    )
    done = run([venv / "python", "-c", script], home, FIRNLINE_RUN_DIR=str(home / "run"))
    assert done.stdout.startswith("127.0.0.1:"), done.stderr


def interpreter(minor: int) -> Path | None:
    """Return an interpreter of Python 3.MINOR that this machine has."""
    own = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"))
    found = shutil.which(f"python3.{minor}")
    for each in [*own, *([Path(found)] if found else [])]:
        said = run([each, "-c", "import sys; print(sys.version_info.minor)"], Path.cwd())
        if said.stdout.strip() == str(minor):  # a shim may lead nowhere
            return each
    return None


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_the_wheel_installs_and_works_on_each_python_that_the_machine_has(wheel: Path, tmp_path: Path, minor: int):
    """All packages come from the index, as wheels. A Python for which a package has no wheel yet is skipped."""
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"this machine has no Python 3.{minor}")
    made = run([python, "-m", "venv", tmp_path / "venv"], tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "venv" / "bin"
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        f"{wheel}[server,async]",
    ]
    installed = subprocess.run(
        list(map(str, [folder / "python", *words])), check=False, capture_output=True, text=True, timeout=900, cwd=tmp_path
    )
    if "No matching distribution" in installed.stderr:
        pytest.skip(installed.stderr.strip().splitlines()[-1])
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "events").write_text("R_1685695916000\nG_1685695916010\nB_1685695916020\n")
    once = [folder / "firnline", "serve", "--once", "--set", "data_dir=data", "--set", f"http.port={free_port()}"]
    done = run([*once, "--only", "events", "--set", f"streams.events.source={{file: {tmp_path / 'events'}}}"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import sys, firnline; firnline.AsyncClient; print(sys.version_info.minor, len(dir(firnline)) > 20)"
    assert run([folder / "python", "-c", code], tmp_path).stdout.split() == [str(minor), "True"]
