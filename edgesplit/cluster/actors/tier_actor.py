"""One tier's actor: control reaches it through Ray, data through its sockets.

What it holds and what it measures are in node/tier; here are its life, its meter and its emulation.
"""

import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ray

from edgesplit.core.energy.metering import Metering
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.layer_times import TORCH
from edgesplit.core.power import Power
from edgesplit.node.meter.calibration import Calibration, add_calibration, check_place
from edgesplit.node.meter.choose import open_meter
from edgesplit.node.meter.host_state import host_id, host_state
from edgesplit.node.meter.load_reader import HostLoadReader
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.process.imports import Imports
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.held_programs import HeldPrograms
from edgesplit.node.tier.measurements import Measurements
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.transport.tensor_codec import has_torch


@dataclass(frozen=True)
class Opened:
    """A tier that listens: its data plane's address, its meter, the watts to plan with.

    has_torch: whether segments can be run there in eager torch. incarnation: see SegmentActor's.
    host: the same for tiers that share a machine.
    """

    address: str
    metering: Metering
    power: Power
    has_torch: bool
    incarnation: str
    host: str = ""


def _of(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The actor's method that is the same one of a part of it."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(getattr(self, part), method.__name__)(*args, **kwargs)

    return call


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
        self._held = HeldPrograms(self._server)
        self._measurements = Measurements(self._server, self._held)
        self._load = HostLoadReader()

    # Serving
    has = _of("_held", HeldPrograms.has)
    give_part = _of("_held", HeldPrograms.give_part)
    take_part = _of("_held", HeldPrograms.take_part)
    take = _of("_held", HeldPrograms.take)
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
    refusal = _of("_measurements", Measurements.refusal)
    measure = _of("_measurements", Measurements.measure)
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

    def incarnation(self) -> str:
        """Another one for each start of this actor: one that was restarted remembers nothing."""
        return self._incarnation

    def open(self, imports: Imports) -> Opened:
        """Import, open the meter and listen, once for all calls.

        Raises ConfigError, MeterError, OSError.
        """
        if has_torch():  # without it no operator could be registered, and none is needed
            imports.load(f"tier {self._server.settings.tier!r}")
        if not self._address:
            self._server.worker.meter = open_meter(self._meter_name, self._power)
            self._address = self._server.open()
        return self._opened()

    def use_model(self, why: str) -> Opened:
        """Go on with the power model instead of the meter, which cannot be this tier's."""
        self._server.worker.meter.close()
        self._server.worker.meter = PowerModelMeter(self._power, (why,))
        return self._opened()

    def keep(self, calibration: Calibration) -> str:
        """Store a calibration on this host, with the state it is in; returns the file."""
        return str(add_calibration(replace(calibration, state=host_state())))

    def check_place(self) -> None:
        """Raise MeterError where this host could not keep a calibration."""
        check_place()

    def status(self) -> tuple[str, str, str]:
        """(id of the Ray node, the data plane's address or "" before open, source of joules)."""
        node_id = str(ray.get_runtime_context().get_node_id())
        return node_id, self._address, self._server.worker.meter.metering.text

    def host_load(self) -> HostLoad:
        """What this tier's host says of itself; what this process takes is not others' load."""
        return self._load.read()

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and its outgoing links from now on."""
        self._server.emulate(emulation)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._held.close()
        self._server.worker.meter.close()

    def _opened(self) -> Opened:
        meter = self._server.worker.meter
        return Opened(
            self._address, meter.metering, meter.power, has_torch(), self._incarnation, host_id()
        )
