"""The fleet's testbed: hosts of namespaces, Ray on them, a device's process on each host `end`.

Everything starts at full speed, for Ray gives up on slow starts; then the hosts are slowed, and
the devices open their sessions anew, one after another, so that each knows the slowed hosts.
"""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from edgesplit.testbed.blueprint import Blueprint, read_blueprint
from edgesplit.testbed.layout import Layout
from edgesplit.testbed.ray_cluster import ray_processes, write_cluster_files
from edgesplit.testbed.testbed import Testbed
from experiments.chaos.hosts import Units, patient_ray_up, without_workers
from experiments.fleet.remote import RemoteDevice

HOSTS_FILE = Path(__file__).with_name("hosts.yaml")
NAME, NETWORK = "fleet", "10.83.77"
MODELS = ("mobilenet_v2", "alexnet")  # of the devices, by turns
_OPEN_S = 300.0
_NODE_S, _PAUSE_S = 45.0, 2.0
RAYLET = "raylet/raylet"


@contextmanager
def fleet_bed(hosts: Path) -> Iterator[tuple[list[RemoteDevice], list[dict[str, Any]]]]:
    """The devices and what each found by itself. The testbed is gone afterwards, come what may."""
    blueprint = read_blueprint(str(hosts), NAME)
    bed = Testbed(Layout(NAME, NETWORK, blueprint.hosts))
    with ExitStack() as held:
        held.enter_context(_ends_on_sigterm())
        held.callback(bed.down)
        bed.down()  # of a run that was killed
        bed.up()
        _ray_on(bed, held.enter_context(Units(bed)))
        devices = [held.enter_context(device) for device in _devices(bed)]
        _told_all(devices, "warm")
        blueprint.set_on(bed)
        yield devices, [_told_all([device], "open")[0] for device in devices]


def _ray_on(bed: Testbed, units: Units) -> None:
    """Ray's head, and then one host after another: many at once are slow, and Ray gives up."""
    write_cluster_files(bed.layout, Path("cluster.yaml"))
    without_workers(bed.layout.cluster_file)
    is_over = threading.Event()
    starter = threading.Thread(target=_start_nodes, args=(bed, units, is_over))
    starter.start()
    try:
        patient_ray_up(bed)
    finally:
        is_over.set()
        starter.join()


def _start_nodes(bed: Testbed, units: Units, is_over: threading.Event) -> None:
    """Start each host's node when the one before it runs, or is late."""
    for host in (bed.layout.head, *bed.layout.names):
        if host != bed.layout.head:
            units.start(host)
        until_s = time.monotonic() + _NODE_S
        while not is_over.wait(_PAUSE_S) and time.monotonic() < until_s:
            if any(RAYLET in line for line in ray_processes(bed, host)):
                break


def told(blueprint: Blueprint) -> str:
    """Which conditions are emulated, in one sentence."""
    cores = ", ".join(f"{host} {cores:g}" for host, cores in blueprint.cores.items())
    rates = sorted({round(8 * rate / 1e6) for rate in blueprint.rates.values()})
    total = sum(blueprint.cores.values())
    return (
        f"CPU quotas (cores: {cores}; {total:g} in all) and link rates "
        f"({', '.join(map(str, rates))} Mbit/s) are emulated"
    )


def together(
    devices: Sequence[RemoteDevice],
    asked: Sequence[dict[str, Any]],
    seconds: float,
    margin_s: float,
) -> list[dict[str, Any]]:
    """What each answers, all having begun at one moment; seconds: that they take."""
    at_s = time.time() + 1.0
    for device, words in zip(devices, asked, strict=True):
        device.ask(**words, at_s=at_s, seconds=seconds)
    return [device.heard(seconds + margin_s) for device in devices]


def _devices(bed: Testbed) -> list[RemoteDevice]:
    ends = [host.name for host in bed.layout.hosts if host.role == "end"]
    return [
        RemoteDevice(bed, host, MODELS[number % len(MODELS)], number)
        for number, host in enumerate(ends)
    ]


def _told_all(devices: Sequence[RemoteDevice], do: str) -> list[dict[str, Any]]:
    for device in devices:
        device.ask(do)
    return [device.heard(_OPEN_S) for device in devices]


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """A SIGTERM takes the testbed down too, as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
