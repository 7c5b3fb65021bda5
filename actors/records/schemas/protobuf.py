"""Messages of Protobuf, read by protobuf's own runtime from descriptors.

A pointer names fields as the schema does. Whole numbers keep all their digits, and the kinds of values do not change.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from actors.records.encoding import UnreadableError
from actors.records.members import Tokens
from actors.records.schemas.framing import MISSING

_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_INTEGER = re.compile("0|-?[1-9][0-9]{0,19}")
_MOST_INDEXES = 100
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TIMESTAMP = "google.protobuf.Timestamp"


class ProtobufSchema:
    """The messages `name` of a serialized FileDescriptorSet. Any thread may use it.

    If records are `framed`, the place of the message in its file comes before it. Raises ValueError, with a text for people, if
    the set has no such message.
    """

    def __init__(self, files: bytes, name: str, *, framed: bool) -> None:
        pool = descriptor_pool.DescriptorPool()
        try:
            found = descriptor_pb2.FileDescriptorSet.FromString(files)
            for file in found.file:
                pool.Add(file)
            message = pool.FindMessageTypeByName(name)
        except DecodeError:
            raise ValueError("a file of descriptors, as `protoc --include_imports --descriptor_set_out` writes it") from None
        except KeyError:
            raise ValueError(f"a message {name}") from None
        except TypeError as error:
            raise ValueError(f"descriptors that fit together, got: {error}") from None
        self._paths = _paths_of(message) if framed else None
        self._parse = message_factory.GetMessageClass(message).FromString

    def values(self, record: bytes, start: int, ways: Sequence[Tokens]) -> Sequence[object]:
        """See the contract. Cost: 0.5 us, and 0.7 us a value."""
        if self._paths is not None:
            indexes, start = _indexes(record, start)
            if indexes not in self._paths:
                raise UnreadableError("other_message")
        try:
            message = self._parse(record[start:])
            return [_found(message, way) for way in ways]
        except (DecodeError, UnicodeDecodeError):
            raise UnreadableError("not_protobuf") from None


def _paths_of(message: Descriptor) -> list[list[int]]:
    """Return the places of a message in its file: the index in its list, after those of the messages around it.

    Some serializers count the entries of maps, which descriptors have among the messages, and others do not. A place that means
    another message to some of them is left out.
    """
    file: FileDescriptor = message.file
    places = {False: dict[str, list[int]](), True: dict[str, list[int]]()}
    for counts_entries, found in places.items():
        _number(list(file.message_types_by_name.values()), [], found, counts_entries=counts_entries)
    others = [path for found in places.values() for name, path in found.items() if name != message.full_name]
    return [path for found in places.values() if (path := found[message.full_name]) not in others]


def _number(messages: Sequence[Descriptor], around: list[int], found: dict[str, list[int]], *, counts_entries: bool) -> None:
    """Add the place of each message to `found`, by name, with those within it."""
    index = 0
    for each in messages:
        is_entry = each.GetOptions().map_entry
        if not is_entry:
            found[each.full_name] = [*around, index]
            _number(each.nested_types, found[each.full_name], found, counts_entries=counts_entries)
        index += counts_entries or not is_entry


def _indexes(record: bytes, start: int) -> tuple[list[int], int]:
    """Return the place of a message, as the frame has it, and where its bytes begin: a count and numbers, all of them zigzag.

    The place of the first message is a single 0.
    """
    count, start = _zigzag(record, start)
    if not 0 <= count <= _MOST_INDEXES:
        raise UnreadableError("not_framed")
    if not count:
        return [0], start
    found = []
    for _ in range(count):
        index, start = _zigzag(record, start)
        found.append(index)
    return found, start


def _zigzag(record: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(start, min(start + 5, len(record))):
        value |= (record[place] & 0x7F) << shift
        if record[place] < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
    raise UnreadableError("not_framed")


def _found(message: Message, way: Tokens) -> object:
    """Return the value at the end of a way through fields, places in lists, and keys of maps."""
    value: Any = message
    field: Any = None
    for token in way:
        if isinstance(value, Message):
            field = value.DESCRIPTOR.fields_by_name.get(token)
            if field is None or (field.has_presence and not value.HasField(token)):
                return MISSING
            value = getattr(value, token)
        elif isinstance(value, Mapping):
            key = _key(value, field, token)
            if key is MISSING:
                return MISSING
            value, field = value[key], field.message_type.fields_by_name["value"]
        elif _is_list(field) and not isinstance(value, str | bytes) and hasattr(value, "__len__"):
            if not _INDEX.fullmatch(token) or int(token) >= len(value):
                return MISSING
            value = value[int(token)]
        else:
            return MISSING
    return _plain(value, field)


def _is_list(field: FieldDescriptor | None) -> bool:
    return field is not None and field.is_repeated


def _key(value: Any, field: Any, token: str) -> Any:
    """Return the key of a map that a token names; MISSING if it has none."""
    kind = field.message_type.fields_by_name["key"].cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        key: Any = token
    elif kind == FieldDescriptor.CPPTYPE_BOOL:
        key = {"true": True, "false": False}.get(token, MISSING)
    else:
        key = int(token) if _INTEGER.fullmatch(token) else MISSING
    try:
        return key if key is not MISSING and key in value else MISSING
    except ValueError:  # a number beyond the type of the key
        return MISSING


def _plain(value: Any, field: FieldDescriptor | None) -> object:
    """Return a value of a field as Python's: the symbol of an enum, the text of a time, the value in a wrapper."""
    if isinstance(value, Message):
        name = value.DESCRIPTOR.full_name
        if name in _WRAPPERS:
            return value.value
        if name == _TIMESTAMP:
            try:
                return value.ToJsonString()
            except ValueError:  # not in the years 1 to 9999
                return {}
        return {}
    if isinstance(value, Mapping):
        return {}
    if isinstance(value, bool | int | float | str | bytes):
        if field is not None and field.enum_type is not None and isinstance(value, int):
            symbol = field.enum_type.values_by_number.get(value)
            return value if symbol is None else symbol.name
        return value
    return [_plain(each, field) for each in value]
