"""What one session has on one tier: its server, its programs, its measurements, its meter."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgesplit.core.energy.metering import Metering
from edgesplit.core.layer_times import TORCH
from edgesplit.core.power import Power
from edgesplit.node.meter import Meter
from edgesplit.node.meter.calibration import Calibration, add_calibration, check_place
from edgesplit.node.meter.host_state import host_id, host_state
from edgesplit.node.meter.pool import MeterPool
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.held_programs import HeldPrograms
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.measurements import Measurements
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.shared_programs import SharedPrograms
from edgesplit.node.transport.tensor_kind import has_torch

_numbers = itertools.count()


@dataclass(frozen=True)
class TierSessionSettings:
    """What a session asks of a tier. meter: as node/meter/choose.py reads it; power: its watts
    where none are calibrated. imports: what registers the operators of its models.
    """

    serve: ServeSettings
    power: Power
    meter: str
    imports: Imports


@dataclass(frozen=True)
class Opened:
    """A tier that listens: its data plane's address, its meter, the watts to plan with.

    has_torch: whether segments can be run there in eager torch. incarnation: another one whenever
    what was told to the session there is forgotten. host: the same for tiers that share a machine.
    """

    address: str
    metering: Metering
    power: Power
    has_torch: bool
    incarnation: str
    host: str = ""


def _of(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The session's method that is the same one of a part of it."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(getattr(self, part), method.__name__)(*args, **kwargs)

    return call


class TierSession:
    """Its methods are control: each may run while requests flow.

    process: names the process that it is in.
    """

    def __init__(
        self,
        settings: TierSessionSettings,
        host: TierHost,
        shared: SharedPrograms,
        meters: MeterPool,
        process: str,
    ) -> None:
        """Raises ConfigError for what cannot be imported, MeterError."""
        serve = settings.serve
        if has_torch():  # without it no operator could be registered, and none is needed
            settings.imports.load(f"tier {serve.tier!r}")
        self.settings = settings
        self.incarnation = f"{process}/{next(_numbers)}"
        self._address, self._meters = host.address, meters
        self.had_peers_s = float("-inf")  # when somebody was last seen to be connected
        meter = meters.open(settings.meter, settings.power)
        try:
            self._server = host.begin(serve, meter)
        except BaseException:
            meters.release(meter)
            raise
        self._programs = shared.programs
        self._held = HeldPrograms(self._server, shared)
        self._measurements = Measurements(self._server, self._held, host.address)

    # Serving
    has = _of("_programs", HostPrograms.has)
    give_part = _of("_programs", HostPrograms.give_part)
    take_part = _of("_programs", HostPrograms.take_part)
    take = _of("_programs", HostPrograms.take)
    load = _of("_held", HeldPrograms.load)
    forget = _of("_held", HeldPrograms.forget)
    describe = _of("_held", HeldPrograms.describe)
    offer = _of("_held", HeldPrograms.offer)
    failures = _of("_held", HeldPrograms.failures)
    give_up = _of("_held", HeldPrograms.give_up)

    # Measuring
    profile = _of("_measurements", Measurements.profile)
    torch_times = _of("_measurements", Measurements.torch_times)
    expect = _of("_measurements", Measurements.expect)
    measure_runtime = _of("_measurements", Measurements.measure_runtime)
    codec_speeds = _of("_measurements", Measurements.codec_speeds)
    refusal = _of("_measurements", Measurements.refusal)
    measure = _of("_measurements", Measurements.measure)
    codec_speeds = _of("_measurements", Measurements.codec_speeds)
    probe = _of("_measurements", Measurements.probe)
    link = _of("_measurements", Measurements.link)
    reaches = _of("_measurements", Measurements.reaches)
    mark = _of("_measurements", Measurements.mark)
    since = _of("_measurements", Measurements.since)
    spend = _of("_measurements", Measurements.spend)

    def prepare(self, workload_id: str, start: int, stop: int, runtime: str = TORCH) -> None:
        """Build, check and warm up a segment, so that its first request finds it ready.

        Raises RuntimeUnavailableError where the runtime cannot run the layers well enough.
        """
        self._held.prepare(workload_id, start, stop, runtime)
        self._measurements.warm_up(workload_id, start, stop, runtime)

    def opened(self) -> Opened:
        """What there is to say of it."""
        meter = self._meter
        return Opened(
            self._address, meter.metering, meter.power, has_torch(), self.incarnation, host_id()
        )

    def use_model(self, why: str) -> Opened:
        """Go on with the power model instead of the meter, which cannot be this tier's."""
        self._meters.release(self._meter)
        self._server.worker.meter = PowerModelMeter(self.settings.power, (why,))
        return self.opened()

    def keep(self, calibration: Calibration) -> str:
        """Store a calibration on this host, with the state it is in; returns the file."""
        return str(add_calibration(replace(calibration, state=host_state())))

    def check_place(self) -> None:
        """Raise MeterError where this host could not keep a calibration."""
        check_place()

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and its outgoing links from now on, for this session."""
        self._server.emulate(emulation)

    def has_peers(self, within_s: float) -> bool:
        """As SegmentServer.has_peers()."""
        return self._server.has_peers(within_s)

    @property
    def worked_s(self) -> tuple[float, float]:
        """(seconds that its requests have computed here, seconds that they waited for that)."""
        return self._server.worker.computed_s, self._server.worker.waited_s

    def close(self, host: TierHost) -> None:
        """Serve it no more, and give up what it has."""
        try:
            host.end(self.settings.serve.session)
        finally:
            try:
                self._held.close()
            finally:
                self._meters.release(self._meter)

    @property
    def _meter(self) -> Meter:
        return self._server.worker.meter
