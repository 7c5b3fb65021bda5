"""The secret that the processes of a cluster share: read from a file or the environment, never logged."""

import stat
from collections.abc import Mapping
from pathlib import Path

from gateway.cluster.proof import LEAST_BYTES

VARIABLE = "FIRNLINE_CLUSTER_SECRET"
"""It is no setting, so no listing of settings shows it."""


def secret_of(path: Path | None, environ: Mapping[str, str]) -> bytes:
    """Return the secret. Raises ValueError if it is absent, or if other users can read it."""
    if path is None:
        found, place = environ.get(VARIABLE, "").encode(), f"environment {VARIABLE}"
    else:
        place = f"cluster.secret: {path}"
        try:
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO:
                raise ValueError(f"{place}: expected a file that other users cannot read: chmod o-rwx {path}")
            found = path.read_bytes().strip()
        except OSError as error:
            raise ValueError(f"{place}: expected a file to read: {error.strerror}") from None
    if len(found) < LEAST_BYTES:
        raise ValueError(f"{place}: expected the secret of the cluster, {LEAST_BYTES} bytes or more, got {len(found)}")
    return found
