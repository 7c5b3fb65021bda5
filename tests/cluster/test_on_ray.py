"""`firnline cluster up --on ray` on three real nodes of Ray, at loopback addresses of this machine, beside a real broker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from firnline import Client
from firnline.problems import FirnlineError
from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from tests.cluster.test_cluster import PARTITIONS, created, lines
from tests.conftest import Send
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray")]
BIN = ROOT / ".venv" / "ray" / "bin"
HEAD, *REST = ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
RECORDS = 6_000
LONG_S = 300
"""How long each thing may take on a machine with much other work; usually it takes some seconds."""

TOKEN = "token of the nodes, for this test alone"  # noqa: S105  # of a test


@dataclass
class Nodes:
    """The nodes of Ray by their addresses, each with all its processes below one."""

    folder: Path
    port: int = field(default_factory=free_port)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The address and the port of the head."""
        return f"{HEAD}:{self.port}"

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of Ray's commands: the token, and a home in which Ray finds no other one."""
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(self.folder)}
        return {**os.environ, **own, **more}

    def start(self, address: str) -> None:
        """Start a node. It joins the head in its own time."""
        of_head = ("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}/ray")
        words = of_head if address == HEAD else (f"--address={self.head}",)
        few = ("--num-cpus=1", f"--object-store-memory={80 << 20}", "--disable-usage-stats", "--include-log-monitor=false")
        free = tuple(f"--{each}=0" for each in ("dashboard-agent-listen-port", "metrics-export-port"))
        with (self.folder / f"{address}.log").open("wb") as log:
            self.running[address] = subprocess.Popen(
                [BIN / "ray", "start", "--block", f"--node-ip-address={address}", *words, *few, *free],
                env=self.environ(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_up(self, address: str) -> bool:
        """Whether a node has joined. Ray gives up after 30 s, which is too soon on a loaded machine; then it is started again."""
        if self.running[address].poll() is not None:
            self.start(address)
        return "Ray runtime started." in (self.folder / f"{address}.log").read_text()

    def lose(self, address: str) -> None:
        """Kill a node with all its processes at once, as when its machine is lost."""
        started = self.running.pop(address)
        process = psutil.Process(started.pid)
        lost = [*process.children(recursive=True), process]
        for each in lost:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(lost, 30)
        started.wait()

    def say(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `firnline cluster` on the head."""
        return subprocess.run(
            self.command(*words), env=self.environ(**more), capture_output=True, text=True, check=False, timeout=2 * LONG_S
        )

    def command(self, *words: str) -> list[str]:
        """Return the command line of `firnline cluster`."""
        return [str(BIN / "python"), str(ROOT / "scripts" / "cli" / "__main__.py"), "cluster", *words]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    if not (BIN / "ray").exists() or sys.platform != "linux":
        assert not os.environ.get("FIRNLINE_REQUIRE_RAY"), "Ray is required, and `make ray` has not installed it"
        pytest.skip("Ray is not installed: make ray" if sys.platform == "linux" else "only Linux has more loopback addresses")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # the names of Ray's sockets have 107 characters at most
    found = Nodes(folder)
    try:
        found.start(HEAD)
        until(lambda: found.is_up(HEAD), timeout_s=LONG_S)
        for address in REST:
            found.start(address)
        until(lambda: all(map(found.is_up, REST)), timeout_s=LONG_S)
        yield found
    finally:
        for address in [*REST, HEAD]:
            if address in found.running:
                found.lose(address)
        shutil.rmtree(folder, ignore_errors=True)  # a process of Ray that ends may still write its log


@dataclass
class OnRay:
    """A cluster whose processes run on these nodes, with the file that all of them read."""

    nodes: Nodes
    name: str
    file: Path
    port: int

    @property
    def options(self) -> tuple[str, ...]:
        """What `up` and `down` need."""
        return "--on", "ray", "--config", str(self.file), "--address", self.nodes.head

    def url(self, address: str) -> str:
        """Return where the process at an address answers."""
        return f"http://{address}:{self.port}"

    def member(self, address: str) -> Any:
        """Return what the process at an address says of itself; None if none answers."""
        with suppress(FirnlineError):
            return Client(self.url(address), timeout_s=5, tries=1).get("/cluster/member")
        return None

    def counted(self, address: str) -> int:
        """Return the records in an answer of the process at an address; -1 if it names a shard as absent, or none answers."""
        with suppress(FirnlineError):
            found = Client(self.url(address), timeout_s=20, tries=1).get("/words/CountByEventType", detail=1)
            return -1 if "absent" in found["coverage"] else sum(found["counts"].values())
        return -1

    def whole(self, *addresses: str) -> None:
        """Wait until these processes answer for all shards."""
        until(lambda: [self.counted(each) for each in addresses] == [RECORDS] * len(addresses), timeout_s=LONG_S)

    def status(self) -> Any:
        """Return what `firnline cluster status` prints."""
        return json.loads(self.nodes.say("status", "--url", self.url(HEAD), "--json").stdout)

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes of the cluster by their members."""
        found = {}
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                words = each.cmdline()
                if str(self.file) in words and "serve" in words and "-S" not in words:
                    found[next(word for word in words if word.startswith("cluster.member=")).partition("=")[2]] = each
        return found


@pytest.fixture
def on_ray(nodes: Nodes, broker: str, send: Send, tmp_path: Path) -> Iterator[OnRay]:
    topic, name, port = created(broker, PARTITIONS), f"r{uuid.uuid4().hex[:12]}", free_port()
    send(broker, topic, lines(RECORDS, 1), [at % PARTITIONS for at in range(RECORDS)])
    secret = tmp_path / "secret"
    secret.write_text("the secret of this cluster")
    secret.chmod(0o600)
    path = tmp_path / "c.yaml"
    path.write_text(f"""kafka: {{bootstrap.servers: "{broker}"}}
memory: {{budget: 300MiB}}
http: {{port: {port}}}
data_dir: {tmp_path}/data
cluster: {{name: {name}, shards: 3, checkpoints: topic, secret: {secret}}}
streams:
  words: {{view: words, idle_ms: 200, source: {{topic: {topic}}}}}
""")
    found = OnRay(nodes, name, path, port)
    yield found
    for process in found.processes().values():  # a test that fails may leave some
        process.kill()


def test_processes_on_three_nodes_answer_as_one_and_come_back_when_they_or_their_node_are_lost(on_ray: OnRay, nodes: Nodes):
    started = nodes.say("up", *on_ray.options, "--timeout", str(LONG_S))
    assert (started.returncode, started.stderr) == (0, ""), started
    *running, last = started.stdout.splitlines()
    assert sorted(each.partition(" runs as process ")[0] for each in running) == [on_ray.url(each) for each in ADDRESSES]
    assert last.startswith("to see the shards: ")
    assert last.endswith(f" cluster status --url {on_ray.url(HEAD)}")
    on_ray.whole(*ADDRESSES)
    assert {each: on_ray.member(each)["member"] for each in ADDRESSES} == {each: f"ray-{each}-1" for each in ADDRESSES}
    folders, wanted = on_ray.file.parent / "data", {f"ray-{each}-1" for each in ADDRESSES}
    until(lambda: {each.name for each in folders.iterdir()} == wanted, timeout_s=LONG_S)  # once each has a shard

    first, second, third = (on_ray.processes()[f"ray-{each}-1"] for each in ADDRESSES)
    second.kill()
    again = until(lambda: (now := on_ray.processes().get(f"ray-{REST[0]}-1")) not in {None, second} and now, timeout_s=LONG_S)
    on_ray.whole(*ADDRESSES)

    nodes.lose(REST[1])
    assert not third.is_running()
    on_ray.whole(HEAD, REST[0])
    nodes.start(REST[1])
    until(lambda: on_ray.member(REST[1]) is not None, timeout_s=LONG_S)
    on_ray.whole(*ADDRESSES)
    assert {each.pid for each in (first, again)} < {each.pid for each in on_ray.processes().values()}

    pids = {each.pid for each in on_ray.processes().values()}
    until(
        lambda: {each["pid"] for each in on_ray.status()["words"]} <= pids, timeout_s=LONG_S
    )  # Kafka may give one that is back a shard
    ended = nodes.say("down", *on_ray.options)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended 3 processes\n", "")
    assert on_ray.processes() == {}


def test_an_interrupted_refused_or_failed_start_leaves_nothing_and_says_why(on_ray: OnRay, nodes: Nodes):
    words = nodes.command("up", *on_ray.options)
    other = nodes.environ(RAY_AUTH_TOKEN="another token")  # noqa: S106  # of a test
    refused = subprocess.Popen(
        words, env=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # Ray tries for 20 s
    with subprocess.Popen(words, env=nodes.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert " runs as process " in up.stdout.readline()
        up.send_signal(signal.SIGINT)
        _, error = up.communicate(timeout=LONG_S)
    assert (up.returncode, error) == (130, "cluster: interrupted; what it had started has ended\n")
    assert on_ray.processes() == {}

    on_ray.file.write_text(on_ray.file.read_text().replace("/secret}", "/absent}"))
    failed = nodes.say("up", *on_ray.options)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "the process ended with 1: cluster.secret: " in failed.stderr
    assert "expected a file to read" in failed.stderr
    assert on_ray.processes() == {}
    nothing = nodes.say("down", *on_ray.options)
    assert (nothing.returncode, nothing.stdout) == (0, "there was no process of this cluster\n")
    said, reason = refused.communicate(timeout=LONG_S)
    assert (refused.returncode, said, reason.count("\n")) == (1, "", 1)
    assert reason.startswith(f"cluster: Ray at {nodes.head}: it refuses the token: ")


def test_a_public_address_is_refused_before_anything_is_asked(on_ray: OnRay, nodes: Nodes):
    refused = nodes.say("up", *on_ray.options[:-1], "192.0.2.1:6379")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("cluster: --address: 192.0.2.1 is no private address, and Ray listens on all interfaces")
