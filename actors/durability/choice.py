"""What a stream does if no checkpoint fits the results that readers see.

Used by the keeper. Decides only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.standing import Standing


@dataclass(frozen=True, slots=True)
class Choice:
    """`newest`: load the newest readable checkpoint; otherwise begin anew.

    `doubt` describes results that may come twice or be missing. If `refused` is set, only a person can decide.
    """

    newest: bool = False
    doubt: str | None = None
    refused: str | None = None


def choose(readable: Sequence[int], standing: Standing | None, *, folder: str, damaged: bool) -> Choice:
    """Choose what to do with the `readable` checkpoints, the newest first, in the folder named `folder`.

    `damaged`: others exist and cannot be read, so they may have fitted.
    """
    if standing is None or not (standing.recorded or readable):
        return Choice()
    newest = f"checkpoint {readable[0]}" if readable else "no checkpoint"
    topic = f"topic {standing.topic}"
    if not standing.recorded:
        return Choice(
            newest=True,
            doubt=f"Kafka has neither the number of a commit nor a result in {topic}: {newest} is loaded; "
            "results of the moment before it may be missing",
        )
    if standing.mark is None and not standing.numbered:
        return Choice()  # no result is committed: the stream begins where it began
    if standing.meaning not in ("", folder):  # settings have changed, and with them the meaning of the results
        return Choice(newest=True)
    ahead = f"{topic} has results up to checkpoint {standing.checkpoint}, and {folder} has {newest}"
    if damaged or standing.force:
        return Choice(newest=True, doubt=f"{ahead}: results since then come twice")
    process = f", by {standing.process}," if standing.process else ""
    return Choice(
        refused=f"{ahead}: an older copy of data_dir was restored, or another process{process} writes as this data_dir; "
        "restore the newest copy, or start with --force, which publishes the results since then twice"
    )
