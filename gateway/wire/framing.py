"""Where a request ends in the bytes of a connection, as far as that can be told before they are parsed. Pure.

A parser that is given all that came makes as many requests of it as there are. In these pieces it makes one at a time.
"""

from collections.abc import Mapping

_END = b"\r\n\r\n"
_FRAMING = 6
"""Bytes beside it that a byte of a body may come with, as `1`, two line ends, and one to spare."""


class Framing:
    r"""One request after the other: first its line and headers, at most `most_header_bytes`, then its body.

    A body whose length is given is measured exactly. One in chunks ends where the parser says so; what it comes with, sizes of
    chunks and trailers, may be no longer than headers, and in proportion to it.

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
        """Take what stands from `at` to the next blank line, which may end the headers, or the end; returns where that is."""
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
        """Expect the body that the headers, checked by the parser, tell of."""
        self.body_left = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))
        self._spare = most_header_bytes

    def piece_of_body(self, data: bytes, at: int) -> int:
        """Take what stands from `at` to the body's end, or to the end; returns where that is."""
        if self.body_left is None:
            self._spare -= len(data) - at
            return len(data)
        end = min(len(data), at + self.body_left)
        self.body_left -= end - at
        return end

    def came(self, nbytes: int) -> None:
        """Note so many bytes of the body itself."""
        self._spare += (1 + _FRAMING) * nbytes

    @property
    def is_padded(self) -> bool:
        """Whether a body in chunks comes with more than it may."""
        return self.body_left is None and self._spare < 0
