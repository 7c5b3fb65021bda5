"""Entity tags: a client that already has an answer gets 304 instead of the same bytes.

An answer has a tag if it was read from frozen slices alone. These never change, so the tag is a digest of the slices and of
the request, and needs no look at the rows. Whatever changes the answer changes the tag: a late event that adds a set lies in
another slice, and a dropped slice is no part of the answer any more. That may happen at any time, so the answer is never
fresh without a request: `no-cache`. All other answers are `no-store`.
"""

import itertools
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from weakref import WeakKeyDictionary

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

from actors.replies import Answer
from actors.views.view import View

_DIGEST_BYTES = 16
_PROCESS = secrets.token_bytes(_DIGEST_BYTES)
"""Part of each tag, because each process numbers its collectors anew."""

_views: WeakKeyDictionary[View, int] = WeakKeyDictionary()
_numbers = itertools.count(1)

VARY = "Accept"
"""The request headers on which an answer to a path depends."""


def tag_of(answer: Answer, form: str, beside: Mapping[str, object]) -> str | None:
    """Return the strong tag of an answer in the format `form`, or None if it has no tag.

    `beside` are the members beside its rows.

    Two answers with the same tag have the same bytes, in this process and in any other. Cost: O(slices).
    """
    if answer.origin is None:
        return None
    if answer.view not in _views:
        _views[answer.view] = next(_numbers)
    asked = (_views[answer.view], answer.origin, form, answer.span, repr(answer.arguments), beside)
    return f'"{blake2b(msgspec.msgpack.encode(asked), key=_PROCESS, digest_size=_DIGEST_BYTES).hexdigest()}"'


def caching_headers(tag: str | None) -> dict[str, str]:
    """Return the headers for caches."""
    if tag is None:
        return {"Cache-Control": "no-store", "Vary": VARY}
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": VARY}


def not_modified(asked: Headers, tag: str | None, headers: Mapping[str, str]) -> Response | None:
    """Return a response 304 with the `headers` of the answer if the client's `If-None-Match` has its tag, else None.

    Tags are compared weakly, as RFC 9110 requires: a compressed answer has the weak form of the same tag. The 304 has the tag
    in the form that the client sent, because the client got that form with its answer.
    """
    known = {part.strip() for value in asked.getlist("if-none-match") for part in value.split(",")}
    if tag is None or not known & {tag, f"W/{tag}", "*"}:
        return None
    form = tag if known & {tag, "*"} else f"W/{tag}"
    return Response(status_code=304, headers={**headers, "ETag": form})
