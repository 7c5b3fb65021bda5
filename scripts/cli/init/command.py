"""The command `firnline init`: its flags, its questions and what it prints."""

import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from config.load import SettingsError, load
from config.settings import TAKEN
from config.streams import STREAMS
from firnline.transport import HERE
from scripts.brokers.embedded import find_embedded
from scripts.brokers.settings import refused as refused_settings
from scripts.checkout import typed
from scripts.cli.configuration.tried import with_broker
from scripts.cli.init.proposal import Proposal, as_found, best, propose, view_for
from scripts.cli.init.roles import MOST_STEPS, Guess, Order
from scripts.cli.init.writing import yaml_of
from scripts.cli.printing import most_common, visible
from scripts.cli.topic_records import AbsentError, Given, names_of_topics, of_topic

RECORDS = 1_000
_A_PARTITION = 500
_USUAL = "127.0.0.1:9092"
_STDOUT = "-"
_MOST_GUESSES = 5
_QUESTIONS = {
    "sets": "/{}/get-sets?startTime=-1h&endTime=now&limit=3",
    "top": "/{}?limit=3&values=1",
    "segments": "/{}?limit=3",
    "uniques": "/{}?start=-1h&end=now",
    "words": "/{}/CountWords?startTime=-1h&limit=3",
    "funnel": "/{}?startTime=-1h",
}
"""A first question to a stream of each view."""


def main(
    bootstrap: Annotated[str | None, typer.Option(help="HOST:PORT of the broker.")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic to read.")] = None,
    view: Annotated[str | None, typer.Option(help=f"What is answered: {', '.join(STREAMS)}; by default what fits.")] = None,
    to: Annotated[str | None, typer.Option(help="The file to write, or - for standard output; by default STREAM.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of Kafka's client: kafka.security.protocol=SSL.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take the best guess for what no option gives.")
    ] = False,
) -> None:
    """Look at the newest records of a topic, and write a configuration that reads them.

    Reads up to 1,000 records, and creates and writes nothing in Kafka. What no option gives is asked.
    """
    ask = _Questions(yes=yes)
    try:
        if view is not None:
            _check_view(view)
        address = bootstrap or ask.text("--bootstrap", "Broker (HOST:PORT)", find_embedded() or _USUAL)
        kafka = _kafka(address, overrides or [])
        topic = topic or ask.topic(with_broker(kafka))
        name = _name_of(topic)
        if to is None and yes:
            to = f"{name}.yaml"
        if to is not None:
            _check_target(to)
        records = _newest(kafka, topic)
        view = view or ask.choice("--view", f"View ({', '.join(STREAMS)})", list(STREAMS), view_for(records))
        proposal = _proposed(topic, view, records, ask)
        to = to or ask.target("--to", "File to write", f"{name}.yaml")
        file = to if to != _STDOUT else "FILE"
        run = typed("serve", "--config", file)
        text = yaml_of(name, kafka, proposal, len(records), run)
        if to == _STDOUT:
            typer.echo(text, nl=False)
        else:
            _write(Path(to), text)
        few = len(records) == 1
        read = (
            "the only record is an event" if few else f"{proposal.events:,} of the newest {len(records):,} records are events"
        )
        typer.echo(f"{read} of {view}", err=True)
        for doubt in proposal.doubts:
            typer.echo(f"not sure: {doubt}", err=True)
        if to != _STDOUT:
            lines = [f"{to} is written. See its records: {typed('config', 'try', '--config', to)}", f"Start: {run}"]
            typer.echo("\n".join([*lines, f"Ask: curl -s '{HERE}{_QUESTIONS[view].format(name)}'"]), err=True)
    except ValueError as error:
        sys.exit(f"init: {visible(str(error))}")


def _check_view(view: str) -> None:
    if view not in STREAMS:
        raise ValueError(f"--view: expected one of {', '.join(STREAMS)}, got {view}")


def _check_target(to: str) -> None:
    if to != _STDOUT and Path(to).exists():
        raise ValueError(f"{to}: it exists already, and is not overwritten: give another file by --to")


def _kafka(address: str, overrides: Sequence[str]) -> Mapping[str, Any]:
    """Return the settings of the cluster: those of the command line and of the environment."""
    for override in overrides:
        if not override.startswith("kafka."):
            raise ValueError("--set: expected a setting of Kafka's client such as kafka.security.protocol=SSL")
    try:
        given = load(None, [*overrides, f"kafka.bootstrap.servers={address}"], os.environ, refused=refused_settings)
    except SettingsError as error:
        raise ValueError("; ".join(error.problems)) from None
    return given.client


def _newest(kafka: Mapping[str, Any], topic: str) -> list[Given]:
    """Return the newest records. Raises ValueError if the topic has no records, or cannot be read."""
    settings = with_broker(kafka)
    where = f"topic {topic} at {settings['bootstrap.servers']}"
    try:
        records = of_topic(settings, topic, RECORDS, end="newest", each=_A_PARTITION)
    except AbsentError:
        names = names_of_topics(settings)
        near = difflib.get_close_matches(topic, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the cluster has: {_some(names)}"
        raise ValueError(f"{where}: it does not exist; {hint}") from None
    values = [record for record in records if record.value]
    if not values:
        kinds = {"tombstones" if record.value is None else "empty records" for record in records}
        kind = f"{' and '.join(sorted(kinds, reverse=True))} only" if kinds else "no records yet"
        raise ValueError(f"{where}: it has {kind}, so nothing can be proposed: send some records first")
    return values


def _proposed(topic: str, view: str, records: Sequence[Given], ask: "_Questions") -> Proposal:
    try:
        return propose(topic, view, records, ask.member, ask.order)
    except ValueError as error:
        raise ValueError(f"topic {topic}: {error}") from None


def _name_of(topic: str) -> str:
    """Return a name for the stream.

    >>> _name_of("Shop.orders_v2"), _name_of("9"), _name_of("metrics")
    ('shop-orders-v2', 'topic-9', 'topic-metrics')
    """
    name = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")[:50].rstrip("-")
    return name if re.match("[a-z]", name) and name not in TAKEN else f"topic-{name}".rstrip("-")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f", and {len(names) - 20} more" if len(names) > 20 else "") if names else "no topics"


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: give another file by --to") from None


class _Questions:
    """Asks on standard error, or takes the default of each question with `yes`."""

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def text(self, option: str, question: str, default: str | None) -> str:
        """Return an answer. With `yes`, raises ValueError."""
        if self._yes:
            raise ValueError(f"{option}: expected a value, because --yes asks nothing")
        return self._ask(option, question, default)

    def topic(self, kafka: Mapping[str, Any]) -> str:
        """Return a topic. The names of all topics are read only if the question is asked."""
        question = "Topic" if self._yes else f"Topic ({_some(names_of_topics(kafka))})"
        return self.text("--topic", question, None)

    def target(self, option: str, question: str, default: str) -> str:
        """Return the name of a file that does not exist yet, or `-`."""
        while True:
            given = self._ask(option, question, default)
            try:
                _check_target(given)
            except ValueError as error:
                typer.echo(str(error), err=True)
            else:
                return given

    def choice(self, option: str, question: str, known: Sequence[str], default: str) -> str:
        """Return one of `known`."""
        while (given := default if self._yes else self._ask(option, question, default)) not in known:
            typer.echo(f"expected one of {', '.join(known)}", err=True)
        return given

    def member(self, role: str, found: Sequence[Guess]) -> Guess | None:
        """Return the member of a role."""
        if self._yes or not found:
            return best(role, found)
        known = {guess.member.pointer: guess for guess in found}
        newest = [(pointer, visible(str(guess.member.example))[:40]) for pointer, guess in known.items()]
        shown = "; ".join(f"{pointer} such as {example}" for pointer, example in newest[:_MOST_GUESSES])
        while True:
            given = self._ask(role, f"Member that has the {role} ({shown})", newest[0][0])
            guess = known.get(given) or known.get("/" + given.replace(".", "/"))
            if guess is not None:
                return guess
            typer.echo(f"expected one of {', '.join(known)}", err=True)

    def order(self, order: Order) -> Sequence[str]:
        """Return the steps in order."""
        if self._yes:
            return as_found(order)
        known = {text.lower(): text for text in order.counts}
        while True:
            given = self._ask("steps", f"Steps in order of time ({most_common(order.counts)})", ",".join(order.texts))
            texts = [known.get(text.strip().lower(), "") for text in given.split(",")]
            if MOST_STEPS >= len(set(texts)) == len(texts) > 1 and all(texts):
                return texts
            typer.echo(f"expected 2 to {MOST_STEPS} of {', '.join(order.counts)}, with a comma between them", err=True)

    def _ask(self, option: str, question: str, default: str | None) -> str:
        try:
            return str(typer.prompt(question, default=default, err=True)).strip()
        except typer.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise ValueError(f"{option}: expected an answer, got the end of the input; with --yes nothing is asked") from None
