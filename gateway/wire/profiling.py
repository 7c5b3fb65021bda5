"""With PROFILING=true in the environment or in a .env file, each request writes its profile to `profile.html`.

For developers; needs the extra `profiling`. One request at a time is profiled.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from starlette.types import ASGIApp, Receive, Scope, Send

_REPORT = Path("profile.html")


def profiling(environ: Mapping[str, str]) -> bool:
    """Whether PROFILING is true. The environment has priority over the file."""
    given = environ.get("PROFILING", dotenv_values(".env").get("PROFILING") or "")
    return given.strip().lower() == "true"


def profiled(app: ASGIApp) -> ASGIApp:
    """Return the application with a profiler around each request.

    Raises ValueError if the profiler is not installed.
    """
    try:
        from pyinstrument import Profiler  # noqa: PLC0415  # an extra
    except ImportError:
        raise ValueError("PROFILING=true needs pyinstrument: pip install pyinstrument") from None
    under_way = False

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal under_way
        if scope["type"] != "http" or under_way:
            await app(scope, receive, send)
            return
        under_way = True
        profiler = Profiler(async_mode="enabled")
        profiler.start()
        try:
            await app(scope, receive, send)
        finally:
            profiler.stop()
            under_way = False
            await asyncio.to_thread(_REPORT.write_text, profiler.output_html(), encoding="utf-8")

    return measured
