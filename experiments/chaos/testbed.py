"""The fault matrix on the testbed: three hosts, Ray over SSH, faults from outside.

First every row of the matrix once, a session per plan, then pairs of faults drawn by the seed.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.ray_cluster import joined, write_cluster_files
from edgesplit.testbed.testbed import Testbed
from experiments.chaos.call import Caller, CallerEnded
from experiments.chaos.hosts import Hosts, Units, clear, patient_ray_up, without_workers
from experiments.chaos.matrix import SCORE, Case, pair
from experiments.chaos.rows import row

WORKERS = ("end", "edge")
SUMS = ("requests", "right", "by_fallback", "hedged", "errors", "lost", "wrong")
LEAST_PAIRS, PAIRS = 10, 5  # at least, and in one session
NARROW_BYTES_PER_S = 5e6  # of end-edge under `score`, so that its plans use the direct link
_NODES_S = 120.0
_PAUSE_S = 1.0
Say = Callable[[str], None]


def run(bed: Testbed, seconds: float, seed: int, cases: list[Case], say: Say) -> dict[str, Any]:
    """The cases, then LEAST_PAIRS pairs or more, until that many seconds are over; the summary.

    Makes the testbed anew, and takes it down afterwards. Raises TestbedError where it does not come
    up; what goes wrong later ends the run, and stands in the summary under broken_off.
    """
    until_s, broken_off = time.monotonic() + seconds, ""
    with cluster(bed) as hosts:
        play = _Play(bed, hosts, seed, say)
        try:
            for _, group in groupby(cases, key=_session()):
                play.session(list(group))
            play.pairs(until_s)
        except (TestbedError, CallerEnded) as error:
            broken_off = str(error)
    return summary(play.rows) | {"seed": seed, "broken_off": broken_off}


@dataclass(frozen=True)
class _Play:
    """rows: of the cases that were played."""

    bed: Testbed
    hosts: Hosts
    seed: int
    say: Say
    rows: list[dict[str, Any]] = field(default_factory=list)

    def session(self, cases: list[Case]) -> None:
        """Cases of one plan in a session of their own; in another one after one that is not back.

        Empties `cases`.
        """
        log = self.bed.layout.folder / "caller.log"
        while cases:
            clear(self.bed)
            if cases[0].policy == SCORE:
                self.bed.shape([("end", "edge"), ("edge", "end")], NARROW_BYTES_PER_S)
            wait_for_nodes(self.bed)
            with Caller(self.bed, cases[0].policy, self.seed, log) as caller:
                for number in range(len(cases)):
                    found = row(self.bed, self.hosts, caller, cases.pop(0), number)
                    self.rows.append(found)
                    self.say(" ".join(f"{key}={value}" for key, value in found.items()))
                    if found["back_s"] is None:
                        break

    def pairs(self, until_s: float) -> None:
        """LEAST_PAIRS or more, until then, on time.monotonic()."""
        rng, drawn = np.random.default_rng(self.seed), 0
        while drawn < LEAST_PAIRS or time.monotonic() < until_s:
            self.session([pair(rng) for _ in range(PAIRS)])
            drawn += PAIRS


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the rows; rows whose calling process was ended count in caller_ended only."""
    told = [row for row in rows if row["requests"] is not None]
    return {
        "emulated": True,
        **{key: sum(row[key] for row in told) for key in SUMS},
        "longest_wait_s": max((row["longest_wait_s"] for row in told), default=0.0),
        "beyond_bound": sum(not row["within_bound"] for row in told),
        "not_back": sum(row["back_s"] is None for row in told),
        "caller_ended": len(rows) - len(told),
        "faults": rows,
    }


def _session() -> Callable[[Case], tuple[str, int]]:
    """A key that changes with the plan, and after a case whose session may not go on."""
    endings = 0

    def key(case: Case) -> tuple[str, int]:
        nonlocal endings
        this = endings
        endings += case.is_ending
        return case.policy, this

    return key


@contextlib.contextmanager
def cluster(bed: Testbed) -> Iterator[Hosts]:
    """Ray on the testbed, as docs/deploy.md has it for hosts that come back by themselves."""
    bed.down()
    bed.up()
    try:
        write_cluster_files(bed.layout, Path("cluster.yaml"))
        without_workers(bed.layout.cluster_file)
        with Units(bed) as units:
            for host in WORKERS:
                units.start(host)
            patient_ray_up(bed)
            yield Hosts(bed, units)
    finally:
        bed.down()


def wait_for_nodes(bed: Testbed) -> None:
    """Return when every host's node is there. Raises TestbedError."""
    until_s = time.monotonic() + _NODES_S
    while not set(HOSTS) <= (found := joined(bed)):
        if time.monotonic() > until_s:
            raise TestbedError(f"only the nodes of {sorted(found)} are there for a new session")
        time.sleep(_PAUSE_S)
