"""Answers as the gateway writes them, without a gateway."""

from collections.abc import Iterator, Mapping
from typing import Any

from actors.replies import Answer, Coverage
from actors.timeline.span import Span
from actors.views.view import View
from gateway.api.formats import write


def rendered(  # noqa: PLR0917
    view: View, partial: Any, span: Span, arguments: Any, form: str = "json", members: Mapping[str, object] | None = None
) -> Iterator[bytes]:
    """Return the pieces of an answer in a form."""
    return write(Answer(view, partial, span, arguments, Coverage(None, None, None)), form, members or {})
