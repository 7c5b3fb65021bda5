"""Start and end the processes of a cluster on the nodes of a running Ray. Ray is imported when it is used, and only here."""

import contextlib
import http.client
import logging
import os
import signal
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.cli.on_ray import keeper
from scripts.cli.on_ray.places import Place, endpoint_of, is_private, of_cluster, places_of, refusal, settings_of

NAMESPACE = "firnline"
_CONNECT_S = 3.0
_ASK_S = 10.0
_STEP_S = 0.2
_END_S = 60.0
_ENDING = (signal.SIGINT, signal.SIGTERM)
_SHARE = 0.001
"""Of the resource `node:ADDRESS`, of which each node has 1: it ties an actor to a node, also to one that comes back."""


class LaunchError(Exception):
    """Why processes could not be started or ended, and what to do, in one line."""


def up(
    config: Path, overrides: Sequence[str], address: str | None, *, each: int, timeout_s: float, say: Callable[[str], None]
) -> list[str]:
    """Start `each` processes on each node of Ray, and wait until they answer. Returns where all of them answer.

    Processes that run already stay as they are. If one cannot be started in time, or at a signal, those that this call has
    started are ended again. Raises LaunchError, ValueError for wrong settings, and KeyboardInterrupt.
    """
    settings, cluster = settings_of(config, overrides)
    with _ray(address) as ray:
        nodes = _addresses(ray)
        places = list(places_of(config, overrides, settings, cluster, nodes, each))
        made: dict[str, str] = {}
        try:
            running = of_cluster(cluster.name, ray.util.list_named_actors())
            for place in places:
                if place.actor in running and not _is_over(ray, place.actor):
                    continue
                made[place.actor] = place.address
                _start(ray, place)
            _await(ray, places, made, timeout_s, say)
        except BaseException as error:
            if made:
                say("ending what was started")
                _end(ray, made, nodes)
            if isinstance(error, ray.exceptions.RayError):
                raise LaunchError(_first_line(error)) from None
            raise
    return [place.url for place in places]


def down(config: Path, overrides: Sequence[str], address: str | None, say: Callable[[str], None]) -> int:
    """End all processes of the cluster in order, also those whose nodes are lost. Returns how many there were.

    Raises LaunchError, and ValueError for wrong settings.
    """
    _, cluster = settings_of(config, overrides)
    with _ray(address) as ray:
        try:
            names = of_cluster(cluster.name, ray.util.list_named_actors())
            for reason in _end(ray, names, _addresses(ray)):
                say(reason)
        except ray.exceptions.RayError as error:
            raise LaunchError(_first_line(error)) from None
    return len(names)


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[Any]:
    """Connect to Ray. Meanwhile nothing else is written to standard error, and SIGTERM counts as Ctrl-C.

    Raises LaunchError if Ray is not installed, does not answer, or refuses the token.
    """
    endpoint = endpoint_of(address) if address is not None else None
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else `uv run` has Ray send this folder to all nodes
    try:
        import ray  # noqa: PLC0415  # an extra
    except ImportError:
        raise LaunchError("the package ray is not installed: pip install 'firnline[ray]', in a checkout make ray") from None
    if endpoint is not None:
        try:
            socket.create_connection(endpoint, _CONNECT_S).close()
        except OSError as error:
            raise LaunchError(
                f"nothing answers at {address} ({error}): run `ray start --head` there, as docs/cluster.md has it"
            ) from None
    with _quiet():
        try:
            ray.init(
                address=address or "auto",
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise LaunchError(f"Ray at {address or 'this machine'}: {_reason(error)}") from None
        before = {each: signal.signal(each, signal.default_int_handler) for each in _ENDING}
        try:
            yield ray
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send to nowhere what is written to file 2: Ray's threads and its C++ write warnings and tracebacks there."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _reason(error: BaseException) -> str:
    """Return the reason of Ray's chain of errors that a person can mend."""
    whole = f"{error} {error.__cause__}"
    if "InvalidAuthToken" in whole or "AuthenticationError" in whole:
        return "it refuses the token: give the one of its nodes, in RAY_AUTH_TOKEN or the file of RAY_AUTH_TOKEN_PATH"
    return f"{_first_line(error)}; run this on a machine on which `ray start` has started a node"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _addresses(ray: Any) -> list[str]:
    """Return the addresses of the nodes that are alive. Raises LaunchError if one is public."""
    found = sorted({str(node["NodeManagerAddress"]) for node in ray.nodes() if node["Alive"]})
    if public := [each for each in found if not is_private(each)]:
        raise LaunchError(refusal(public))
    return found


def _start(ray: Any, place: Place) -> None:
    """Start the actor of a process. It comes back with its worker or its node as often as these are lost."""
    with contextlib.suppress(ValueError):  # one of this name that is over
        ray.kill(ray.get_actor(place.actor), no_restart=True)
    ray.cloudpickle.register_pickle_by_value(keeper)
    options = ray.remote(keeper.Keeper).options(
        name=place.actor,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=4,
        num_cpus=0,
        resources={f"node:{place.address}": _SHARE},
    )
    options.remote(list(place.words))


def _state(ray: Any, name: str) -> Mapping[str, Any] | None:
    """Return what an actor says of its process; None if it does not answer now."""
    try:
        found: Mapping[str, Any] = ray.get(ray.get_actor(name).state.remote(), timeout=_ASK_S)
    except (ray.exceptions.RayError, ValueError):
        return None
    return found


def _is_over(ray: Any, name: str) -> bool:
    """Whether an actor runs no process any more and starts none."""
    found = _state(ray, name)
    return found is not None and found["state"] in {"ended", "stopped"}


def _await(ray: Any, places: Sequence[Place], made: Collection[str], timeout_s: float, say: Callable[[str], None]) -> None:
    """Wait until all processes answer. Raises LaunchError if one that was made ends, or at the end of the time."""
    deadline = time.monotonic() + timeout_s
    waiting = list(places)
    while waiting:
        place = waiting.pop(0)
        found = _state(ray, place.actor)
        if found is not None and place.actor in made and found["reason"]:
            raise LaunchError(
                f"{place.address}: {found['reason']}; mend it, and run this again; the log there is {found['log']}"
            )
        if found is not None and found["state"] == "running" and _is_alive(place.url):
            say(f"{place.url} runs as process {found['pid']}" + ("" if place.actor in made else ", as before"))
            continue
        waiting.append(place)
        if time.monotonic() >= deadline:
            why = f"does not answer; the log there is {found['log']}" if found is not None else "has no actor of Ray yet"
            raise LaunchError(f"{place.url} {why}, after {timeout_s:g} s (--timeout)")
        time.sleep(_STEP_S)


def _is_alive(url: str) -> bool:
    """Whether a process of a cluster answers there."""
    parts = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_CONNECT_S)) as connection:
        try:
            connection.request("GET", "/-/alive")
            return connection.getresponse().status == http.client.NO_CONTENT
        except (OSError, http.client.HTTPException):
            return False


def _end(ray: Any, names: Mapping[str, str], nodes: Collection[str]) -> list[str]:
    """End these actors, whose nodes have these addresses, and their processes in order. Returns what did not go in order.

    It takes at most a minute. Signals wait meanwhile, so that nothing is left half-ended.
    """
    troubles = []
    with _deaf():
        handles, asked = {}, {}
        for name, address in names.items():
            try:
                handles[name] = ray.get_actor(name)
            except ValueError:  # it was never registered
                continue
            if address in nodes:
                asked[handles[name].stop.remote()] = name
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_END_S) if asked else ([], [])
        in_order = set()
        for each in done:
            with contextlib.suppress(ray.exceptions.RayError):
                if ray.get(each):
                    in_order.add(asked[each])
        for name, handle in handles.items():
            ray.kill(handle, no_restart=True)
            if name not in in_order:
                why = "did not end in order" if names[name] in nodes else "is lost; it starts nothing when it comes back"
                troubles.append(f"the process on {names[name]} {why}")
    return troubles


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
