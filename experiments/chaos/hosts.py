"""Faults from outside on the hosts and links of a testbed: struck, held and lifted.

How a host's Ray node comes back is what docs/deploy.md has: the command line of the unit that
`edgesplit node init` writes, started when the host is; the head by `ray up` again.
"""

import subprocess
import time
from pathlib import Path

import yaml

from edgesplit.deploy.node_files import start_script
from edgesplit.errors import TestbedError
from edgesplit.testbed.host import CACHE, CACHE_BYTES, RAY_TEMP_BYTES
from edgesplit.testbed.layout import HEAD, HOSTS
from edgesplit.testbed.mounts import ETC, RAY_TEMP
from edgesplit.testbed.ray_cluster import ray_up
from edgesplit.testbed.testbed import Testbed
from experiments.chaos.faults import Fault

THROTTLED_BYTES_PER_S = 1e4  # a payload of the small net takes seconds
_LEFT_BYTES = 64 << 10  # of a full disk
_FLAP_S = 1.0
_RESTART_S = 3.0  # the unit's RestartSec
_STOP_S = 10.0
_RAY_UPS, _FILLS = 3, 20
# Of command lines; what looks for a pattern must not be found by it.
_SEGMENT, _SCHEDULER = "^ray::SegmentActor", "^ray::Scheduler"
_RAYLET, _HEAD, _UNIT = "[r]aylet/raylet ", "[g]cs/gcs_server ", "^/bin/sh -c while :"


class Units:
    """Hosts whose Ray node is started by the command line of their systemd unit, for ever.

    Leaving the `with` ends the loops, not the nodes.
    """

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Units":
        return self

    def __exit__(self, *exc: object) -> None:
        for host in list(self._running):
            self.stop(host)

    def start(self, host: str) -> None:
        """As systemd does at boot. There is no systemd on the testbed: a shell repeats it."""
        self.stop(host)
        script = start_script(ETC / "node.env", is_head=False)
        loop = f"while :; do ( {script} ); sleep {_RESTART_S:g}; done"
        self._running[host] = subprocess.Popen(
            self._bed.exec(host, ["/bin/sh", "-c", f"{loop} # unit"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self, host: str) -> None:
        """End the loop, if there is one, so that nothing starts Ray there again."""
        process = self._running.pop(host, None)
        if process is None:
            return
        if process.poll() is None:
            _signal(self._bed, host, "KILL", _UNIT)
        process.kill()
        process.wait(_STOP_S)


class Hosts:
    """The hosts as faults find them: nothing cut, shaped or full."""

    def __init__(self, bed: Testbed, units: Units) -> None:
        self._bed, self._units = bed, units

    def strike(self, fault: Fault) -> None:
        """Let it begin. A process that is not there, killed by the fault before, is not struck."""
        match fault.kind:
            case "kill":
                self._kill(fault.target)
            case "freeze":
                _signal(self._bed, fault.target, "STOP", _SEGMENT)
            case "kill-raylet":
                _signal(self._bed, fault.target, "KILL", _RAYLET)
            case "kill-head":
                _signal(self._bed, fault.target, "KILL", _HEAD)
            case "power-cut":
                self._units.stop(fault.target)
                self._bed.kill(fault.target)
            case "cut" | "flap":
                self._bed.cut(_both_ways(self._bed, fault.target))
            case "throttle":
                self._bed.shape(_both_ways(self._bed, fault.target), THROTTLED_BYTES_PER_S)
            case "fill-disk":
                _fill(self._bed, fault.target, str(RAY_TEMP))
            case "fill-cache":
                _fill(self._bed, fault.target, CACHE)
            case _:
                raise ValueError(f"no fault {fault.kind!r}")

    def hold(self, faults: tuple[Fault, ...], since_s: float) -> None:
        """Wait for the end of the longest, on time.monotonic(); links flap meanwhile."""
        until_s = since_s + max(fault.seconds for fault in faults)
        is_cut = True
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(_FLAP_S, left_s))
            is_cut = not is_cut
            for fault in faults:
                if fault.kind == "flap":
                    self._bed.cut(_both_ways(self._bed, fault.target), is_cut)

    def lift(self, fault: Fault) -> None:
        """End it, and bring back what does not come back by itself."""
        match fault.kind:
            case "freeze":
                _signal(self._bed, fault.target, "CONT", _SEGMENT)
            case "cut" | "flap":
                self._bed.cut(_both_ways(self._bed, fault.target), is_cut=False)
            case "throttle":
                self._bed.shape(_both_ways(self._bed, fault.target), None)
            case "fill-disk":
                self._bed.run(fault.target, _remount(str(RAY_TEMP), RAY_TEMP_BYTES))
            case "fill-cache":
                self._bed.run(fault.target, _remount(CACHE, CACHE_BYTES))
            case "power-cut":
                self._bed.start(fault.target)
                if fault.target != HEAD:
                    self._units.start(fault.target)

    def restore(self, fault: Fault) -> None:
        """`ray up` again, where the fault has taken Ray's head, and nothing else brings it back."""
        if fault.target == HEAD and fault.kind in ("kill-raylet", "kill-head", "power-cut"):
            patient_ray_up(self._bed)

    def _kill(self, who: str) -> None:
        if who != "scheduler":
            _signal(self._bed, who, "KILL", _SEGMENT)
            return
        for host in HOSTS:
            if self._bed.state().is_running(host):
                _signal(self._bed, host, "KILL", _SCHEDULER)


def patient_ray_up(bed: Testbed) -> None:
    """`ray up`, again where a busy machine took over the 30 s that Ray has for a node's start."""
    for left in reversed(range(_RAY_UPS)):
        try:
            return ray_up(bed)
        except TestbedError:
            if not left:
                raise


def _signal(bed: Testbed, host: str, signal: str, pattern: str) -> None:
    """To every process of the host whose command line matches; none is no error."""
    if bed.state().is_running(host):
        bed.run(host, ["/bin/sh", "-c", f'pkill -{signal} -f -- "$0" || test $? = 1', pattern])


def _fill(bed: Testbed, host: str, folder: str) -> None:
    """The disk of that folder, a tmpfs of the host's own, becomes as large as its use.

    The rest of the disk is the machine's and all hosts'.
    """
    for left in reversed(range(_FILLS)):  # what arrives meanwhile may take what was to be left
        used = bed.run(host, ["df", "--block-size=1", "--output=used", folder]).split()[-1]
        try:
            bed.run(host, _remount(folder, int(used) + _LEFT_BYTES))
            return
        except TestbedError:
            if not left:
                raise


def _remount(folder: str, size_bytes: int) -> list[str]:
    return ["mount", "-o", f"remount,size={size_bytes}", folder]


def _both_ways(bed: Testbed, link: str) -> list[tuple[str, str]]:
    source, target = bed.layout.pair(link)
    return [(source, target), (target, source)]


def clear(bed: Testbed) -> None:
    """Nothing cut or shaped, every host running. Raises TestbedError."""
    state = bed.state()
    bed.cut(list(state.cuts), is_cut=False)
    bed.shape(list(state.rates), None)
    stopped = [host for host in HOSTS if not bed.state().is_running(host)]
    if stopped:
        raise TestbedError(f"{', '.join(stopped)} should be running by now")


def without_workers(cluster_file: Path) -> None:
    """Take the hosts with a unit out of worker_ips, as docs/deploy.md says."""
    cluster = yaml.safe_load(cluster_file.read_text())
    cluster["provider"]["worker_ips"] = []
    cluster_file.write_text(yaml.safe_dump(cluster, sort_keys=False))
