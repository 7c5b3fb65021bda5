"""Byte strings as columns, and their 64-bit hashes, for a whole poll at once. Hashes are equal in every process.

Used by views that count or look up by name. The hash is not keyed: a producer that chooses the strings can make two collide.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import column
from actors.columns.snapshot import State
from actors.columns.times import Times

Hashes = NDArray[np.uint64]

_WORD = 8
_SEED = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_LONG = 1_024
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
"""Entry k is the mask of the k low bytes of a word."""

_BLANK, _LAST = ord(" "), ord("~")
_SHIFT = np.uint64(33)
_TURN = np.uint64(29)


def state_of(texts: Collection[str]) -> State:
    """Return the state for `texts_of`: all characters, and the length of each text. Cost: 30 ns a text."""
    return "".join(texts).encode(), np.fromiter(map(len, texts), np.uint32, len(texts))


def texts_of(state: State) -> list[str]:
    """Restore texts from their `state`. Cost: 120 ns a text.

    Raises ValueError or TypeError if `state` is invalid.
    """
    encoded, lengths = state
    joined, ends = str(encoded, "utf-8"), np.cumsum(column(lengths, np.uint32), dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(joined):
        raise ValueError(f"texts with {ends[-1] if ends else 0} characters in total were expected, got {len(joined)}")
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True, slots=True)
class Text:
    """Byte strings as columns: string k is the `lengths[k]` bytes of `blob` from `starts[k]` on.

    At least seven bytes follow the last string in `blob`, so eight bytes can be read at any place of a string.

    >>> text = Text.of([b"ab", b"", b"abc"])
    >>> text.take(np.array([2, 0])), (text.hashes()[:1] == Text.of([b"ab"]).hashes()).all()
    ([b'abc', b'ab'], np.True_)
    """

    blob: NDArray[np.uint8]
    starts: Times
    lengths: Times

    @staticmethod
    def of(values: Sequence[bytes]) -> "Text":
        """Return `values` as columns. Cost: 60 ns a string."""
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        return Text(np.frombuffer(b"".join(values) + bytes(_WORD), np.uint8), np.cumsum(lengths) - lengths, lengths)

    @staticmethod
    def of_text(values: Sequence[str]) -> "Text":
        """Return text as UTF-8 columns. Cost: 60 ns a string if all are ASCII, else twice that."""
        joined = "".join(values)
        if not joined.isascii():
            return Text.of([value.encode() for value in values])
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        return Text(np.frombuffer(joined.encode() + bytes(_WORD), np.uint8), np.cumsum(lengths) - lengths, lengths)

    @staticmethod
    def joining(texts: "Sequence[Text]") -> "Text":
        """Return the strings of all `texts`, at least one. Cost: a copy, if there are several."""
        if len(texts) == 1:
            return texts[0]
        blob = np.concatenate([text.blob for text in texts])
        offsets = np.cumsum([0, *(text.blob.size for text in texts[:-1])])
        starts = np.concatenate([text.starts + offset for text, offset in zip(texts, offsets, strict=True)])
        return Text(blob, starts, np.concatenate([text.lengths for text in texts]))

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self.blob.nbytes + self.starts.nbytes + self.lengths.nbytes

    def only(self, rows: Any) -> "Text":
        """Return the strings at `rows`, which are indices or a mask. Shares the bytes."""
        return Text(self.blob, self.starts[rows], self.lengths[rows])

    def take(self, rows: Times) -> list[bytes]:
        """Return the strings at `rows` as objects. Cost: 0.2 us each."""
        blob = self.blob.data
        starts, lengths = self.starts[rows].tolist(), self.lengths[rows].tolist()
        return [bytes(blob[start : start + length]) for start, length in zip(starts, lengths, strict=True)]

    def joined(self, rows: Times) -> NDArray[np.uint8]:
        """Return the concatenated bytes of the strings at `rows`. Cost: 1 ns a byte if all lengths are equal, else 4 ns."""
        lengths = self.lengths[rows]
        length = int(lengths[0]) if rows.size else 0
        if (lengths == length).all():
            if not length:
                return np.empty(0, np.uint8)
            words = self._gathered(self.starts[rows], -(-length // _WORD))
            return words.view(np.uint8).reshape(rows.size, -1)[:, :length].ravel()
        ends = np.cumsum(lengths)
        places = np.arange(int(ends[-1])) + np.repeat(self.starts[rows] - (ends - lengths), lengths)
        joined: NDArray[np.uint8] = self.blob[places]
        return joined

    def printable(self) -> NDArray[np.bool_]:
        """Return the mask of the strings that are printable ASCII. Cost: 2 ns for each byte of the blob."""
        odd = np.cumsum((self.blob - np.uint8(_BLANK)) > _LAST - _BLANK)
        before = np.concatenate(([0], odd))
        found: NDArray[np.bool_] = before[self.starts + self.lengths] == before[self.starts]
        return found

    def hashes(self) -> Hashes:
        """Return a 64-bit hash of each string.

        Mixes eight bytes at a time with the finaliser of MurmurHash3 (Appleby, 2011); strings longer than `_LONG` bytes are
        hashed with BLAKE2b. The probability of any collision among n strings is about n * n / 2**65: 3e-8 for a million.
        Cost: 20 ns a string, and 10 to 20 ns for each eight bytes.
        """
        state = self.lengths.astype(np.uint64) * _SEED + _FIRST
        short = np.minimum(self.lengths, _LONG)
        for rows, words in self._words(short):
            own = state[rows]
            for place in range(words.shape[1]):
                own = _mixed(own, words[:, place])
            state[rows] = own
        for row in np.flatnonzero(self.lengths > _LONG).tolist():
            digest = blake2b(self.take(np.array([row]))[0], digest_size=_WORD).digest()
            state[row] = int.from_bytes(digest, "little")
        return _mixed(state, np.uint64(0))

    def same(self, other: "Text", rows: Times) -> NDArray[np.bool_]:
        """Return a mask: whether string k equals string `rows[k]` of `other`. Cost: about 20 ns for each eight bytes."""
        same: NDArray[np.bool_] = self.lengths == other.lengths[rows]
        alike = np.flatnonzero(same)
        own = Text(self.blob, self.starts[alike], self.lengths[alike])
        theirs = Text(other.blob, other.starts[rows[alike]], own.lengths)
        for (some, words), (_, other_words) in zip(own._words(own.lengths), theirs._words(own.lengths), strict=True):
            same[alike[some]] = (words == other_words).all(axis=1)
        return same

    def index(self, values: Sequence[bytes]) -> NDArray[np.int64]:
        """Return for each string the place in `values`, which differ, of the one that it equals, or -1.

        Cost: 10 ns a string, and 3 ns for each value of its length and its eight bytes.

        >>> Text.of([b"ab", b"abc", b"b", b""]).index([b"b", b"ab"]).tolist()
        [1, -1, 0, -1]
        """
        found = np.full(self.starts.size, -1)
        for length in {len(value) for value in values}:
            rows = np.flatnonzero(self.lengths == length)
            if not rows.size:
                continue
            count = -(-length // _WORD)
            words = self._gathered(self.starts[rows], count)
            if count:
                words[:, -1] &= _KEPT[length - (count - 1) * _WORD]
            for place, value in enumerate(values):
                if len(value) == length:
                    there = np.frombuffer(value + bytes(count * _WORD - length), "<u8")
                    same = np.ones(rows.size, np.bool_)
                    for column in range(count):
                        same &= words[:, column] == there[column]
                    found[rows[same]] = place
        return found

    def prefixes(self, place: int) -> Hashes:
        """Return eight bytes of each string from `place` on, padded with zeros, as numbers in the order of the bytes."""
        inside = self.lengths > place
        sliding = self._sliding
        word = (
            sliding[np.where(inside, self.starts + place, 0)]
            & _KEPT[np.where(inside, np.minimum(self.lengths - place, _WORD), 0)]
        )
        prefixes: Hashes = word.byteswap()
        return prefixes

    def words_at(self, place: int) -> Hashes:
        """Return the eight bytes of each string from `place` on as a number, its first byte the lowest.

        No string may be shorter than `place`. What follows a string is arbitrary. Cost: 2 ns a string.
        """
        words: Hashes = self._sliding[self.starts + place]
        return words

    def _words(self, lengths: Times) -> Iterator[tuple[Any, NDArray[np.uint64]]]:
        """Yield rows with the same number of words, and the first `lengths` bytes of each as words, padded with zeros."""
        counts = (lengths + (_WORD - 1)) // _WORD
        distinct = np.flatnonzero(np.bincount(counts)).tolist() if counts.size else []
        for count in distinct:
            rows = slice(None) if len(distinct) == 1 else np.flatnonzero(counts == count)
            own = lengths[rows]
            words = self._gathered(self.starts[rows], count)
            if count:
                words[:, -1] &= _KEPT[own - (count - 1) * _WORD]
            yield rows, words

    def _gathered(self, starts: Times, count: int) -> NDArray[np.uint64]:
        """Return `count` words from each of `starts` on. Copies strings at a constant stride in one operation."""
        stride = int(starts[1] - starts[0]) if starts.size > 1 else 0
        if stride > 0 and (np.diff(starts) == stride).all():
            laid = np.ndarray((starts.size, count), "<u8", self.blob, offset=int(starts[0]), strides=(stride, _WORD))
            return laid.copy()
        words: NDArray[np.uint64] = self._sliding[starts[:, None] + np.arange(0, count * _WORD, _WORD)]
        return words

    @property
    def _sliding(self) -> NDArray[np.uint64]:
        """The word of eight bytes at each place of the blob."""
        return np.ndarray((self.blob.size - _WORD + 1,), "<u8", self.blob, strides=(1,))


def _mixed(state: Hashes, word: Any) -> Hashes:
    """Mix one word into each state."""
    state = (state ^ word) * _FIRST
    state ^= state >> _SHIFT
    state *= _SECOND
    state ^= state >> _TURN
    return state
