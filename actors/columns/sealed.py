"""Ascending int64 columns compressed to about a byte a value.

Used by columns and frozen slices. Both directions release the interpreter's lock, so a query can run beside them.
"""

import numpy as np
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from actors.columns.times import Times

CHUNK = 16_384
"""Values in one sealed piece: 0.1 ms to open, and within 1 % of the size of larger pieces."""

OVERHEAD_BYTES = 96
"""What Python adds to one sealed piece: the bytes object and its place in a container."""

_CONFIG = ChunkConfig(compression_level=8, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.try_consecutive(1))


def seal(values: Times) -> bytes:
    """Compress `values`. Cost: 50 ns a value for random times, 8 ns for regular ones."""
    return bytes(standalone.simple_compress(np.ascontiguousarray(values), _CONFIG))


def unseal(data: bytes | memoryview) -> Times:
    """Return the values that `seal` was given. Cost: 8 ns a value; what lies in a mapped file is copied first."""
    values = standalone.simple_decompress(bytes(data))
    assert values is not None, "a sealed piece is never empty"
    return np.asarray(values, np.int64)
