"""Makes faults happen to a running service, waits for its recovery, and has every answer compared.

`chaos.py` builds the parts and runs it.
"""

import json
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from scripts.lab.chaos.faults import Fault, Watch
from scripts.lab.chaos.load import Load
from scripts.lab.chaos.makers import PARTITIONS
from scripts.lab.chaos.oracle import TopTruth
from scripts.lab.chaos.processes import SUPERSEDED, Node, Subject
from scripts.lab.chaos.proxy import Proxy
from scripts.lab.chaos.report import Report
from scripts.lab.chaos.rights import Rights
from scripts.lab.chaos.verifier import Client, UnansweredError, Verifier
from scripts.lab.waiting import OverdueError, until

_LIMIT_S = 240.0
"""The longest time that the service may need to answer again."""

_BROKER_S = 240.0
"""The longest time that a killed broker may need, which reads its log again on a busy machine."""

_PATIENCE_S = 90.0
"""The longest time until the answers are right after the load has paused."""

_LOOK_S = 0.02


@dataclass(slots=True)
class Ordeal:
    """One run over parts that were started before. Call `perform` with one fault after the other, and `verify` now and then."""

    subject: Subject
    client: Client
    load: Load
    verifier: Verifier
    proxy: Proxy
    node: Node | None
    report: Report
    chance: Random
    rights: Rights | None
    watch: Watch = field(init=False)
    _instances: list[Subject] = field(default_factory=list)
    _since: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the given service as the first instance."""
        self._instances.append(self.subject)
        self._adopt(self.subject)

    def close(self) -> None:
        """End every instance of the service, in whatever state it is."""
        for instance in self._instances:
            instance.close()

    def begin(self) -> None:
        """Start the service and the load."""
        self.subject.start()
        self._await_ready()
        self.load.start()

    def perform(self, fault: Fault) -> None:
        """Make one fault happen, and wait for the recovery. Raises OverdueError or EndedError without one."""
        self._since.append(fault)
        timings = self.report.timings[fault]
        timings.times += 1
        if fault.kills:
            self._kill(fault)
            began = self.subject.started_at
        else:
            began = self._disturb(fault)
        self._await_ready()
        timings.ready_s.append(time.monotonic() - began)
        self.differ([str(each) for each in self.verifier.early()])
        if self.chance.random() < 0.8:  # otherwise the next fault may happen while the service still reads the backlog
            self._await_caught_up()
            timings.caught_up_s.append(time.monotonic() - began)

    def verify(self) -> None:
        """Pause the load, and compare every answer. Differences go into the report."""
        self.load.pause()
        self._await_settled()
        found = self.verifier.differences(_PATIENCE_S if not self.report.differences else 1.0)
        self.report.verifications += 1
        self.report.comparisons = self.verifier.comparisons
        if found:
            self.differ([str(each) for each in found])
        else:
            self._since = []
            if self.report.verifications % 3 == 1:
                self._clear()
        self.load.resume()

    def end(self) -> None:
        """Stop the service by SIGTERM, start it again, and compare once more."""
        self.load.pause()
        self.subject.signal(signal.SIGTERM)
        code = self.subject.wait()
        if code not in {0, -signal.SIGTERM, 128 + signal.SIGTERM}:
            self.differ([f"the service ended with {code} when it was asked to end"])
        self.subject.start()
        self._await_ready()
        self.verify()
        self.load.pause()

    def differ(self, found: list[str]) -> None:
        """Report the differences, and the faults since the last comparison."""
        if not found:
            return
        since = ", ".join(fault.name for fault in self._since) or "nothing"
        self.report.differences += [f"{each} [since the last comparison: {since}]" for each in found]
        if self._since:
            self.report.timings[self._since[-1]].differences += len(found)
        self._since = []

    # Faults ----------------------------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        """Kill the service at the moment that `fault` names, and start it again."""
        if fault is Fault.KILL:
            time.sleep(self.chance.uniform(0, 0.6))
        elif fault is Fault.KILL_IN_RECOVERY:
            self.subject.kill()
            said, names = self.subject.log.stat().st_size, self.watch.names()
            self.subject.start()
            until(lambda: self.subject.log.stat().st_size > said or self.watch.names() != names, _LIMIT_S, "signs of life")
            time.sleep(self.chance.uniform(0, 0.3))
        else:
            self.watch.wait(fault, 3.0)
            time.sleep(self.chance.choice([0.0, self.chance.uniform(0, 0.005)]))
        self.subject.kill()
        self.subject.start()

    def _disturb(self, fault: Fault) -> float:
        """Make another fault happen for a while. Return when it was over. In some cases the service is killed meanwhile."""
        match fault:
            case Fault.PAUSE:
                self.subject.signal(signal.SIGSTOP)
                time.sleep(self.chance.uniform(0.05, 1.5))
                self.subject.signal(signal.SIGCONT)
            case Fault.CUT:
                self.proxy.cut(refuse=False)
            case Fault.REFUSE:
                self.proxy.cut(refuse=True)
                self._meanwhile(1.0)
                self.proxy.mend()
            case Fault.STALL:
                self.proxy.stall()
                self._meanwhile(1.5)
                self.proxy.mend()
            case Fault.PAUSE_BROKER if self.node is not None:
                self.node.signal(signal.SIGSTOP)
                self._meanwhile(2.0)
                self.node.signal(signal.SIGCONT)
            case Fault.KILL_BROKER if self.node is not None:
                self.node.kill()
                self._meanwhile(1.0)
                self.node.restart()
                self.node.await_answer(_BROKER_S)
            case Fault.RIGHT if self.rights is not None:
                right = self.rights.take_back(self.chance)
                self._meanwhile(3.0)
                self.rights.grant(right)
            case Fault.TRANSACTION:
                end = self.load.open_transaction(self.chance.randrange(1, 60), commits=self.chance.random() < 0.6)
                self._meanwhile(3.0)
                end()
            case Fault.AHEAD:
                self.load.send_ahead()
            case Fault.FROZEN:
                self._freeze()
            case Fault.TWIN:
                self._twin()
            case Fault.RIVAL:
                self._rival()
        return time.monotonic()

    def _meanwhile(self, longest_s: float) -> None:
        """Wait for up to `longest_s`. In a third of the cases, kill and start the service in the middle."""
        time.sleep(self.chance.uniform(0.05, longest_s))
        if self.chance.random() < 0.33:
            self._since.append(Fault.KILL)
            self.report.timings[Fault.KILL].times += 1
            self.subject.kill()
            self.subject.start()
            time.sleep(self.chance.uniform(0.05, 2.0))

    # Two instances ---------------------------------------------------------------------------------------------------

    def _freeze(self) -> None:
        """Freeze the service, start a replacement over a copy, and wake the frozen one, which must end."""
        frozen = self.subject
        frozen.signal(signal.SIGSTOP)
        self._start(frozen.copy(self._folder()))
        self._await_ready()
        if self.chance.random() < 0.5:
            self._await_caught_up()
        frozen.signal(signal.SIGCONT)
        self._end(frozen, SUPERSEDED)

    def _twin(self) -> None:
        """Start a second instance over a copy while the first one runs. One of them must end."""
        older = self.subject
        self.load.pause()
        self._await_settled()
        older.signal(signal.SIGSTOP)
        newer = older.copy(self._folder())
        older.signal(signal.SIGCONT)
        self._start(newer)
        until(lambda: newer.code is not None or self.client.ready(), _LIMIT_S, "the second instance to be ready")
        self.load.resume()
        until(lambda: newer.code is not None or older.code is not None, _LIMIT_S, "one of two instances to end")
        if newer.code is None:
            self._end(older, SUPERSEDED)
            return
        # The older one has published since the copy was made. It may have lost one of its streams before the copy was refused.
        self._end(newer, SUPERSEDED)
        if older.code is None:
            older.kill()
        else:
            self._end(older, SUPERSEDED)
        self._start(older)

    def _rival(self) -> None:
        """Start a second instance over the same folder. It must end at once."""
        rival = self.subject.rival(self._folder())
        self._instances.append(rival)
        rival.start()
        self._end(rival, 1)
        if "is in use by process" not in rival.printed:
            self.differ([f"a second instance over the same data_dir printed {rival.printed}"])

    def _folder(self) -> Path:
        return self.report.folder / f"instance-{len(self._instances)}"

    def _start(self, instance: Subject) -> None:
        """Start an instance. All questions go to it from now on."""
        if instance not in self._instances:
            self._instances.append(instance)
        instance.start()
        self._adopt(instance)

    def _adopt(self, instance: Subject) -> None:
        self.subject = instance
        self.client.port = instance.port
        self.verifier.folder = instance.folder
        self.watch = Watch(instance.folder / "data")

    def _end(self, instance: Subject, right: int) -> None:
        """Wait until an instance ends by itself with the right exit code."""
        until(lambda: instance.code is not None, _LIMIT_S, f"an instance to end with {right}")
        if (code := instance.wait()) != right:
            self.differ([f"an instance ended with {code}, and not with {right}: {instance.printed}"])

    # Waiting ---------------------------------------------------------------------------------------------------------

    def _await_ready(self) -> None:
        until(lambda: self.subject.alive() and self.client.ready(), _LIMIT_S, "the service to be ready")

    def _await_caught_up(self) -> None:
        """Wait until the service has read all records that Kafka has acknowledged by now."""
        wanted = self.load.acknowledged()

        def caught_up() -> bool:
            self.subject.alive()
            try:
                behind = [view for view, count in wanted.items() if self.client.stats(view)["records"] < count]
            except UnansweredError:
                return False
            return not behind

        until(caught_up, _LIMIT_S, f"the service to catch up with {wanted}", every_s=_LOOK_S)

    def _await_settled(self) -> None:
        """Wait until all is read. If that takes too long, a record that is missing shows in the comparison."""
        try:
            until(self._settled, _PATIENCE_S, "all to be read", every_s=_LOOK_S)
        except OverdueError:
            self.report.overdue += 1

    def _settled(self) -> bool:
        """Whether all records are read, are in their slices, and all due results are published."""
        for view, truth in self.verifier.truths.items():
            truth.admit(int(1_000 * time.time()))  # an event whose time has come waits for its order in the service
            try:
                stats = self.client.stats(view)
            except UnansweredError:
                return False
            waiting = len(getattr(truth, "waiting", ()))
            if stats["records"] != truth.records or stats["inFlight"] or stats["buffered"] > waiting:
                return False
        return True

    def _clear(self) -> None:
        """Delete the dataset over HTTP, and post some items, while nothing else writes."""
        truth = self.verifier.truths.get("top")
        if not isinstance(truth, TopTruth):
            return
        items = [f"posted{uuid.UUID(int=self.chance.getrandbits(128)).hex}_{place}" for place in range(5)]
        try:
            self.client.ask("/dataset", method="DELETE")
            truth.clear(PARTITIONS["top"])
            self.client.ask("/dataset", method="POST", body=json.dumps({"items": items}).encode())
        except UnansweredError as error:
            self.differ([f"top: DELETE and POST: {error}"])
        for item in items:
            truth.take(item.encode())
