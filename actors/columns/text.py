"""Byte strings as columns, and their 64-bit hashes, a whole poll at a time, the same in every process.

Used by views that count or look up by name. Not keyed: who may choose the strings can make two of them collide.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import Times

Hashes = NDArray[np.uint64]

_WORD = 8
_SEED = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_LONG = 1_024
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
"""The mask that keeps so many of a word's low bytes."""

_SHIFT = np.uint64(33)
_TURN = np.uint64(29)


def state_of(texts: Collection[str]) -> State:
    """Return what `texts_of` makes the same `texts` of: their characters and how many each has. Cost: 30 ns a text."""
    return "".join(texts).encode(), np.fromiter(map(len, texts), np.uint32, len(texts))


def texts_of(state: State) -> list[str]:
    """Return the texts of which `state` was taken. Cost: 120 ns a text.

    Raises ValueError or TypeError for what is no such state.
    """
    encoded, lengths = state
    joined, ends = str(encoded, "utf-8"), np.cumsum(np.asarray(lengths, np.uint32), dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(joined):
        raise ValueError(f"texts of {ends[-1] if ends else 0} characters in all were expected, got {len(joined)}")
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True, slots=True)
class Text:
    """Byte strings as columns: string k is `length[k]` bytes of `blob` from `start[k]` on.

    Seven bytes or more follow the last string in `blob`, so that eight bytes can be read from anywhere in it.

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
        """Return text as UTF-8 columns. Cost: 60 ns a string where all is ASCII, twice that else."""
        joined = "".join(values)
        if not joined.isascii():
            return Text.of([value.encode() for value in values])
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        return Text(np.frombuffer(joined.encode() + bytes(_WORD), np.uint8), np.cumsum(lengths) - lengths, lengths)

    @staticmethod
    def joining(texts: "Sequence[Text]") -> "Text":
        """Return the strings of all `texts`, which are at least one. Cost: a copy, where there are several."""
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

    def take(self, rows: Times) -> list[bytes]:
        """Return the strings at `rows` as objects. Cost: 0.2 us each."""
        blob = self.blob.data
        starts, lengths = self.starts[rows].tolist(), self.lengths[rows].tolist()
        return [bytes(blob[start : start + length]) for start, length in zip(starts, lengths, strict=True)]

    def joined(self, rows: Times) -> NDArray[np.uint8]:
        """Return the bytes of the strings at `rows`, one after the other. Cost: 1 ns a byte for one length, 4 ns for many."""
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

    def hashes(self) -> Hashes:
        """Return a 64-bit hash of each string.

        Mixes eight bytes at a time as MurmurHash3 finishes (Appleby, 2011); what is longer than `_LONG` bytes goes through
        BLAKE2b. Of n different strings some pair collides with a probability of about n * n / 2**65: 3e-8 for a million.
        Cost: 20 ns a string, and 10 to 20 ns for eight bytes of it.
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
        """Return where string k equals string `rows[k]` of `other`. Cost: some 20 ns for eight bytes of a pair."""
        same: NDArray[np.bool_] = self.lengths == other.lengths[rows]
        alike = np.flatnonzero(same)
        own = Text(self.blob, self.starts[alike], self.lengths[alike])
        theirs = Text(other.blob, other.starts[rows[alike]], own.lengths)
        for (some, words), (_, other_words) in zip(own._words(own.lengths), theirs._words(own.lengths), strict=True):
            same[alike[some]] = (words == other_words).all(axis=1)
        return same

    def prefixes(self, place: int) -> Hashes:
        """Return eight bytes of each string from `place` on as numbers that sort as they do, zeros for what is not there."""
        inside = self.lengths > place
        sliding = self._sliding
        word = (
            sliding[np.where(inside, self.starts + place, 0)]
            & _KEPT[np.where(inside, np.minimum(self.lengths - place, _WORD), 0)]
        )
        prefixes: Hashes = word.byteswap()
        return prefixes

    def _words(self, lengths: Times) -> Iterator[tuple[Any, NDArray[np.uint64]]]:
        """Yield rows, and the first `lengths` bytes of each as eight-byte words, zeros after the end: by number of words."""
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
        """Return `count` words from each of `starts` on. Strings that lie one behind the other are copied in one go."""
        stride = int(starts[1] - starts[0]) if starts.size > 1 else 0
        if stride > 0 and (np.diff(starts) == stride).all():
            laid = np.ndarray((starts.size, count), "<u8", self.blob, offset=int(starts[0]), strides=(stride, _WORD))
            return laid.copy()
        words: NDArray[np.uint64] = self._sliding[starts[:, None] + np.arange(0, count * _WORD, _WORD)]
        return words

    @property
    def _sliding(self) -> NDArray[np.uint64]:
        """Eight bytes from each place of the blob on, as a word."""
        return np.ndarray((self.blob.size - _WORD + 1,), "<u8", self.blob, strides=(1,))


def _mixed(state: Hashes, word: Any) -> Hashes:
    """Mix one word into each state."""
    state = (state ^ word) * _FIRST
    state ^= state >> _SHIFT
    state *= _SECOND
    state ^= state >> _TURN
    return state
