"""Writes a proposed stanza as YAML with comments, which reads back as the same settings. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ruamel.yaml.error import YAMLError

from config.fields import secret
from config.yaml_text import BROKEN, parsed
from scripts.cli.init.proposal import Proposal

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_WIDTH = 60
_LONGEST_REMARK = 200


def yaml_of(name: str, kafka: Mapping[str, Any], proposal: Proposal, records: int, run: str) -> str:
    """Return the text of a configuration with one stream.

    `kafka` are the settings of the cluster; secret ones become comments. `run` is the command that uses the file. Raises
    ValueError if the records have names that cannot be written.
    """
    address, topic = _comment(kafka["bootstrap.servers"]), proposal.stanza["source"]["topic"]
    stanza = {name_: value for name_, value in proposal.stanza.items() if name_ != "record"}
    shown = {each: value for each, value in kafka.items() if not secret(each)}
    newest = f"the newest {records:,} records" if records > 1 else "the only record"
    lines = [
        f"# By `firnline init` from {newest} of {topic} at {address}.",
        f"# Start: {run}",
        "",
        "kafka:",
        *(f"  {_scalar(each)}: {_scalar(value)}" for each, value in shown.items()),
        *(f"  # {each}: in the environment, as {_variable(each)}" for each in kafka if secret(each)),
        f"data_dir: .firnline/{name}   # checkpoints, from which a restart continues",
        "",
        "streams:",
        f"  {name}:",
    ]
    for key, value in stanza.items():
        lines += _entry(4, key, value, _REMARKS.get(key) or proposal.remarks.get(key))
    if "record" in proposal.stanza:
        lines.append("    record:")
        for key, value in proposal.stanza["record"].items():
            lines += _entry(6, key, value, proposal.remarks.get(f"record.{key}"))
    text = "\n".join([*lines, ""])
    wanted = {"kafka": shown, "data_dir": f".firnline/{name}", "streams": {name: dict(proposal.stanza)}}
    try:
        same = parsed(text) == wanted
    except (YAMLError, *BROKEN):
        same = False
    if not same:
        raise ValueError("the records have names that YAML cannot write: write the file by hand, see docs/records.md")
    return text


_REMARKS = {"source": "from its beginning; with start: latest from now on"}


def _entry(indent: int, key: str, value: Any, remark: str | None) -> Iterator[str]:
    """Yield the lines of a key: its value in one line if that is short, else a line for each member."""
    space, comment = " " * indent, f"   # {_comment(remark)}" if remark else ""
    line = f"{space}{key}: {_flow(value)}"
    if len(line) <= _WIDTH + indent or not isinstance(value, Mapping):
        yield line + comment
        return
    yield f"{space}{key}:{comment}"
    for each, below in value.items():
        yield from _entry(indent + 2, _scalar(each), below, None)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """Write a text without quotes if YAML reads it as the same text."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _comment(text: object) -> str:
    line = "".join(character if character.isprintable() else "?" for character in str(text))
    return line if len(line) <= _LONGEST_REMARK else line[:_LONGEST_REMARK] + "…"


def _variable(key: str) -> str:
    return f"FIRNLINE_KAFKA__{key.upper().replace('.', '_')}"
