"""States that were written and read again, and damaged states, for the tests of snapshots."""

import random
from typing import Any

import numpy as np

from actors.columns import snapshot

REFUSED = (ValueError, TypeError, KeyError, IndexError)
"""The errors that a damaged state may raise."""


def file_of(state: Any, kind: str = "state") -> bytearray:
    """Return the file of a state. It cannot be cleared while an array points into it."""
    data = bytearray()
    snapshot.write(kind, state, data.extend)
    return data


def kept(state: Any) -> Any:
    """Return a state after writing it to a file and reading it again."""
    return snapshot.read("state", memoryview(file_of(state)))


def spoilt(tree: Any, chance: random.Random) -> Any:
    """Return `tree` with one node changed, missing, or replaced."""
    places = list(_places(tree, ()))
    return _replaced(tree, chance.choice(places), chance)


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    yield path
    if isinstance(tree, dict):
        for key in tree:
            yield from _places(tree[key], (*path, key))
    elif isinstance(tree, list):
        for index, each in enumerate(tree):
            yield from _places(each, (*path, index))


def _replaced(tree: Any, path: tuple[Any, ...], chance: random.Random) -> Any:
    if not path:
        return chance.choice([*_near(tree, chance), None, True, -1, 1.5, 2**63, 2**64 - 1, "x", b"\0" * 9, [], [[]], {}])
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = _replaced(tree[path[0]], path[1:], chance)
    return copy


def _near(node: Any, chance: random.Random) -> list[Any]:
    """Return values that differ little from `node`, each four times, because small changes are hard to find."""
    near: list[Any] = []
    if isinstance(node, np.ndarray):
        near = [node[:-1], np.concatenate((node, node)), node.astype(np.float64), node.astype(np.uint16), node[None]]
        if node.size:
            other = node.copy()
            info = np.iinfo(node.dtype) if node.dtype.kind in "iu" else None
            at = chance.randrange(node.size)
            other.flat[at] = chance.choice([0, 1, info.max, info.min]) if info else not other.flat[at]
            near += [other, other, other, node[::-1]]
    elif isinstance(node, memoryview | bytes):
        other_bytes = bytearray(node)
        if other_bytes:
            other_bytes[chance.randrange(len(other_bytes))] ^= 1 << chance.randrange(8)
        near = [bytes(other_bytes), node[:-1], node[:8], bytes(node) * 2]
    elif isinstance(node, int):
        near = [node + 1, node - 1, -node]
    elif isinstance(node, list) and node:
        near = [node[:-1], node + node[-1:], node[::-1]]
    elif isinstance(node, dict) and node:
        left = chance.choice(list(node))
        near = [{key: each for key, each in node.items() if key != left}]
    return 4 * near
