"""The programs and workloads that a session has on a tier: prepared for requests, given up.

What it has in common with other sessions of the host is in shared_programs.py.
"""

import gc
import threading
from collections.abc import Callable
from typing import Any

from edgesplit.core.layer_times import TORCH
from edgesplit.errors import ClosedError
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.recheck import Failure
from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.tier.shared_programs import SharedPrograms
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.tensor_form import Forms

CALL_TIMEOUT_S = 120.0
_ENDED = "the session has ended on this tier"


class HeldPrograms:
    """What a session's server can be asked to run. workloads: by their ids."""

    def __init__(self, server: SegmentServer, shared: SharedPrograms) -> None:
        self._server, self._shared = server, shared
        self._names: dict[str, str] = {}  # of the programs on this host, by their ids
        self.workloads: dict[str, TierWorkload] = {}
        self._lock = threading.Lock()  # while something is taken, or all of it given up
        self._is_closed = False

    def load(self, program_id: str, name: str) -> int:
        """As SharedPrograms.load(). Raises ClosedError where the session has ended meanwhile."""
        n_layers = self._shared.load(name, self._server.settings)
        with self._lock:
            is_closed, before = self._is_closed, self._names.get(program_id)
            if not is_closed:
                self._names[program_id] = name
        if is_closed:
            self._shared.release(name)
            raise ClosedError(_ENDED)
        if before is not None:
            self._shared.release(before)
        return n_layers

    def forget(self, workload_ids: tuple[str, ...], program_ids: tuple[str, ...]) -> None:
        """Drop workloads and programs; later requests for one are refused and run elsewhere."""
        for workload_id in workload_ids:
            self._forget(workload_id)
        for program_id in program_ids:
            if name := self._names.pop(program_id, None):
                self._shared.release(name)
        if program_ids:  # segments are cycles, and load() has had them passed over
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _forget(self, workload_id: str) -> None:
        """Nothing here may hold the workload while its objects are collected."""
        self._server.worker.programs.pop(workload_id, None)
        self._server.worker.joint_sources.pop(workload_id, None)
        if workload := self.workloads.pop(workload_id, None):
            self._shared.drop(workload)

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Take what the payloads of a workload look like at each cut. Raises ClosedError."""
        with self._lock:
            if self._is_closed:
                raise ClosedError(_ENDED)
            made = self._shared.workload(self._names[program_id], self._server.settings, payloads)
            before = self.workloads.get(workload_id)
            worker = self._server.worker
            self.workloads[workload_id] = worker.programs[workload_id] = made
            if not self._server.settings.exactness.exact:  # kernels for several may round otherwise
                worker.joint_sources[workload_id] = made
        if before is not None:
            self._shared.drop(before)

    def offer(
        self, workload_id: str, runtime: str, graph: OnnxGraph | None, wanted: Exactness
    ) -> None:
        """Make a runtime available that was measured before a restart. As measure_runtime()."""
        self.workloads[workload_id].offer(runtime, graph, wanted)

    def failures(self) -> tuple[Failure, ...]:
        """Runtimes that were wrong on requests, of all workloads, since this actor began."""
        return tuple(
            Failure(workload_id, runtime, why)
            for workload_id, workload in list(self.workloads.items())
            for runtime, why in list(workload.given_up.items())
        )

    def give_up(self, workload_id: str, runtime: str, why: str) -> None:
        """Stop using a runtime that was wrong on a request here or elsewhere."""
        self.workloads[workload_id].give_up(runtime, why)

    def prepare(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> None:
        """Build and check a segment; once it has run, its first request finds it ready.

        Building is done here and not on the compute thread, where requests are served meanwhile.
        What is left behind the segment is built too, for hedges: a late request has no time for it.
        Raises RuntimeUnavailableError where the runtime cannot run the layers well enough.
        """
        workload = self.workloads[workload_id]
        workload.segment(start, stop, runtime)
        workload.check(start, stop, runtime, self._server.settings.exactness, self.on_worker)
        n_layers = len(workload.forms) - 1
        if stop < n_layers and self._server.settings.hedge and workload.engine.has_eager:
            workload.segment(stop, n_layers)

    def on_worker(self, function: Callable[[], Any]) -> Any:
        """What function() returns on the compute thread, between two requests."""
        return self._server.worker.call(function).result(CALL_TIMEOUT_S)

    def close(self) -> None:
        """Give up all of it, and take nothing more."""
        with self._lock:
            self._is_closed = True
        self.forget(tuple(self.workloads), tuple(self._names))
