"""The command `firnline` in the process of a test."""

import io
import signal
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest

from scripts.cli.main import app


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, as its entry point does: what it prints, and its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in {"COLUMNS": "160", **environ}.items():
            patch.setenv(name, value)
        try:
            app(list(words), prog_name="firnline")
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
            if isinstance(left.code, str):  # as the interpreter does it
                err.write(f"{left.code}\n")
        finally:
            signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(list(words), code, out.getvalue(), err.getvalue())
