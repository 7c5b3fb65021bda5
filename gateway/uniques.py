"""The route of unique users: the rows of a granularity, over a range of time."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.views.uniques.periods import GRANULARITIES
from actors.views.uniques.slices import Rows
from actors.views.view import Meta
from gateway import params
from gateway.ask import Asker
from gateway.served import Served, asked, coverage_of, form_of, rendered, weighed


class UniqueRoutes:
    """Endpoints of one stream of frames, which is asked by its own name."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        return [Route(f"/{self._stream.name}", self.rows)]

    async def rows(self, request: Request) -> Response:
        """Periods of a `granularity` that begin in [start, end)."""
        params.known(request, ("granularity", "start", "end", "coverage"))
        granularity = request.query_params.get("granularity", "minute")
        if granularity not in GRANULARITIES:
            raise params.bad("granularity", "one of " + ", ".join(GRANULARITIES), repr(granularity))
        span = params.moments(request, "start", "end")
        with_coverage = params.flag(request, "coverage")
        with await weighed(self._asker, self._stream, span, _size) as hold:
            answer = await asked(self._asker, self._stream, span, Rows(granularity))
            members = {"coverage": coverage_of(answer.coverage)} if with_coverage else {}
            return await rendered(answer, form_of(request), hold, members=members, heavy=True)


def _size(meta: Meta) -> int:
    """Return what an answer takes of a slice: the hashes as they are read, and their union."""
    return 2 * meta.nbytes
