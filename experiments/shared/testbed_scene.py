"""The testbed as a scene: the experiment runs on the host `end`, conditions are set from outside.

Started on the machine itself, an experiment brings the testbed up and starts itself once more on
the host `end`. That second process asks the first one, over a socket, to shape links.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesplit import Config, EdgeSplit
from edgesplit.errors import ConfigError, TestbedError
from edgesplit.testbed.layout import HEAD, HOSTS
from edgesplit.testbed.rate import parse_rate
from edgesplit.testbed.ray_cluster import joined, ray_up, write_cluster_files
from edgesplit.testbed.testbed import Testbed

# Speeds of the default emulation, as shares of a core: a Pi 5, a laptop, one core of a PC.
NOMINAL_CORES = {"end": 0.2, "edge": 1 / 3, "cloud": 1.0}
NOMINAL_RATE = "40MB/s"  # the paper's
_CONTROL = "EDGESPLIT_EXPERIMENT_CONTROL"
_TIMEOUT_S = 60.0
_SLOW_START_S = 600.0  # a fifth of a core imports torch and exports a model
_FREE = "off"


class TestbedScene:
    """The three hosts, seen from the host `end`. The socket leads to the process outside."""

    name = "testbed"
    address: str | None = None
    can_shape = True

    def __init__(self, outside: socket.socket, is_nominal: bool) -> None:
        self._outside = outside.makefile("rw")
        self._is_nominal = is_nominal

    @property
    def provenance(self) -> str:
        """What is emulated here."""
        hosts = "Three hosts of namespaces on one machine, real sockets between them; "
        if not self._is_nominal:
            return hosts + "seconds are measured with nothing slowed or shaped."
        cores = ", ".join(f"{host} {cores:.2g}" for host, cores in NOMINAL_CORES.items())
        return (
            f"{hosts}their speeds (CPU quotas, cores: {cores}) and link rates are emulated, "
            "seconds are measured under them, energy is modelled (watts x seconds)."
        )

    def config(self) -> Config:
        """One thread per tier; patience, since a slowed host starts slowly."""
        slow_s = _SLOW_START_S
        return Config(
            threads=1,
            start_timeout_s=slow_s,
            timeout_s=slow_s,
            fallback="none",
            runtimes=("torch",),
        )

    def attach(self, split: EdgeSplit) -> None:
        """See that it is the testbed's cluster."""
        if not split.emulation.is_off:
            raise ConfigError(
                "the testbed's cluster was not joined; see `edgesplit testbed status`"
            )

    def shape(self, pair: str, rate: str) -> float:
        """Have the link held to the rate, both ways."""
        self._ask("shape", pair, rate)
        return time.perf_counter()

    def settle(self) -> None:
        """Set the nominal speeds and rates, or none at all."""
        for host, cores in NOMINAL_CORES.items():
            self._ask("slow", host, f"{cores:.3f}" if self._is_nominal else _FREE)
        for index, source in enumerate(HOSTS):
            for target in HOSTS[index + 1 :]:
                rate = NOMINAL_RATE if self._is_nominal else _FREE
                self._ask("shape", f"{source}-{target}", rate)

    def _ask(self, *words: str) -> None:
        self._outside.write(" ".join(words) + "\n")
        self._outside.flush()
        answer = self._outside.readline().strip()
        if answer != "done":
            raise ConfigError(f"the testbed cannot {' '.join(words)}: {answer or 'it is gone'}")


@contextmanager
def testbed_scene(is_nominal: bool) -> Iterator[TestbedScene]:
    """The scene, on the host `end`. On the machine itself: run all of this there, then exit."""
    control = os.environ.get(_CONTROL)
    if control is None:
        raise SystemExit(_run_on_end())
    with socket.socket(fileno=int(control)) as outside:
        outside.settimeout(_TIMEOUT_S)
        scene = TestbedScene(outside, is_nominal)
        scene.settle()
        yield scene


# Outside


def _run_on_end() -> int:
    """Run this program on the host `end` and serve its wishes; its exit code."""
    bed = Testbed()
    was_up = _is_up(bed)
    try:
        _bring_up(bed)
        return _serve(bed)
    finally:
        if was_up:
            _lift(bed)
        else:
            bed.down()


def _is_up(bed: Testbed) -> bool:
    try:
        return all(host.is_running for host in bed.status())
    except TestbedError:
        return False


def _bring_up(bed: Testbed) -> None:
    bed.up()
    _lift(bed)  # Ray gives up on a start that takes over 30 s
    if not bed.layout.cluster_file.exists():
        write_cluster_files(bed.layout, Path("cluster.yaml"))
    try:
        has_joined = set(HOSTS) <= joined(bed)
    except TestbedError:
        has_joined = False
    if not has_joined:
        print(f"ray up on the testbed, head on {HEAD} ...", flush=True)
        ray_up(bed)


def _serve(bed: Testbed) -> int:
    ours, theirs = socket.socketpair()
    module = sys.modules["__main__"].__spec__
    assert module is not None, "experiments are run with python -m"
    name = module.name.removesuffix(".__main__")
    control = ["/usr/bin/env", f"{_CONTROL}={theirs.fileno()}"]
    words = [*control, sys.executable, "-m", name, *sys.argv[1:]]
    with (
        ours,
        subprocess.Popen(bed.exec(HOSTS[0], words), pass_fds=[theirs.fileno()]) as child,
    ):
        theirs.close()
        with ours.makefile("rw") as wishes:
            for wish in wishes:
                wishes.write(_carry_out(bed, wish.split()) + "\n")
                wishes.flush()
        return child.wait()


def _carry_out(bed: Testbed, words: list[str]) -> str:
    """Done, or what went wrong in one line."""
    try:
        match words:
            case ["shape", pair, rate]:
                source, target = bed.layout.pair(pair)
                bytes_per_s = None if rate == _FREE else parse_rate(rate)
                bed.shape([(source, target), (target, source)], bytes_per_s)
            case ["slow", host, cores]:
                bed.slow(host, None if cores == _FREE else float(cores))
    except TestbedError as error:
        return " ".join(str(error).split())
    return "done"


def _lift(bed: Testbed) -> None:
    """Lift every quota, rate and cut."""
    state = bed.state()
    for host in list(state.cores):
        bed.slow(host, None)
    bed.shape(list(state.rates), None)
    bed.cut(list(state.cuts), is_cut=False)
