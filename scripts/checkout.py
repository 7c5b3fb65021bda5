"""Where Firnline's own files are: the folder of the checkout, or `firnline_server` of an installed wheel."""

import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IS_CHECKOUT = (ROOT / "pyproject.toml").exists()


def own_command(*words: str) -> list[str]:
    """Return the command line of a child process that runs `firnline WORDS`; it needs neither PATH nor PYTHONPATH."""
    return [sys.executable, str(ROOT / "scripts" / "cli" / "__main__.py"), *words]


def typed(*words: str) -> str:
    """Return the command `firnline WORDS` as a person types it here: of a checkout, the one in its .venv if it is there."""
    own = ROOT / ".venv" / "bin" / "firnline"
    if not IS_CHECKOUT:
        return shlex.join(["firnline", *words])
    if own.exists():
        near = os.path.relpath(own)
        return shlex.join([str(own) if near.startswith("..") else near, *words])
    return shlex.join([sys.executable, str(ROOT / "scripts" / "cli" / "__main__.py"), *words])


def run_dir() -> Path:
    """Return the folder for files that processes on this machine share: FIRNLINE_RUN_DIR if it is set.

    Otherwise `.firnline` in a checkout, and the user's own folder for caches if Firnline is installed.
    """
    if named := os.environ.get("FIRNLINE_RUN_DIR"):
        return Path(named)
    if IS_CHECKOUT:
        return ROOT / ".firnline"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firnline"
