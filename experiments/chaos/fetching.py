"""Chaos while a program arrives at hosts that lack it: what became of it, and what is left behind.

On the testbed, where each host keeps programs of its own. Bytes are counted by the hosts' network
devices.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesplit.errors import TestbedError
from edgesplit.testbed.host import CACHE
from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.testbed import Testbed
from experiments.chaos.faults import Fault
from experiments.chaos.hosts import Hosts, clear
from experiments.chaos.testbed import wait_for_nodes

WEIGHTS_MB = 64
_LINK_BYTES_PER_S = 8e6  # from the caller's host: it takes some seconds, in which faults strike
_MOMENT_S, _END_S, _LOOK_S = 120.0, 300.0, 0.05
_SOME_KB = 2048
_PARTS = f"{CACHE}/edgesplit/parts"
_SENT = "awk '$1 == \"eth0:\" {print $10}' /proc/net/dev"  # /sys is the machine's own


@dataclass(frozen=True)
class Arrival:
    """One row: fault is struck when parts lie on its target's disk; callers begin at once."""

    fault: Fault | None = None
    callers: int = 1

    def __str__(self) -> str:
        who = f"{self.callers} callers" if self.callers > 1 else ""
        return who or str(self.fault or "no fault")


def arrivals() -> list[Arrival]:
    """All rows."""
    links = [Fault("cut", "end-edge", 5.0), Fault("cut", "edge-cloud", 5.0)]
    hosts = [Fault(kind, host) for kind in ("kill", "fill-cache") for host in ("edge", "cloud")]
    return [Arrival(), *map(Arrival, [*hosts, *links]), Arrival(callers=2)]


def run(bed: Testbed, hosts: Hosts, seed: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The rows, each with a model that no host has yet."""
    rows = []
    for number, arrival in enumerate(arrivals()):
        clear(bed)
        wait_for_nodes(bed)
        bed.shape([("end", "edge"), ("end", "cloud")], _LINK_BYTES_PER_S)
        rows.append(_row(bed, hosts, arrival, 1000 * seed + number))
        say(" ".join(f"{key}={value}" for key, value in rows[-1].items()))
    return rows


def _row(bed: Testbed, hosts: Hosts, arrival: Arrival, seed: int) -> dict[str, Any]:
    before = {host: int(bed.run(host, ["sh", "-c", _SENT])) for host in HOSTS}
    callers = [_caller(bed, seed) for _ in range(arrival.callers)]
    fault = arrival.fault
    has_come = fault is None
    if fault is not None:
        has_come = _await_parts(bed, _host_of(fault))
        hosts.strike(fault)
        hosts.hold((fault,), time.monotonic())
        if fault.seconds:
            hosts.lift(fault)
    found = [_answer(caller) for caller in callers]
    sent = {host: int(bed.run(host, ["sh", "-c", _SENT])) - before[host] for host in HOSTS}
    left = {host: int(bed.run(host, ["sh", "-c", f"ls {_PARTS} | wc -l"])) for host in HOSTS}
    if fault is not None and not fault.seconds:
        hosts.lift(fault)
    return {
        "fault": str(arrival) + ("" if has_come else " (did not come)"),
        "right": sum(one["is_right"] for one in found),
        "callers": len(found),
        "first_s": [round(one["first_s"], 1) for one in found],
        "weights_mb": WEIGHTS_MB,
        **{f"{host}_sent_mb": round(sent[host] / 1e6, 1) for host in HOSTS},
        "parts_left": sum(left.values()),
        "note": "; ".join(one["error"] for one in found if one["error"])[:300],
    }


def _caller(bed: Testbed, seed: int) -> "subprocess.Popen[str]":
    words = ["/usr/bin/env", f"PYTHONPATH={Path.cwd()}", "PYTHONWARNINGS=ignore", sys.executable]
    words += ["-m", "experiments.chaos.fetching_caller", str(WEIGHTS_MB), str(seed)]
    return subprocess.Popen(
        bed.exec(HOSTS[0], words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _answer(caller: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        said, _ = caller.communicate(timeout=_END_S)
        return json.loads(said.splitlines()[-1])  # type: ignore[no-any-return]
    except (subprocess.TimeoutExpired, IndexError) as error:
        caller.kill()
        return {"is_right": False, "first_s": _END_S, "error": repr(error)}


def _host_of(fault: Fault) -> str:
    return fault.target.rpartition("-")[2]


def _await_parts(bed: Testbed, host: str) -> bool:
    """Whether some of a program came to the host in time."""
    until_s = time.monotonic() + _MOMENT_S
    while time.monotonic() < until_s:
        try:
            if int(bed.run(host, ["sh", "-c", f"du -sk {_PARTS} | cut -f1"]) or 0) > _SOME_KB:
                return True
        except (TestbedError, ValueError):
            pass  # the folder is not there yet, or its files have gone while it was read
        time.sleep(_LOOK_S)
    return False
