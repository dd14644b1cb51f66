"""What a tier measures when it is asked: layers, runtimes, links, joules; beside requests."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from edgesplit.core.energy.window import Metered
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.core.payload_codec import CodecSpeed
from edgesplit.core.profile import Link
from edgesplit.errors import EdgeSplitError, MeterError, RuntimeUnavailableError
from edgesplit.node.codec.picture_speed import measured_picture_speed
from edgesplit.node.codec.speeds import CodecsAsked, measure_codecs
from edgesplit.node.process.threads import begin
from edgesplit.node.program.host_programs import cache_folder
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.trial import dummy_payload, measure_segment
from edgesplit.node.tier import exercise
from edgesplit.node.tier.coded_examples import coded_examples
from edgesplit.node.tier.exercise import Activity
from edgesplit.node.tier.held_programs import HeldPrograms
from edgesplit.node.tier.joint_run import JointKey
from edgesplit.node.tier.kept_links import KeptLinks
from edgesplit.node.tier.opening_profile import OpeningProfile
from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.transport import wire
from edgesplit.node.transport.packed_payload import PackedPayload, PackedTrial

_log = logging.getLogger(__name__)
_PING_BYTES = 64
_PINGS = 3
_TURNS_SHARE = 0.25  # of the time: measuring beside requests


class Measurements:
    """Of one session on a tier: what it holds, on its server. Seconds hold the emulated slowdown.

    address: of the tier.
    """

    def __init__(self, server: SegmentServer, held: HeldPrograms, address: str) -> None:
        self._server, self._held, self._address = server, held, address
        # Ranges that have run, while they are kept.
        self._warm = WeakValueDictionary[tuple[str, int, int, str], Any]()
        self._is_measuring = threading.Lock()
        server.worker.measure_joint = self.measure_joint
        self._profiled: dict[str, float] = {}  # the emulated slowdown when a workload was

    def profile(self, workload_id: str, example: PackedPayload) -> LayerTimes:
        """Layer times in torch; beside requests, as measure_runtime().

        Those that this host keeps, where a short look confirms them. Raises
        RuntimeUnavailableError where there is no torch.
        """
        workload = self._held.workloads[workload_id]
        found = OpeningProfile(workload, self._run_slot).torch(example.values())
        self._profiled[workload_id], workload.provenance = self._slowdown, found.provenance
        return found.times(self._slowdown)

    def torch_times(self, workload_id: str) -> LayerTimes | None:
        """torch's layer times as profile() measured them; None where there is no torch."""
        workload = self._held.workloads[workload_id]
        if workload.reference is None or not workload.engine.has_eager:
            return None
        slowdown = self._profiled.get(workload_id, self._slowdown)
        layer_s = tuple(s * slowdown for s in workload.reference.shape.layer_s)
        return LayerTimes(TORCH, layer_s, workload.provenance)

    def expect(
        self, workload_id: str, trials: Sequence[PackedTrial], layer_s: tuple[float, ...]
    ) -> None:
        """In place of profile() without torch: what eager torch made elsewhere of the trials.

        The example comes first, then noise.
        """
        workload = self._held.workloads[workload_id]
        given = [(trial.name, trial.given.values(), trial.made.values()) for trial in trials]
        workload.expect(given, layer_s)
        self._profiled[workload_id] = self._slowdown

    def measure_runtime(
        self, workload_id: str, runtime: str, graph: OnnxGraph | None, wanted: Exactness
    ) -> LayerTimes:
        """Measure a runtime, which plans may use from then on; after profile() or expect().

        What this host keeps of it is confirmed by a short look, as in profile(). Requests may flow:
        single runs take their turns between them, for a quarter of the time.
        Raises RuntimeUnavailableError where it is not here, or cannot run the layers well enough.
        """
        self._held.offer(workload_id, runtime, graph, wanted)
        workload = self._held.workloads[workload_id]
        found = OpeningProfile(workload, self._run_slot).runtime(runtime, wanted)
        return found.times(self._profiled.get(workload_id, self._slowdown))

    def measure_joint(self, key: JointKey) -> None:
        """Find out whether several requests at once gain on a range; as measure_runtime().

        Returns at once: that takes seconds, on a thread of its own, one range at a time.
        """
        if self._is_measuring.acquire(blocking=False):
            try:
                begin(partial(self._measure_joint, key), "joint-runs")
            except OSError:  # no thread is left: requests come first
                self._is_measuring.release()

    def _measure_joint(self, key: JointKey) -> None:
        try:
            workload = next(one for one in self._held.workloads.values() if one is key.source)
            exactness = self._server.settings.exactness
            workload.measure_batch(*key.range, exactness, self._run_slot)
        except (StopIteration, CancelledError, TimeoutError):  # forgotten meanwhile, or it ends
            pass
        finally:
            self._is_measuring.release()

    def refusal(self, workload_id: str, runtime: str, wanted: Exactness) -> str:
        """Why an earlier session may not use that runtime here; empty where nothing is known."""
        workload = self._held.workloads[workload_id]
        return OpeningProfile(workload, self._run_slot).refusal(runtime, wanted)

    def measure(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> float:
        """Seconds this tier takes now for layers [start, stop), emulated slowdown included."""
        workload = self._held.workloads[workload_id]
        segment, forms = workload.segment(start, stop, runtime), workload.forms[start]
        return self._slowdown * float(self._held.on_worker(lambda: measure_segment(segment, forms)))

    def codec_speeds(self, workload_id: str, asked: CodecsAsked) -> tuple[CodecSpeed, ...]:
        """What each codec takes here, slowed as layer times are; after profile() or expect().

        On the example, and with torch on what layers make of it, so on real payloads of several
        sizes; of pictures on the files that are given, nothing where they are not decoded alike.
        In run slots beside requests, as measure_runtime().
        """
        workload, speeds = self._held.workloads[workload_id], list[CodecSpeed]()
        if asked.codecs:
            payloads = coded_examples(workload, self._run_slot)
            speeds += measure_codecs(payloads, asked.codecs, self._run_slot)
        if asked.pictures:
            try:
                speeds.append(measured_picture_speed(asked.pictures, self._run_slot))
            except RuntimeUnavailableError as error:
                _log.warning("this tier is sent no pictures as files: %s", error)
        slowdown = self._profiled.get(workload_id, self._slowdown)
        return tuple(speed.slowed(slowdown) for speed in speeds)

    def warm_up(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> None:
        """Run a prepared range once, between two requests, where that was not done yet.

        Else a new plan that has the same range would wait for the request that runs now.
        """
        key = workload_id, start, stop, runtime
        segment = self._held.workloads[workload_id].segment(start, stop, runtime)
        if start < stop and self._warm.get(key) is not segment:
            self.measure(workload_id, start, stop, runtime)
            self._warm[key] = segment

    def probe(self, target: tuple[str, str], n_bytes: int, timeout_s: float) -> tuple[float, float]:
        """(round trip of n_bytes, half the round trip of a small message), in seconds.

        target: the other tier's name and address.
        """
        hop = wire.Hop(*target, 0, 0)
        pings = [self._server.probe(hop, _PING_BYTES, timeout_s) for _ in range(_PINGS)]
        return self._server.probe(hop, n_bytes, timeout_s), min(pings) / 2

    def link(self, target: tuple[str, str], n_bytes: int, timeout_s: float) -> Link:
        """The link to another tier, by name and address, as probes of n_bytes find it.

        Raises TimeoutError, OSError.
        """
        settings, (name, address) = self._server.settings, target
        here, there = (one.rpartition(":")[0] for one in (self._address, address))
        shape = self._server.worker.emulation.shapes.get(name)
        way = f"{here} {there} {shape} {settings.credentials.is_secured}"
        found = KeptLinks(cache_folder()).measured(
            way, n_bytes, lambda n_bytes: self.probe(target, n_bytes, timeout_s)
        )
        return Link(settings.tier, name, found.latency_s, found.bytes_per_s, found.provenance)

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
                workload = self._held.workloads[workload_id]
                whole = workload.segment(0, len(workload.forms) - 1, workload.usual)
                return exercise.compute(
                    self._server, whole, dummy_payload(workload.forms[0]), seconds
                )
            case "transmit":
                return exercise.transmit(self._server, wire.Hop(*target, 0, 0), seconds)
            case "wait":
                return exercise.wait(seconds)
            case "idle":
                return exercise.idle(seconds)

    @property
    def _slowdown(self) -> float:
        """The emulated one."""
        return self._server.worker.emulation.slowdown

    def _run_slot(self, run: Callable[[], Any]) -> Any:
        """run() on the compute thread, then a pause, if requests came meanwhile."""
        worker = self._server.worker
        before, began_s = worker.jobs_done, time.perf_counter()
        made = self._held.on_worker(run)
        if worker.jobs_done > before:
            time.sleep((1 / _TURNS_SHARE - 1) * (time.perf_counter() - began_s))
        return made
