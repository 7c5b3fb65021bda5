"""Entity tags: a client that has an answer already is told so, instead of being sent it again.

An answer has a tag where nothing but frozen slices has a part in it. These never change, so the tag is a digest of which ones
they are and of what was asked, and costs no look at the rows. Whatever changes the answer changes the tag: a late event that
adds a set lies in another slice, one that is dropped is no part of it any more. That may happen at any time, so nothing is
fresh without asking: `no-cache`. All other answers are not to be stored.
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
"""Collectors are numbered anew by each process."""

_views: WeakKeyDictionary[View, int] = WeakKeyDictionary()
_numbers = itertools.count(1)

VARY = "Accept"
"""What an answer to a path depends on beside it."""


def tag_of(answer: Answer, form: str, said: Mapping[str, object]) -> str | None:
    """Return the strong tag of an answer in a `form`, with all that is `said` in its body beside rows; None where it has none.

    Two answers with the same tag have the same bytes, in this process and in any other. Cost: O(slices).
    """
    if answer.origin is None:
        return None
    if answer.view not in _views:
        _views[answer.view] = next(_numbers)
    asked = (_views[answer.view], answer.origin, form, answer.span, repr(answer.arguments), said)
    return f'"{blake2b(msgspec.msgpack.encode(asked), key=_PROCESS, digest_size=_DIGEST_BYTES).hexdigest()}"'


def caching_headers(tag: str | None) -> dict[str, str]:
    """Return what an answer says of keeping it."""
    if tag is None:
        return {"Cache-Control": "no-store", "Vary": VARY}
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": VARY}


def not_modified(asked: Headers, tag: str | None, headers: Mapping[str, str]) -> Response | None:
    """Return the response 304, with the `headers` of the answer, where the client has it by its `If-None-Match`; else None.

    Tags are compared weakly, as RFC 9110 has it: the tag of a compressed answer is the weak form of the same.
    """
    known = [part.strip().removeprefix("W/") for value in asked.getlist("if-none-match") for part in value.split(",")]
    if tag is None or not {tag, "*"} & set(known):
        return None
    return Response(status_code=304, headers=dict(headers))
