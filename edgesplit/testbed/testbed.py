"""The testbed's verbs: up, down, status, shape, slow, cut, kill, start, exec.

Each reads the state, changes the system and writes the state; what is to be made is written first,
so that `down` finds it after a crash.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgesplit.errors import TestbedError
from edgesplit.testbed import cpu, mounts
from edgesplit.testbed.host import Host
from edgesplit.testbed.layout import HOSTS, Layout, known
from edgesplit.testbed.network import Network
from edgesplit.testbed.state import Pair, Process, State, read_state, write_state
from edgesplit.testbed.system import forbidden, require, run, wait_until

_LOCK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class HostStatus:
    """cores: CPU quota, None where there is none."""

    host: str
    address: str
    is_running: bool
    cores: float | None


class Testbed:
    """Three hosts on this machine. Every method may be called at any time, by any process."""

    __test__ = False  # pytest would collect it by its name

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or Layout()
        self.network = Network(self.layout)

    # Life

    def up(self) -> None:
        """Make what is missing; hosts that run are left alone. Raises TestbedError."""
        require()
        reason = forbidden()
        if reason is not None:
            raise TestbedError(reason)
        with self._changing() as state:
            if state is None:
                self._refuse_foreign()
                state = State()
            self.layout.folder.mkdir(mode=0o700, exist_ok=True)
            write_state(self.layout.folder, state)
            mounts.make(self.layout.folder.parent)
            self._make_key()
            cpu.make(self.layout)
            self.network.make()
            for host in HOSTS:
                if not state.is_running(host):
                    state = self._start(host, state)

    def down(self) -> None:
        """Remove everything that was made, also after a crash. Nothing where there is nothing."""
        require()
        with self._changing() as state:
            for host in HOSTS:
                self.network.pull(host)
            for host, process in (state.first if state else {}).items():
                Host(host, self.layout).kill(process)
            cpu.kill(self.layout)  # a host whose start was broken off is known to its group only
            if state is not None:
                self.network.remove()
                cpu.remove(self.layout)
            shutil.rmtree(self.layout.folder, ignore_errors=True)
            mounts.remove(self.layout.folder.parent)

    def kill(self, host: str) -> None:
        """Take a host away, as a power cut does: its peers hear nothing."""
        with self._changed() as state:
            first = self._running(host, state)
            self.network.pull(host)
            Host(host, self.layout).kill(first)
            self.network.unplug(host)
            write_state(self.layout.folder, state.with_first(host, None))

    def start(self, host: str) -> None:
        """Bring a host back, empty, with its address, shape and quota. Nothing if it runs."""
        with self._changed() as state:
            if not state.is_running(known(host)):
                self._start(host, state)

    # Conditions

    def shape(self, pairs: list[Pair], bytes_per_s: float | None) -> None:
        """Let the directed pairs carry that many bytes per second; None: all they can."""
        with self._changed() as state:
            for pair in pairs:
                state = state.with_rate(pair, bytes_per_s)
            self._apply({source for source, _ in pairs}, state)

    def cut(self, pairs: list[Pair], is_cut: bool = True) -> None:
        """Lose all that the directed pairs carry, without a word; is_cut False mends them."""
        with self._changed() as state:
            cuts = state.cuts | set(pairs) if is_cut else state.cuts - set(pairs)
            self._apply({source for source, _ in pairs}, replace(state, cuts=cuts))

    def slow(self, host: str, cores: float | None) -> None:
        """Give a host that many cores, also fractions of one; None: all of the machine's."""
        with self._changed() as state:
            if cores is not None:
                cpu.quota(cores)
            cpu.limit(self.layout, known(host), cores)
            write_state(self.layout.folder, state.with_cores(host, cores))

    # Use

    def exec(self, host: str, words: list[str], folder: str | None = None) -> list[str]:
        """The command line, for this machine, that runs `words` on the host."""
        first = self._running(host, self.state())
        return Host(host, self.layout).command(first, words, folder or os.getcwd())

    def run(self, host: str, words: list[str], timeout_s: float = 60.0) -> str:
        """What a command on the host prints. Raises TestbedError where it fails."""
        return run(self.exec(host, words), timeout_s)

    def status(self) -> tuple[HostStatus, ...]:
        """Each host. Raises TestbedError where there is no testbed."""
        state = self.state()
        return tuple(
            HostStatus(
                host, self.layout.address(host), state.is_running(host), state.cores.get(host)
            )
            for host in HOSTS
        )

    def state(self) -> State:
        """What is made and set. Raises TestbedError where there is no testbed."""
        require()
        state = read_state(self.layout.folder)
        if state is None:
            raise TestbedError("there is no testbed; `edgesplit testbed up` makes one")
        return state

    # Inside

    @contextlib.contextmanager
    def _changing(self) -> Iterator[State | None]:
        """The state, with nobody else changing it meanwhile."""
        with _locked(self.layout.folder.with_suffix(".lock")):
            yield read_state(self.layout.folder)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[State]:
        require()
        self.state()
        with self._changing() as state:
            if state is None:  # state() has just found it
                raise TestbedError("the testbed was taken down meanwhile; `edgesplit testbed up`")
            yield state

    def _start(self, host: str, state: State) -> State:
        files = Host(host, self.layout)
        files.write_files()
        self.network.plug_in(host)
        first = files.start()
        state = state.with_first(host, first)
        write_state(self.layout.folder, state)
        files.wait_ready(first)
        cpu.limit(self.layout, host, state.cores.get(host))
        self.network.apply(host, state)
        return state

    def _apply(self, hosts: set[str], state: State) -> None:
        write_state(self.layout.folder, state)
        for host in sorted(hosts):
            if state.is_running(host):
                self.network.apply(host, state)

    def _running(self, host: str, state: State) -> Process:
        if not state.is_running(known(host)):
            raise TestbedError(f"host {host} does not run; `edgesplit testbed start {host}`")
        return state.first[host]

    def _refuse_foreign(self) -> None:
        foreign = self.network.foreign()
        if foreign:
            raise TestbedError(
                f"not made by this testbed, but in its way: {', '.join(foreign)}. Remove that, or "
                "give the testbed another --name and --network"
            )

    def _make_key(self) -> None:
        if not self.layout.key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.layout.key)])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        wait_until(
            lambda: _try_lock(path, stack), "another testbed command to finish", _LOCK_TIMEOUT_S
        )
        try:
            yield
        finally:
            path.unlink()


def _try_lock(path: Path, stack: contextlib.ExitStack) -> bool:
    """Take the lock if it is free. A file that its holder has removed meanwhile is no lock."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        file.close()
        return False
    stack.callback(file.close)
    return True
