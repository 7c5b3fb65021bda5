"""Whether brokers of our own can be started here."""

import os
import shutil

import pytest


def need_java(*more: str) -> None:
    """Skip the test if Java, Maven or one of the commands in `more` is missing; fail if a real broker is required."""
    if missing := [command for command in ("java", "mvn", *more) if shutil.which(command) is None]:
        reason = f"a real broker needs {' and '.join(missing)}"
        assert not os.environ.get("FIRNLINE_REQUIRE_BROKER"), reason
        pytest.skip(reason)
