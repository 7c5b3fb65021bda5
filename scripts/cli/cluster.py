"""The commands `cluster`: who has the shards, a process that gives its own back, and processes on the nodes of Ray."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from firnline.client import Client
from firnline.transport import HERE, Transport
from scripts.checkout import typed
from scripts.cli.printing import console_of, counted, of_shard
from scripts.cli.query import errors_as_exits

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Show a cluster, empty a process of it, and start processes on the nodes of Ray.\n\n"
    "If the service needs a token, set FIRNLINE_TOKEN.",
)
Url = Annotated[str, typer.Option(help="The address of any process of the cluster.", envvar="FIRNLINE_URL")]
OfProcess = Annotated[str, typer.Option("--url", help="The address of the process.", envvar="FIRNLINE_URL")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
On = Annotated[Literal["ray"], typer.Option("--on", help="What starts processes on the machines.")]
Config = Annotated[Path, typer.Option(help="The YAML file; it is at this path on each machine.", exists=True, dir_okay=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="A setting over the file: cluster.shards=6.")]
Head = Annotated[
    str | None,
    typer.Option("--address", help="HOST:PORT of the head of Ray; by default that of this machine.", envvar="RAY_ADDRESS"),
]

_OWNED = {"here", "elsewhere"}
_PATIENCE_S = 20.0
_TRIES = 5
_STEP_S = 0.5


@app.callback()
def root() -> None:
    """Hold the commands of the group; its help is above."""


@app.command()
def status(url: Url = HERE, as_json: AsJson = False) -> None:
    """Show each shard of each stream: its state, its process, its lease, its lag and its memory; and its present problems.

    Exits with 1 if a shard is nowhere.
    """
    with errors_as_exits("cluster"):
        found = Client(url).get("/streams")["streams"]
    shards = {each["name"]: each["shards"] for each in found if "shards" in each}
    if as_json:
        print(json.dumps(shards, indent=2))
    elif not shards:
        print("this process is in no cluster")
    else:
        table = Table("stream", "shard", "state", "where", "pid", "epoch", "not read", "memory")
        for name, own in shards.items():
            for each in own:
                table.add_row(name, *_row(each))
        console = console_of(100)
        console.print(table)
        for name, shard, problem in _problems(shards):
            console.print(f"{name} {shard}: {problem}", markup=False, highlight=False, soft_wrap=True)
    if any(each["state"] == "nowhere" for own in shards.values() for each in own):
        raise typer.Exit(1)


@app.command()
def drain(
    url: OfProcess = HERE,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait until other processes have the shards.")] = 60,
) -> None:
    """Have a process give all its shards back in order, and take none until `resume` or a restart.

    Waits until other processes have the shards and answer for them. Exits with 1 if they do not in time.
    """
    process, deadline = Transport(url, None, _PATIENCE_S, _TRIES), time.monotonic() + timeout
    again = f"until `{typed('cluster', 'resume', '--url', url)}`"
    with errors_as_exits("cluster"):
        before = process.json("/cluster/drain", method="POST")["has"]
        while True:
            has, unowned = process.json("/cluster/member")["has"], _unowned(process.json("/streams")["streams"])
            if not has and not unowned:
                break
            if time.monotonic() >= deadline:
                left = (
                    f"shards {_listed(has)} are still here" if has else f"no other process answers for {_listed(unowned)} yet"
                )
                sys.exit(f"cluster: {left}, after {timeout:g} s; the process takes no shards {again}")
            time.sleep(_STEP_S)
    done = f"other processes have its shards {_listed(before)}" if before else "it had no shard"
    print(f"{done}; it takes none {again}, or a restart")


@app.command()
def resume(url: OfProcess = HERE) -> None:
    """Let a process take shards again that has given its own back. Kafka then gives it some of the others'."""
    with errors_as_exits("cluster"):
        Transport(url, None, _PATIENCE_S, _TRIES).json("/cluster/resume", method="POST")
    print("it takes shards again")


@app.command()
def up(
    on: On,
    config: Config,
    overrides: Overrides = None,
    address: Head = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes on each node.")] = 1,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait until all of them answer.")] = 90,
) -> None:
    """Start a process of the cluster on each node of Ray, and wait until all of them answer.

    They run on when this command ends, and are started again when they end, until `down`. Processes that run already stay as
    they are, so call it again when Ray has more nodes. Run it on a machine of Ray, with Ray's token.

    Ctrl-C ends those that it has started.
    """
    del on  # there is only one
    from scripts.cli.on_ray.launch import up as launch  # noqa: PLC0415  # Ray is an extra

    with _launching():
        urls = launch(config.resolve(), overrides or [], address, each=processes, timeout_s=timeout, say=_say)
        see = typed("cluster", "status", "--url", urls[0])
        print(f"to see the shards: {see}")


@app.command()
def down(on: On, config: Config, overrides: Overrides = None, address: Head = None) -> None:
    """End all processes of the cluster that `up` has started, in order. It takes at most a minute."""
    del on
    from scripts.cli.on_ray.launch import down as end  # noqa: PLC0415

    with _launching():
        count = end(config.resolve(), overrides or [], address, _say)
        print(f"ended {counted(count, 'process', 'processes')}" if count else "there was no process of this cluster")


@contextmanager
def _launching() -> Iterator[None]:
    """Turn what prevents a launch into one line on standard error and exit code 1, and Ctrl-C into 130."""
    from scripts.cli.on_ray.launch import LaunchError  # noqa: PLC0415

    try:
        yield
    except (LaunchError, ValueError, OSError) as error:
        sys.exit(f"cluster: {error}")
    except KeyboardInterrupt:
        print("cluster: interrupted; what it had started has ended", file=sys.stderr)
        raise typer.Exit(130) from None


def _say(line: str) -> None:
    print(line, flush=True)


def _unowned(streams: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the shards that no process says it has, or whose process has not answered for them yet."""
    shards = [each for stream in streams for each in stream.get("shards", [])]
    return sorted({each["shard"] for each in shards if each["state"] not in _OWNED or each["lag"] is None})


def _problems(shards: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, int, str]]:
    """Return the present problems as stream, shard and text. An older service tells none."""
    return [(name, each["shard"], text) for name, own in shards.items() for each in own for text in each.get("problems", ())]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the table shows of a shard. A dash is not known."""
    where, lag, memory = of_shard(each)
    plain = ("-" if each[name] is None else str(each[name]) for name in ("pid", "epoch"))
    return (str(each["shard"]), each["state"], where, *plain, lag, memory)
