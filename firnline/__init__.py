"""The Python client of Firnline: `for s in firnline.sets(start, end)`.

The functions ask the service at FIRNLINE_URL (default http://127.0.0.1:8080) with FIRNLINE_TOKEN. `firnline.Client(url,
token=…)` has the same methods for another service. Rows stream and page by themselves; `.arrow()` returns all of them for
pandas, polars and DuckDB. `firnline.AsyncClient` is the same for asyncio. The import loads neither numpy nor pyarrow.
"""

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firnline.aio import AsyncClient, AsyncRows, AsyncSets
    from firnline.client import Client
    from firnline.problems import FirnlineError, FirnlineWarning, RefusedError, UnreachableError
    from firnline.rows import Rows, Sets
    from firnline.tables import Sql

    _here = Client()
    clear = _here.clear
    explain = _here.explain
    funnel = _here.funnel
    health = _here.health
    post = _here.post
    rejects = _here.rejects
    segments = _here.segments
    sequences = _here.sequences
    sets = _here.sets
    sql = _here.sql
    stats = _here.stats
    story = _here.story
    streams = _here.streams
    summary = _here.summary
    top = _here.top
    uniques = _here.uniques
    words = _here.words

__all__ = [
    "AsyncClient",
    "AsyncRows",
    "AsyncSets",
    "Client",
    "FirnlineError",
    "FirnlineWarning",
    "RefusedError",
    "Rows",
    "Sets",
    "Sql",
    "UnreachableError",
    "clear",
    "explain",
    "funnel",
    "health",
    "post",
    "rejects",
    "segments",
    "sequences",
    "sets",
    "sql",
    "stats",
    "story",
    "streams",
    "summary",
    "top",
    "uniques",
    "words",
]

_CLASSES = {
    "AsyncClient": "firnline.aio",
    "AsyncRows": "firnline.aio",
    "AsyncSets": "firnline.aio",
    "Client": "firnline.client",
    "FirnlineError": "firnline.problems",
    "FirnlineWarning": "firnline.problems",
    "RefusedError": "firnline.problems",
    "Rows": "firnline.rows",
    "Sets": "firnline.rows",
    "Sql": "firnline.tables",
    "UnreachableError": "firnline.problems",
}


@cache
def _client() -> Any:
    """Return the client behind the functions."""
    return importlib.import_module("firnline.client").Client()


@cache
def _version() -> str:
    metadata = importlib.import_module("importlib.metadata")  # it takes 30 ms
    try:
        return str(metadata.version("firnline"))
    except metadata.PackageNotFoundError:
        return "checkout"


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that `import firnline` stays light.

    `__version__` is that of the installed package; `checkout` if it is not installed.
    """
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module 'firnline' has no attribute {name!r}")
    return getattr(importlib.import_module(_CLASSES[name]) if name in _CLASSES else _client(), name)


def __dir__() -> list[str]:
    """Return the names for users, also those that are imported at their first use, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
