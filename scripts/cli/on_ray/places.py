"""Where the processes of a cluster run on the nodes of Ray, and with which settings. Decides only; starts nothing."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.cluster import Cluster
from config.fields import Budget
from config.load import load
from config.settings import Settings
from scripts.checkout import own_command

_PRIVATE = tuple(
    map(ipaddress.ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)


@dataclass(frozen=True, slots=True)
class Place:
    """A process: the address of its node, its name as a member and as an actor, where it answers, and its command line."""

    address: str
    actor: str
    url: str
    words: tuple[str, ...]


def is_private(address: str) -> bool:
    """Whether an address is of this machine or of a private network. A name is not.

    >>> [is_private(each) for each in ("127.0.0.2", "10.1.2.3", "172.31.0.1", "192.168.1.1", "fd00::1")]
    [True, True, True, True, True]
    >>> [is_private(each) for each in ("8.8.8.8", "172.32.0.1", "0.0.0.0", "100.64.0.1", "2001:db8::1", "node-1")]
    [False, False, False, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in each for each in _PRIVATE if each.version == found.version)


def endpoint_of(given: str) -> tuple[str, int]:
    """Return address and port of Ray's head from `HOST:PORT`; a name is looked up. Raises ValueError if it is not private.

    >>> endpoint_of("127.0.0.2:6379"), endpoint_of("[::1]:6379")
    (('127.0.0.2', 6379), ('::1', 6379))
    """
    host, _, port = given.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise ValueError(f"--address: expected HOST:PORT of the head of Ray, such as 10.0.0.5:6379, got {given}")
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
    except OSError as error:
        raise ValueError(f"--address: {host}: {error.strerror}") from None
    if public := sorted(each for each in found if not is_private(each)):
        raise ValueError(f"--address: {refusal(public)}")
    return min(found), int(port)


def refusal(addresses: Sequence[str]) -> str:
    """Return why these addresses are refused, and what to do."""
    return (
        f"{', '.join(addresses)} is no private address, and Ray listens on all interfaces of a machine: "
        "start Ray with --node-ip-address of a private network, behind a firewall"
    )


def settings_of(config: Path, overrides: Sequence[str]) -> tuple[Settings, Cluster]:
    """Return the settings of a file, and its cluster. Raises ValueError if they do not suit processes on several machines.

    The environment is not read: that of each node counts.
    """
    settings = load(config, overrides, {})
    if settings.cluster is None:
        raise ValueError(f"{config}: expected a cluster in it: cluster: {{name: c1, shards: 6}}")
    if settings.http.port == 0:
        raise ValueError("http.port: expected a port, because clients have to know it, got 0")
    paths = {"data_dir": settings.data_dir, "cluster.secret": settings.cluster.secret, "http.tokens": settings.http.tokens}
    for name, path in paths.items():
        if path is not None and not path.is_absolute():
            raise ValueError(f"{name}: expected an absolute path, because Ray chooses the folder of a process, got {path}")
    return settings, settings.cluster


def actor_of(cluster: str, address: str, number: int) -> str:
    """Return the name of the actor that runs a process.

    >>> actor_of("c1", "10.0.0.5", 1)
    'c1/10.0.0.5/1'
    """
    return f"{cluster}/{address}/{number}"


def of_cluster(cluster: str, names: Iterable[str]) -> dict[str, str]:
    """Return which of these actors are of a cluster, with the addresses of their nodes.

    >>> of_cluster("c1", ["c1/10.0.0.5/1", "c1/10.0.0.6/1", "c10/10.0.0.5/1", "c1"])
    {'c1/10.0.0.5/1': '10.0.0.5', 'c1/10.0.0.6/1': '10.0.0.6'}
    """
    split = ((name, name.split("/")) for name in names)
    return {name: parts[1] for name, parts in split if len(parts) == 3 and parts[0] == cluster}


def places_of(
    config: Path, overrides: Sequence[str], settings: Settings, cluster: Cluster, addresses: Iterable[str], each: int
) -> Iterator[Place]:
    """Yield the processes, `each` of them for each address. Their settings are checked. Raises ValueError if they are wrong.

    The processes of a node share its budget of memory, and have the configured port and the next ones. If checkpoints go to a
    topic, each process has a folder of its own in `data_dir`.
    """
    budget = Budget(amount=settings.memory.budget.amount / each, share=settings.memory.budget.share)
    for address in addresses:
        for number in range(1, each + 1):
            member, port = f"ray-{address.replace(':', '-')}-{number}", settings.http.port + number - 1
            own = [f"http.host={address}", f"http.port={port}", f"cluster.address={address}", f"cluster.member={member}"]
            if each > 1:
                own.append(f"memory.budget={budget}")
            if settings.cluster is not None and cluster.checkpoints == "topic":
                own.append(f"data_dir={settings.data_dir}/{member}")
            load(config, [*overrides, *own], {})
            host = f"[{address}]" if ":" in address else address
            words = own_command(
                "serve", "--config", str(config), *(word for one in [*overrides, *own] for word in ("--set", one))
            )
            yield Place(address, actor_of(cluster.name, address, number), f"http://{host}:{port}", tuple(words))
