"""The caller's threads beside requests: they begin and end together."""

from dataclasses import dataclass

from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyBenchmark
from edgesplit.cluster.session.joining import Joining
from edgesplit.cluster.session.runtime_benchmark import RuntimeBenchmark
from edgesplit.cluster.session.supervisor import Supervisor
from edgesplit.cluster.session.verdicts import RuntimeVerdicts
from edgesplit.cluster.session.watch import PlanWatch


@dataclass(frozen=True)
class Threads:
    """The caller's threads beside requests."""

    watch: PlanWatch
    benchmark: RuntimeBenchmark
    supervisor: Supervisor
    verdicts: RuntimeVerdicts
    joining: Joining
    codecs: AccuracyBenchmark

    def start(self) -> None:
        """Begin, once the session is open."""
        self.watch.start()
        self.benchmark.start()
        self.supervisor.start()
        self.verdicts.start()
        self.joining.start()
        self.codecs.start()

    def stop(self) -> None:
        """End all of them; nothing of Ray's is called any more when this returns."""
        self.supervisor.stop()
        self.joining.stop()
        self.codecs.stop()
        self.verdicts.stop()
        self.benchmark.stop()
        self.watch.stop()
