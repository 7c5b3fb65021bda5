"""Decodes records such as `11111111_10` to columns: an id, one underscore, and a signed 64-bit value.

Used by the front end for a whole poll at once. A record with one of `CLEAR_KEYS` clears the dataset. A tombstone, which is a
record with a key and no value, deletes the id that is its key.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import parse_at
from actors.columns.record_text import BOM, bare, bare_all
from actors.columns.text import Text
from actors.columns.times import NO_TIMES, Times
from actors.views.top.arguments import CLEAR_KEYS, CLEAR_VALUE, LONGEST, id_of, key_defect, value_of
from actors.views.view import Decoded, Records, Refusal

_IF_JSON = frozenset({"too_long", "no_underscore", "many_underscores", "no_number"})
"""Reasons that a JSON record would get. The reason that it gets says what to do."""

_JSON = (b"{", b"[")
_GOT_JSON = "expected ID_VALUE such as 11111111_10, got JSON: use record.format"
_OFFSET_BITS = 40
_PARTITION_BITS = 16
_NOT_ASCII = 0x80
_SPACES_2 = (b"\xc2\x85", b"\xc2\xa0")
_SPACES_3 = (b"\xe1\x9a", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80")
"""The first two bytes of the white space that is not ASCII: of characters of two bytes, and of three."""


def places(partitions: NDArray[np.unsignedinteger], offsets: Times, epoch: int) -> Times:
    """Return the place of each record: one number that sorts by epoch, partition and offset.

    Supports 127 epochs, 65,536 partitions and 2**40 offsets.
    """
    lead = (np.int64(epoch & 127) << _PARTITION_BITS) + partitions.astype(np.int64)
    numbers: Times = (lead << _OFFSET_BITS) + offsets
    return numbers


def partition_of(place: Any) -> Any:
    """Return the epoch and partition, as one number, of a place or of each place in a column."""
    return place >> _OFFSET_BITS


def stands_before(places: Times, clear: Any) -> NDArray[np.bool_]:
    """Return the mask of the `places` that a clear deletes: those before it in its partition, and all of earlier epochs.

    `clear` is the place of one clear or tombstone, or a column with one for each of `places`.
    """
    owners, owner = partition_of(places), partition_of(clear)
    gone: NDArray[np.bool_] = (owners == owner) & (places <= clear)
    gone |= owners >> _PARTITION_BITS < owner >> _PARTITION_BITS
    return gone


def offset_of(place: int) -> int:
    """Return the offset of a place."""
    return place & ((1 << _OFFSET_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The ids that tombstones delete, and the place of each tombstone, in order of arrival. An id may occur several times."""

    ids: Text
    places: Times


NO_TOMBSTONES = Tombstones(Text.of([]), NO_TIMES)


@dataclass(frozen=True, slots=True)
class Upserts:
    """Ids and their new values in order of arrival, with the timestamp and the place of each; places of clears; tombstones."""

    ids: Text
    values: Times
    times: Times
    places: Times
    clears: Times
    tombstones: Tombstones = field(default=NO_TOMBSTONES)

    @property
    def count(self) -> int:
        """Number of values, clears and tombstones."""
        return self.values.size + self.clears.size + self.tombstones.places.size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self.ids.nbytes + 8 * (3 * self.values.size + self.clears.size) + self.tombstones.ids.nbytes

    def first(self) -> int | None:
        """Return the earliest time."""
        return int(self.times.min()) if self.times.size else None

    def last(self) -> int | None:
        """Return the latest time."""
        return int(self.times.max()) if self.times.size else None

    def only(self, rows: Any) -> "Upserts":
        """Return the values of `rows`, which are indices or a mask, without clears and tombstones."""
        return Upserts(self.ids.only(rows), self.values[rows], self.times[rows], self.places[rows], NO_TIMES)


def decode(records: Records) -> Decoded:
    """Decode a poll. Cost: about 0.2 us a record, twice that with line ends, 2 us one in an unusual form or a refused one."""
    lines = records.values.text
    times, place = records.timestamps(), places(records.partitions, records.offsets(), records.epoch)
    ids, numbers, plain = _columns(lines)
    if plain.all():
        return Decoded(times, Upserts(ids, numbers, times, place, NO_TIMES), None, [])
    if int(plain.sum()) < lines.lengths.size // 2:
        lines = Text.of(bare_all([value or b"" for value in records.values]))
        ids, numbers, plain = _columns(lines)
    refusals: list[Refusal] = []
    clears, deletes = np.zeros((2, lines.lengths.size), np.bool_)
    deleted: list[bytes] = []
    starts, lengths = ids.starts.copy(), ids.lengths
    for index in np.flatnonzero(~plain).tolist():
        value = records.values[index]
        if value is None and (key := records.key_of(index)) is not None:
            if (reason := key_defect(key)) is None:
                deletes[index] = True
                deleted.append(key)
            else:
                refusals.append(Refusal(index, reason))
            continue
        record = bare(value or b"")
        if record == CLEAR_VALUE and records.key_of(index) in CLEAR_KEYS:
            clears[index] = True
            continue
        read = value_of(record)
        if isinstance(read, int):
            numbers[index], plain[index] = read, True
            name = id_of(record)
            whole = lines.take(np.array([index]))[0]
            starts[index] += whole.index(name, len(BOM) if whole.startswith(BOM) else 0)
            lengths[index] = len(name)
        else:
            is_json = read in _IF_JSON and record.lstrip()[:1] in _JSON
            refusals.append(Refusal(index, _GOT_JSON if is_json else read))
    upserts = Upserts(
        Text(ids.blob, starts, lengths).only(plain),
        numbers[plain],
        times[plain],
        place[plain],
        place[clears],
        Tombstones(Text.of(deleted), place[deletes]) if deleted else NO_TOMBSTONES,
    )
    accepted = plain | clears | deletes
    return Decoded(times[accepted], upserts, accepted if refusals else None, refusals)


def _columns(lines: Text) -> tuple[Text, Times, NDArray[np.bool_]]:
    """Return the ids and the values of records in the usual form, and the mask of these records. Other rows have no meaning."""
    ends = lines.starts + lines.lengths
    cuts, plain = _underscores(lines, ends)
    ids = Text(lines.blob, lines.starts, np.where(plain, cuts - lines.starts, 0))
    numbers, valid = _numbers(lines, cuts + 1)
    plain &= valid & (lines.lengths <= LONGEST)
    heads = lines.blob[lines.starts]
    plain &= (heads != ord(" ")) & (heads != BOM[0]) & (lines.blob[cuts - 1] != ord(" "))
    odd = (lines.blob - np.uint8(ord(" "))) >= _NOT_ASCII - ord(" ")  # control characters and bytes that are not ASCII
    spans = np.column_stack((lines.starts, ends)).ravel()
    with_odd = np.flatnonzero(plain & np.logical_or.reduceat(odd, spans)[::2]) if spans.size else NO_TIMES
    if with_odd.size:
        plain[with_odd] = _are_text(lines.only(with_odd), cuts[with_odd])
    return ids, numbers, plain


def _underscores(lines: Text, ends: Times) -> tuple[Times, NDArray[np.bool_]]:
    """Return the place of each record's underscore, and the mask of the records that have exactly one."""
    found = np.flatnonzero(lines.blob == ord("_"))
    if found.size == ends.size and (plain := (found >= lines.starts) & (found < ends)).all():
        return found, plain
    first = np.searchsorted(found, lines.starts)
    plain = np.searchsorted(found, ends) - first == 1
    # A record without an underscore gets the place of another one's here.
    return np.append(found, 0)[np.minimum(first, found.size)], plain


def _are_text(lines: Text, cuts: Times) -> NDArray[np.bool_]:
    """Return the mask of lines that are text in UTF-8, and whose id, up to `cuts`, has no white space at its ends.

    A line that is masked out may be text too. That costs time only.
    """
    sizes = cuts - lines.starts
    lines = Text.of(lines.take(np.arange(sizes.size)))
    raw = lines.blob[: int(lines.lengths.sum())].tobytes()
    try:
        raw.decode()
    except UnicodeDecodeError:
        return np.zeros(sizes.size, np.bool_)
    fits: NDArray[np.bool_] = lines.blob[lines.starts] & 0xC0 != 0x80  # a line that starts inside a character is not UTF-8
    if any(pair in raw for pair in (*_SPACES_2, *_SPACES_3)):
        fits &= ~_spaced(lines, lines.starts + sizes)
    control = np.flatnonzero(np.frombuffer(raw, np.uint8) < ord(" "))
    fits[np.searchsorted(lines.starts + lines.lengths, control, side="right")] = False
    return fits


def _spaced(lines: Text, cuts: Times) -> NDArray[np.bool_]:
    """Return the mask of lines whose id, from the start to `cuts`, may begin or end with white space that is not ASCII.

    Some of these ids have other punctuation there. A mistake costs time only.
    """

    def pairs(places: Times) -> Times:
        first, second = (lines.blob[np.clip(at, 0, lines.blob.size - 1)].astype(np.int64) for at in (places, places + 1))
        numbers: Times = (first << 8) + second
        return numbers

    two, three = ([int.from_bytes(pair) for pair in each] for each in (_SPACES_2, _SPACES_3))
    begins = np.isin(pairs(lines.starts), two + three)
    ends = np.isin(pairs(cuts - 2), two) | np.isin(pairs(cuts - 3), three)
    return begins | ends


def _numbers(lines: Text, starts: Times) -> tuple[Times, NDArray[np.bool_]]:
    """Parse an optional minus and digits from `starts` to the end of each line; returns numbers and a mask of valid ones."""
    minus = lines.blob[np.minimum(starts, lines.blob.size - 1)] == ord("-")
    starts = starts + minus
    numbers, valid = parse_at(lines.blob, starts, np.maximum(lines.starts + lines.lengths - starts, 0))
    return np.where(minus, -numbers, numbers), valid
