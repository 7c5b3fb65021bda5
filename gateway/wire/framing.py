"""Finds the end of a request in the bytes of a connection before they are parsed. Pure.

httptools would parse all buffered requests at once. Cut into these pieces, it parses one request at a time.
"""

from collections.abc import Mapping

_END = b"\r\n\r\n"
_FRAMING = 6
"""Allowed bytes of framing for one byte of a chunked body: the chunk of one byte `1 CRLF x CRLF` has five."""


class Framing:
    r"""One request after the other: first its line and headers, at most `most_header_bytes`, then its body.

    A body with a Content-Length is measured exactly. A chunked body ends where the parser says. Its framing, the sizes of
    chunks and the trailers, may be as long as headers, and in proportion to the body.

    >>> framing = Framing()
    >>> framing.piece_of_headers(b"GET / HTTP/1.1\r\n\r\nGET /2", 0), framing.header_bytes
    (18, 18)
    >>> framing.begin_body({b"content-length": b"2"}, most_header_bytes=100)
    >>> framing.piece_of_body(b"hiGET /2", 0), framing.body_left
    (2, 0)
    """

    __slots__ = ("_spare", "_tail", "body_left", "header_bytes")

    def __init__(self) -> None:
        self.header_bytes = 0
        self.body_left: int | None = 0
        self._spare = 0
        self._tail = b""

    def begin(self) -> None:
        """Expect a request."""
        self.header_bytes, self._tail = 0, b""

    def piece_of_headers(self, data: bytes, at: int) -> int:
        """Take the bytes from `at` up to the next blank line, which may end the headers, or all. Return the end of them."""
        across = (self._tail + data[at : at + 3]).find(_END)  # a line that came in two parts
        if across >= 0:
            end = at + across + len(_END) - len(self._tail)
        else:
            found = data.find(_END, at)
            end = found + len(_END) if found >= 0 else len(data)
        self._tail = (self._tail + data[max(at, end - 3) : end])[-3:]
        self.header_bytes += end - at
        return end

    def begin_body(self, headers: Mapping[bytes, bytes], *, most_header_bytes: int) -> None:
        """Expect the body that the headers announce. The parser has checked the headers."""
        self.body_left = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))
        self._spare = most_header_bytes

    def piece_of_body(self, data: bytes, at: int) -> int:
        """Take the bytes from `at` up to the end of the body, or all. Return the end of them."""
        if self.body_left is None:
            self._spare -= len(data) - at
            return len(data)
        end = min(len(data), at + self.body_left)
        self.body_left -= end - at
        return end

    def came(self, nbytes: int) -> None:
        """Count `nbytes` bytes of the body itself, without framing."""
        self._spare += (1 + _FRAMING) * nbytes

    @property
    def is_padded(self) -> bool:
        """Whether a chunked body has more framing than it may have."""
        return self.body_left is None and self._spare < 0
