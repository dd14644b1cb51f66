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
from edgesplit.testbed.layout import HostSpec, Layout, Pair
from edgesplit.testbed.network import Network
from edgesplit.testbed.state import Process, State, read_state, write_state
from edgesplit.testbed.system import forbidden, require, run, wait_until

_LOCK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class HostStatus:
    """role: the tier that it plays. cores: CPU quota, None where there is none."""

    host: str
    role: str
    address: str
    is_running: bool
    cores: float | None


class Testbed:
    """Hosts on this machine. Every method may be called at any time, by any process.

    layout: of the testbed to be made; of one that is there already its name counts.
    """

    __test__ = False  # pytest would collect it by its name

    def __init__(self, layout: Layout | None = None) -> None:
        self._given = layout or Layout()

    @property
    def layout(self) -> Layout:
        """Of the testbed as it is there; of the one to be made where there is none."""
        state = self._read()
        return self._given if state is None else state.layout

    # Life

    def up(self, hosts: tuple[HostSpec, ...] | None = None) -> None:
        """Make what is missing; hosts that run are left alone.

        hosts: of a testbed that is not there yet; None: those of the layout. Raises TestbedError,
        also where the testbed is there with others.
        """
        require()
        reason = forbidden()
        if reason is not None:
            raise TestbedError(reason)
        with self._changing() as state:
            state = self._to_make(state, hosts)
            layout = state.layout
            layout.folder.mkdir(mode=0o700, exist_ok=True)
            write_state(state)
            mounts.make(layout.folder.parent)
            _make_key(layout)
            cpu.make(layout)
            Network(layout).make()
            for host in layout.names:
                if not state.is_running(host):
                    state = _start(host, state)

    def down(self) -> None:
        """Remove everything that was made, also after a crash. Nothing where there is nothing."""
        require()
        with self._changing() as state:
            layout = state.layout if state else self._given
            network = Network(layout)
            for host in layout.names:
                network.pull(host)
            for host, process in (state.first if state else {}).items():
                Host(host, layout).kill(process)
            cpu.kill(layout)  # a host whose start was broken off is known to its group only
            if state is not None:
                network.remove()
                cpu.remove(layout)
            shutil.rmtree(layout.folder, ignore_errors=True)
            mounts.remove(layout.folder.parent)

    def kill(self, host: str) -> None:
        """Take a host away, as a power cut does: its peers hear nothing."""
        with self._changed() as state:
            first, network = _running(host, state), Network(state.layout)
            network.pull(host)
            Host(host, state.layout).kill(first)
            network.unplug(host)
            write_state(state.with_first(host, None))

    def start(self, host: str) -> None:
        """Bring a host back, empty, with its address, shape and quota. Nothing if it runs."""
        with self._changed() as state:
            if not state.is_running(state.layout.known(host)):
                _start(host, state)

    # Conditions

    def shape(self, pairs: list[Pair], bytes_per_s: float | None) -> None:
        """Let the directed pairs carry that many bytes per second; None: all they can."""
        with self._changed() as state:
            for pair in _known(pairs, state):
                state = state.with_rate(pair, bytes_per_s)
            _apply({source for source, _ in pairs}, state)

    def cut(self, pairs: list[Pair], is_cut: bool = True) -> None:
        """Lose all that the directed pairs carry, without a word; is_cut False mends them."""
        with self._changed() as state:
            these = _known(pairs, state)
            cuts = state.cuts | these if is_cut else state.cuts - these
            _apply({source for source, _ in pairs}, replace(state, cuts=cuts))

    def slow(self, host: str, cores: float | None) -> None:
        """Give a host that many cores, also fractions of one; None: all of the machine's."""
        with self._changed() as state:
            if cores is not None:
                cpu.quota(cores)
            cpu.limit(state.layout, state.layout.known(host), cores)
            write_state(state.with_cores(host, cores))

    # Use

    def exec(self, host: str, words: list[str], folder: str | None = None) -> list[str]:
        """The command line, for this machine, that runs `words` on the host."""
        state = self.state()
        first = _running(host, state)
        return Host(host, state.layout).command(first, words, folder or os.getcwd())

    def run(self, host: str, words: list[str], timeout_s: float = 60.0) -> str:
        """What a command on the host prints. Raises TestbedError where it fails."""
        return run(self.exec(host, words), timeout_s)

    def status(self) -> tuple[HostStatus, ...]:
        """Each host. Raises TestbedError where there is no testbed."""
        state = self.state()
        return tuple(
            HostStatus(
                host.name,
                host.role,
                state.layout.address(host.name),
                state.is_running(host.name),
                state.cores.get(host.name),
            )
            for host in state.layout.hosts
        )

    def state(self) -> State:
        """What is made and set. Raises TestbedError where there is no testbed."""
        require()
        state = self._read()
        if state is None:
            raise TestbedError("there is no testbed; `edgesplit testbed up` makes one")
        return state

    # Inside

    @contextlib.contextmanager
    def _changing(self) -> Iterator[State | None]:
        """The state, with nobody else changing it meanwhile."""
        with _locked(self._given.folder.with_suffix(".lock")):
            yield self._read()

    @contextlib.contextmanager
    def _changed(self) -> Iterator[State]:
        require()
        self.state()
        with self._changing() as state:
            if state is None:  # state() has just found it
                raise TestbedError("the testbed was taken down meanwhile; `edgesplit testbed up`")
            yield state

    def _read(self) -> State | None:
        """The state. Raises TestbedError where a network was named that is not its own."""
        state = read_state(self._given)
        named = self._given.network
        if state is not None and named not in (Layout.network, state.layout.network):
            raise TestbedError(
                f"testbed {state.layout.name} is there with network {state.layout.network}, given "
                f"{named}: leave --network out, or give another testbed another --name"
            )
        return state

    def _to_make(self, state: State | None, hosts: tuple[HostSpec, ...] | None) -> State:
        """The state to begin from. Raises TestbedError where something is in the way."""
        if state is None:
            layout = self._given if hosts is None else replace(self._given, hosts=hosts)
            _refuse_foreign(layout)
            return State(layout)
        if hosts is not None and set(hosts) != set(state.layout.hosts):
            raise TestbedError(
                f"the testbed is there with the hosts {_told(state.layout.hosts)}, given "
                f"{_told(hosts)}; `edgesplit testbed down` makes room for others"
            )
        return state


def _start(host: str, state: State) -> State:
    files, network = Host(host, state.layout), Network(state.layout)
    files.write_files()
    network.plug_in(host)
    first = files.start()
    state = state.with_first(host, first)
    write_state(state)
    files.wait_ready(first)
    cpu.limit(state.layout, host, state.cores.get(host))
    network.apply(host, state)
    return state


def _apply(hosts: set[str], state: State) -> None:
    write_state(state)
    for host in sorted(hosts):
        if state.is_running(host):
            Network(state.layout).apply(host, state)


def _running(host: str, state: State) -> Process:
    if not state.is_running(state.layout.known(host)):
        raise TestbedError(f"host {host} does not run; `edgesplit testbed start {host}`")
    return state.first[host]


def _known(pairs: list[Pair], state: State) -> set[Pair]:
    return {state.layout.pair("-".join(pair)) for pair in pairs}


def _refuse_foreign(layout: Layout) -> None:
    foreign = Network(layout).foreign()
    if foreign:
        raise TestbedError(
            f"not made by this testbed, but in its way: {', '.join(foreign)}. Remove that, or "
            "give the testbed another --name and --network"
        )


def _make_key(layout: Layout) -> None:
    if not layout.key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(layout.key)])


def _told(hosts: tuple[HostSpec, ...]) -> str:
    return ", ".join(f"{host.name} ({host.role})" for host in hosts)


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
