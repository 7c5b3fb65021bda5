"""The command `replay`: puts dead letters back to the topics that they came from, each once and in their order."""

import sys
from collections import Counter
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from scripts.service.letters.replay import Replay


def replay(
    from_topic: Annotated[str, typer.Option(help="The dead-letter topic.")],
    bootstrap: Annotated[str, typer.Option(help="The broker's address.")] = "127.0.0.1:9092",
    reason: Annotated[list[str] | None, typer.Option(help="Only records refused for this reason; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Put back at most this many records.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be put back.")] = False,
) -> None:
    """Put dead letters back to the topics that they came from.

    Each is put back once, with its own key, value, headers and partition.
    """
    run = Replay({"bootstrap.servers": bootstrap}, from_topic, set(reason) if reason else None)
    counts: Counter[tuple[str, str]] = Counter()
    try:
        run.begin(putting_back=not dry_run)
        for letters in run.letters():
            chosen = letters if limit is None else letters[: limit - counts.total()]
            if chosen and not dry_run:
                run.put_back(chosen)
            counts.update((str(letter.topic), letter.reason) for letter in chosen)
            if counts.total() == limit:
                break
    except (KafkaException, ValueError) as error:
        problem = f"{bootstrap}: {error.args[0].str()}" if isinstance(error, KafkaException) else str(error)
        sys.exit(f"replay: {problem}; {0 if dry_run else counts.total():,} were put back before")
    finally:
        run.close()
    if dry_run:
        table = Table("topic", "reason", "records")
        for (topic, why), count in sorted(counts.items()):
            table.add_row(topic, why, f"{count:,}")
        Console().print(table)
    print(f"{counts.total():,} {'would be' if dry_run else 'were'} put back")
