"""One tier's actor: control reaches it through Ray, data through its sockets.

It also runs on a host without torch, so what needs torch is imported when it is first used.
"""

import gc
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ray

from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.window import Metered
from edgesplit.core.power import Power
from edgesplit.core.row import TORCH, Row
from edgesplit.errors import EdgeSplitError, MeterError
from edgesplit.node import wire
from edgesplit.node.emulate import TierEmulation
from edgesplit.node.form import Forms
from edgesplit.node.meter import spend
from edgesplit.node.meter.calibration import Calibration, add_calibration
from edgesplit.node.meter.choose import open_meter
from edgesplit.node.meter.host_state import host_state
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.meter.spend import Activity
from edgesplit.node.packed import PackedProgram
from edgesplit.node.packed_payload import PackedPayload
from edgesplit.node.router import ServeSettings
from edgesplit.node.runtime import Prepared
from edgesplit.node.runtime.cache import PreparedCache
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.tier_workload import TierWorkload
from edgesplit.node.serve import SegmentServer
from edgesplit.node.tensor_kind import has_torch
from edgesplit.node.trial import made_up, measure_segment

_CALL_TIMEOUT_S = 120.0
_PING_BYTES = 64
_PINGS = 3
# Ranges prepared in other runtimes than eager torch, which keep memory of their own.
_PREPARED_BYTES, _PREPARED_COUNT = 2 << 30, 16
_TURNS_SHARE = 0.25  # of the time: measuring beside requests


@dataclass(frozen=True)
class Opened:
    """A tier that listens: its data plane's address, its meter, the watts to plan with.

    has_torch: whether segments can be run there in eager torch. incarnation: see SegmentActor's.
    """

    address: str
    metering: Metering
    power: Power
    has_torch: bool
    incarnation: str


class SegmentActor:
    """Hosts one tier's server. A plain class; ray.remote wraps it where it is placed.

    Its methods are control: each may run while requests flow. settings.host empty: listen on the
    node's own address. meter: as node/meter/choose.py reads it.
    """

    def __init__(self, settings: ServeSettings, power: Power, meter: str) -> None:
        if not settings.host:
            settings = replace(settings, host=str(ray.util.get_node_ip_address()))
        self._power, self._meter_name = power, meter
        self._incarnation = uuid.uuid4().hex
        self._server = SegmentServer(settings, PowerModelMeter(power))
        self._address = ""
        self._engines: dict[str, Callable[[tuple[Forms, ...]], Engine]] = {}
        self._workloads: dict[str, TierWorkload] = {}
        self._prepared: PreparedCache[Prepared] = PreparedCache(_PREPARED_BYTES, _PREPARED_COUNT)
        self._exactness = Exactness()

    def incarnation(self) -> str:
        """Another one for each start of this actor: one that was restarted remembers nothing."""
        return self._incarnation

    def open(self) -> Opened:
        """Open the meter and listen, once for all calls. Raises MeterError, OSError."""
        if not self._address:
            self._server.worker.meter = open_meter(self._meter_name, self._power)
            self._address = self._server.open()
        return self._opened()

    def use_model(self, why: str) -> Opened:
        """Go on with the power model instead of the meter, which cannot be this tier's."""
        self._server.worker.meter.close()
        self._server.worker.meter = PowerModelMeter(self._power, (why,))
        return self._opened()

    def load(self, program_id: str, packed: PackedProgram) -> int:
        """Take a program; returns its number of layers.

        The weights are copied out of Ray's object store: it is small on an end device. Without
        torch they are held as they came.
        """
        packed = packed.copied()
        self._engines[program_id] = _engine_maker(packed, self._server.settings.threads)
        gc.freeze()  # a full collection over torch's objects would take tens of milliseconds
        return packed.n_layers

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Take what the payloads of a workload look like at each cut."""
        made = TierWorkload(workload_id, self._engines[program_id](payloads), self._prepared)
        self._workloads[workload_id] = self._server.worker.programs[workload_id] = made

    def profile(self, workload_id: str, sample: PackedPayload) -> tuple[float, ...]:
        """Seconds per layer in torch, the emulated slowdown included; beside requests, as row().

        Raises RuntimeUnavailableError where there is no torch.
        """
        workload = self._workloads[workload_id]
        layer_s = workload.profile(sample.values(), self._turn)
        workload.slowdown = self._slowdown
        return tuple(s * workload.slowdown for s in layer_s)

    def expect(
        self,
        workload_id: str,
        sample: PackedPayload,
        outputs: PackedPayload,
        layer_s: tuple[float, ...],
    ) -> None:
        """In place of profile() without torch: what eager torch made of the sample elsewhere."""
        workload = self._workloads[workload_id]
        workload.expect(sample.values(), outputs.values(), layer_s)
        workload.slowdown = self._slowdown

    def row(
        self, workload_id: str, runtime: str, graph: OnnxGraph | None, wanted: Exactness
    ) -> Row:
        """Measure a runtime, which plans may use from then on; after profile() or expect().

        Requests may flow: single runs take their turns between them, for a quarter of the time.
        Raises RuntimeUnavailableError where it is not here, or cannot run the layers well enough.
        """
        self.offer(workload_id, runtime, graph, wanted)
        workload = self._workloads[workload_id]
        row = workload.row(runtime, wanted, self._turn)
        return replace(row, layer_s=tuple(s * workload.slowdown for s in row.layer_s))

    def offer(
        self, workload_id: str, runtime: str, graph: OnnxGraph | None, wanted: Exactness
    ) -> None:
        """Make a runtime available, measured here before the actor was restarted. As row()."""
        self._exactness = wanted
        self._workloads[workload_id].offer(runtime, graph)

    def prepare(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> None:
        """Build, check and warm up a segment, so that its first request finds it ready.

        Building is done here and not on the compute thread, where requests are served meanwhile.
        Raises RuntimeUnavailableError where the runtime cannot run the layers well enough.
        """
        workload = self._workloads[workload_id]
        workload.segment(start, stop, runtime)
        self._on_worker(lambda: workload.check(start, stop, runtime, self._exactness))
        self.measure(workload_id, start, stop, runtime)

    def measure(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> float:
        """Seconds this tier takes now for layers [start, stop), emulated slowdown included."""
        workload = self._workloads[workload_id]
        segment, forms = workload.segment(start, stop, runtime), workload.forms[start]
        return self._slowdown * float(self._on_worker(lambda: measure_segment(segment, forms)))

    def probe(self, target: tuple[str, str], n_bytes: int, timeout_s: float) -> tuple[float, float]:
        """(round trip of n_bytes, half the round trip of a small message), in seconds.

        target: the other tier's name and address.
        """
        hop = wire.Hop(*target, 0, 0)
        pings = [self._server.probe(hop, _PING_BYTES, timeout_s) for _ in range(_PINGS)]
        return self._server.probe(hop, n_bytes, timeout_s), min(pings) / 2

    def reaches(self, target: tuple[str, str], timeout_s: float) -> bool:
        """Whether a small message to the other tier (name, address) is answered in time."""
        try:
            self._server.probe(wire.Hop(*target, 0, 0), _PING_BYTES, timeout_s)
        except (OSError, EdgeSplitError):  # refused, no route, silence
            return False
        return True

    def mark(self) -> float:
        """A window begins: this tier's clock, to hand to since()."""
        try:
            return self._server.worker.meter.mark()
        except MeterError:
            return time.perf_counter()  # since() says what is wrong

    def since(self, mark: float) -> Metered:
        """What the meter said since mark(). Raises MeterError where there is none."""
        now_s, meter = time.perf_counter(), self._server.worker.meter
        energy, phases = meter.window(mark, now_s), meter.phases(mark, now_s)
        return Metered(now_s - mark, energy, phases, meter.sampling_share())

    def spend(
        self, activity: Activity, seconds: float, workload_id: str, target: tuple[str, str]
    ) -> dict[str, float]:
        """Do one thing for so long; the seconds it then was in each phase."""
        match activity:
            case "compute":
                workload = self._workloads[workload_id]
                whole = workload.segment(0, len(workload.forms) - 1, workload.usual)
                return spend.compute(self._server, whole, made_up(workload.forms[0]), seconds)
            case "transmit":
                return spend.transmit(self._server, wire.Hop(*target, 0, 0), seconds)
            case "wait":
                return spend.wait(seconds)
            case "idle":
                return spend.idle(seconds)

    def keep(self, calibration: Calibration) -> str:
        """Store a calibration on this host, with the state it is in; returns the file."""
        return str(add_calibration(replace(calibration, state=host_state())))

    def status(self) -> tuple[str, str, str]:
        """(id of the Ray node, the data plane's address or "" before open, source of joules)."""
        node_id = str(ray.get_runtime_context().get_node_id())
        return node_id, self._address, self._server.worker.meter.metering.text

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and its outgoing links from now on."""
        self._server.emulate(emulation)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._server.worker.meter.close()

    def _opened(self) -> Opened:
        meter = self._server.worker.meter
        return Opened(self._address, meter.metering, meter.power, has_torch(), self._incarnation)

    @property
    def _slowdown(self) -> float:
        """The emulated one."""
        return self._server.worker.emulation.slowdown

    def _turn(self, run: Callable[[], Any]) -> Any:
        """run() on the compute thread, then a pause, if requests came meanwhile."""
        worker = self._server.worker
        before, began_s = worker.jobs_done, time.perf_counter()
        made = self._on_worker(run)
        if worker.jobs_done > before:
            time.sleep((1 / _TURNS_SHARE - 1) * (time.perf_counter() - began_s))
        return made

    def _on_worker(self, function: Any) -> Any:
        return self._server.worker.call(function).result(_CALL_TIMEOUT_S)


def _engine_maker(packed: PackedProgram, threads: int) -> Callable[[tuple[Forms, ...]], Engine]:
    """What makes of the payloads' forms the program's engine, of the kind that this host has.

    Raises as shipping.unpack.
    """
    if not has_torch():
        from edgesplit.node.runtime.array_engine import ArrayEngine

        return lambda forms: ArrayEngine(packed, forms, threads)
    from edgesplit.node.runtime.torch_engine import TorchEngine
    from edgesplit.node.shipping import unpack

    program = unpack(packed)
    return lambda forms: TorchEngine(program, forms, threads)
