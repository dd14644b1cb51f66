"""The programs and workloads that a tier holds: taken, prepared for requests, given up.

It also runs on a host without torch, so what needs torch is imported when it is first used.
"""

import gc
from collections.abc import Callable
from typing import Any

from edgesplit.core.layer_times import TORCH
from edgesplit.errors import HeadroomError, WireError
from edgesplit.node.meter.host_state import computing_state
from edgesplit.node.process.headroom import require_headroom
from edgesplit.node.program.host_programs import HostPrograms, ProgramHere
from edgesplit.node.program.packed import Bytes, PackedProgram
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.guard import Guarded
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.recheck import Failure, Recheck
from edgesplit.node.tier.kept_profiles import KeptProfiles
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.tensor_codec import has_torch
from edgesplit.node.transport.tensor_form import Forms

CALL_TIMEOUT_S = 120.0
# Ranges prepared in other runtimes than eager torch, which keep memory of their own.
_PREPARED_BYTES, _PREPARED_COUNT = 2 << 30, 16


class HeldPrograms:
    """What one tier's server can be asked to run. workloads: by their ids."""

    def __init__(self, server: SegmentServer) -> None:
        self._server = server
        self._engines: dict[str, Callable[[tuple[Forms, ...]], Engine]] = {}
        self._programs = HostPrograms()
        self._names: dict[str, str] = {}  # of the programs on this host, by their ids
        self._storages: dict[str, frozenset[str]] = {}  # that each of them reads
        self.workloads: dict[str, TierWorkload] = {}
        self._prepared: PreparedCache[Guarded] = PreparedCache(_PREPARED_BYTES, _PREPARED_COUNT)
        self._recheck = Recheck(server.settle_thread)
        self._exactness = Exactness()

    def has(self, data: bytes) -> ProgramHere:
        """As HostPrograms; so are the next three."""
        return self._programs.has(data)

    def give_part(self, file: str, start: int, stop: int) -> Bytes:
        return self._programs.give_part(file, start, stop)

    def take_part(self, file: str, start: int, part: Bytes) -> int:
        return self._programs.take_part(file, start, part)

    def take(self, data: bytes) -> None:
        self._programs.take(data)

    def load(self, program_id: str, name: str) -> int:
        """Get ready to run a program that this host has; returns its number of layers.

        Raises WireError where it has not, HeadroomError where weights that no other program here
        reads would leave too little memory free; then nothing has changed.
        """
        packed = self._programs.use(name)
        if packed is None:
            raise WireError(f"program {name} is not on this host; send it again")
        held = frozenset[str]().union(*self._storages.values())
        new = [weights.nbytes for one, weights in packed.by_name.items() if one not in held]
        is_mapped = self._programs.own_folder(name) is not None  # else it has its memory already
        try:
            require_headroom(sum(new) if is_mapped else 0, "this model")
        except HeadroomError:
            self._done(name)
            raise
        self._storages[program_id] = frozenset(packed.names)
        self._engines[program_id] = _engine_maker(packed, self._server.settings)
        self._names[program_id] = name
        gc.freeze()  # a full collection over torch's objects would take tens of milliseconds
        return packed.n_layers

    def forget(self, workload_ids: tuple[str, ...], program_ids: tuple[str, ...]) -> None:
        """Drop workloads and programs; later requests for one are refused and run elsewhere."""
        for workload_id in workload_ids:
            self._forget_workload(workload_id)
        for program_id in program_ids:
            self._engines.pop(program_id, None)
            self._storages.pop(program_id, None)
            if name := self._names.pop(program_id, None):
                self._done(name)
        if program_ids:  # segments are cycles, and load() has had them passed over
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _forget_workload(self, workload_id: str) -> None:
        self._server.worker.programs.pop(workload_id, None)
        if workload := self.workloads.pop(workload_id, None):
            workload.drop_prepared()

    def _done(self, name: str) -> None:
        """Use that program no more, unless it is loaded under another id."""
        if name not in self._names.values():
            self._programs.done(name)

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Take what the payloads of a workload look like at each cut."""
        engine = self._engines[program_id](payloads)
        kept = self._kept_profiles(self._names[program_id], payloads[0])
        made = TierWorkload(workload_id, engine, self._prepared, self._recheck, kept=kept)
        self.workloads[workload_id] = self._server.worker.programs[workload_id] = made

    def offer(
        self, workload_id: str, runtime: str, graph: OnnxGraph | None, wanted: Exactness
    ) -> None:
        """Make a runtime available that was measured before a restart. As measure_runtime()."""
        self._exactness = wanted
        self.workloads[workload_id].offer(runtime, graph, wanted)

    def failures(self) -> tuple[Failure, ...]:
        """Runtimes that were wrong on requests, of all workloads, since this actor began."""
        return tuple(
            Failure(workload.id, runtime, why)
            for workload in list(self.workloads.values())
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
        workload.check(start, stop, runtime, self._exactness, self.on_worker)
        n_layers = len(workload.forms) - 1
        if stop < n_layers and self._server.settings.hedge and workload.engine.has_eager:
            workload.segment(stop, n_layers)

    def _kept_profiles(self, name: str, given: Forms) -> KeptProfiles:
        settings = self._server.settings
        form = f"{settings.threads} {settings.flushes_denormals} {given}"
        return KeptProfiles(self._programs.own_folder(name), form, computing_state())

    def on_worker(self, function: Callable[[], Any]) -> Any:
        """What function() returns on the compute thread, between two requests."""
        return self._server.worker.call(function).result(CALL_TIMEOUT_S)

    def close(self) -> None:
        """Check no more answers, use no more programs."""
        self._recheck.stop()
        self._programs.close()


def _engine_maker(
    packed: PackedProgram, settings: ServeSettings
) -> Callable[[tuple[Forms, ...]], Engine]:
    """What makes of the payloads' forms the program's engine, of the kind that this host has.

    Raises as shipping.unpack.
    """
    threads, flushes = settings.threads, settings.flushes_denormals
    if not has_torch():
        from edgesplit.node.runtime.array_engine import ArrayEngine

        return lambda forms: ArrayEngine(packed, forms, threads, flushes)
    from edgesplit.node.program.shipping import unpack
    from edgesplit.node.runtime.torch_engine import TorchEngine

    program = unpack(packed)
    return lambda forms: TorchEngine(program, forms, threads, flushes)
