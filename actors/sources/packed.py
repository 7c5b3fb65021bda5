"""A gzip file as a stream of bytes. Every byte before a damaged place is given, and the damage is named."""

import zlib
from typing import BinaryIO

from actors.sources.line_splitter import BLOCK

MAGIC = b"\x1f\x8b"
_WBITS = 16 + zlib.MAX_WBITS
_PACKED = 1 << 16
"""The bytes of one read of the file."""


class Unpacker:
    """Decompresses the gzip members of `file` one after the other. Zeros behind the last member are padding.

    `damage` names the place and the kind of the damage, if there is some. Nothing is read behind that place. A line that is
    incomplete at the damage is `whole` only if a member ends there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._member: zlib._Decompress | None = None
        self._input = b""
        self._read = 0
        self.damage: str | None = None
        self.whole = True

    def read(self, most: int = BLOCK) -> bytes:
        """Return the next bytes, at most `most`; b"" at the end or the damage. Raises OSError if the file cannot be read."""
        while self.damage is None:
            if not self._input and not self._more():
                return self._incomplete(most)
            if self._member is None and not self._begin():
                continue
            if block := self._unpacked(most):
                return block
        return b""

    def _more(self) -> bool:
        """Read compressed bytes. Returns False at the end of the file."""
        packed = self._file.read(_PACKED)
        self._read += len(packed)
        self._input += packed
        return bool(packed)

    def _incomplete(self, most: int) -> bytes:
        """Return what is left of a member that the end of the file cuts off."""
        if self._member is None:
            return b""
        block = self._member.decompress(b"", most)
        if not block:
            self._note("the file is incomplete")
        return block

    def _begin(self) -> bool:
        """Begin a member. Returns False if there are only zeros, or bytes that are not a member."""
        if self._read > len(self._input):
            self._input = self._input.lstrip(b"\0")
        if len(self._input) == 1:
            self._more()
        if not self._input:
            return False
        if not self._input.startswith(MAGIC):
            self._note("bytes follow that are not gzip")
            return False
        self._member = zlib.decompressobj(_WBITS)
        return True

    def _unpacked(self, most: int) -> bytes:
        """Decompress some of the input. Up to a damaged byte, the input is decompressed byte by byte."""
        assert self._member is not None, "a member has begun"
        before, given = self._member.copy(), self._input
        try:
            block = self._member.decompress(given, most)
        except zlib.error as error:
            return self._up_to_damage(before, given, error)
        self._input = self._member.unconsumed_tail or self._member.unused_data
        if self._member.eof:
            self._member = None
        return block

    def _up_to_damage(self, member: "zlib._Decompress", given: bytes, error: zlib.error) -> bytes:
        self._note(str(error).partition(": ")[2] or str(error))
        found = bytearray()
        try:
            for place in range(len(given)):
                found += member.decompress(given[place : place + 1])
        except zlib.error:
            return bytes(found)
        return bytes(found)

    def _note(self, reason: str) -> None:
        self.damage = f"gzip, near byte {self._read - len(self._input)}: {reason}"
        self.whole = self._member is None
