"""Proofs that a text is from a process of the same cluster: each is a keyed digest (HMAC-SHA256) with the shared secret."""

import hmac
from hashlib import sha256

LEAST_BYTES = 16
"""A shorter secret is refused."""


def proof_of(secret: bytes, purpose: str, *parts: bytes | bytearray) -> str:
    """Return the proof of `parts`, as hexadecimal digits. A proof has one `purpose`, and fits no other one.

    >>> proof_of(b"s", "question", b"a") == proof_of(b"s", "answer", b"a")
    False
    """
    digest = hmac.new(secret, purpose.encode(), sha256)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def proves(secret: bytes, given: str, purpose: str, *parts: bytes | bytearray) -> bool:
    """Return whether `given` is the proof of `parts`. The time does not depend on `given`."""
    return hmac.compare_digest(given.encode("ascii", "replace"), proof_of(secret, purpose, *parts).encode())
