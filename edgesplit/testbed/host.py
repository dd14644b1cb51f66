"""One host: namespaces whose first process is sshd. Killing that process takes the host away."""

import contextlib
import os
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import TestbedError
from edgesplit.testbed import cpu
from edgesplit.testbed.layout import Layout
from edgesplit.testbed.mounts import ETC, RAY_TEMP
from edgesplit.testbed.state import Process
from edgesplit.testbed.system import find, run, started_at, wait_until

HOME = "/run/root"
CACHE = f"{HOME}/.cache"  # where a host keeps programs; a power cut empties it
SHM_BYTES, RAY_TEMP_BYTES, CACHE_BYTES = 3 << 30, 4 << 30, 4 << 30
_START_TIMEOUT_S = 20.0
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TERM", "COLUMNS", "LINES", "NO_COLOR")

# Runs as the first process in the new namespaces. /run is the host's own, and with it root's home,
# where `ray up` leaves files. Everything sshd reads lies under /etc/edgesplit.
_LAUNCHER = """
set -e
mount --bind {folder} {etc}
mount --bind {etc}/hosts /etc/hosts
mount --bind {etc}/passwd /etc/passwd
mount -t tmpfs -o size={shm_bytes},mode=1777 tmpfs /dev/shm
mount -t tmpfs -o size={ray_temp_bytes},mode=0700 tmpfs {ray_temp}
mount -t tmpfs -o size=64m tmpfs /run
mkdir -p /run/sshd /run/lock {cache}
mount -t tmpfs -o size={cache_bytes},mode=0700 tmpfs {cache}
touch {home}/.bashrc
hostname {host}
exec {sshd} -D -e -f {etc}/sshd_config
"""
# Outside: nobody's child, in the host's cgroup, and found by its number.
_OUTER = """
echo $$ > "$0"; echo $$ > "$1"; exec > "$2" 2>&1 < /dev/null; shift 2; exec "$@"
"""
_SSHD_CONFIG = """\
ListenAddress {address}
HostKey {etc}/ssh_host_key
AuthorizedKeysFile {etc}/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 50
"""


@dataclass(frozen=True)
class Host:
    """One host of a testbed; its files lie in the testbed's folder for it."""

    name: str
    layout: Layout

    @property
    def folder(self) -> Path:
        """What the host sees as /etc/edgesplit."""
        return self.layout.host_folder(self.name)

    def write_files(self) -> None:
        """Keys, sshd's configuration, hosts and passwd. Keeps a host key that is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "ssh_host_key"
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(key)])
        (self.folder / "authorized_keys").write_text(
            self.layout.key.with_name("key.pub").read_text()
        )
        (self.folder / "sshd_config").write_text(
            _SSHD_CONFIG.format(address=self.layout.address(self.name), etc=ETC)
        )
        names = [f"{self.layout.address(host)} {host}" for host in self.layout.names]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        (self.folder / "passwd").write_text(_own_home(Path("/etc/passwd").read_text()))

    def start(self) -> Process:
        """Begin its first process; returns it once it is there. Plug the network in before."""
        pid_file, script = self.folder / "outer.pid", self.folder / "launch.sh"
        pid_file.unlink(missing_ok=True)
        script.write_text(self._launcher())
        run(
            [
                "setsid", "--fork", "/bin/sh", "-c", _OUTER, str(pid_file),
                str(cpu.procs_file(self.layout, self.name)), str(self.folder / "sshd.log"),
                find("nsenter"), f"--net=/run/netns/{self.layout.device(self.name)}",
                find("unshare"), "--mount", "--uts", "--ipc", "--pid", "--fork",
                "--mount-proc", "--propagation", "private", "--kill-child",
                "/bin/sh", str(script),
            ]
        )  # fmt: skip
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", self._starting)
        outer = int(pid_file.read_text())
        wait_until(lambda: bool(_children(outer)) or started_at(outer) is None, self._starting)
        children = _children(outer)
        started = started_at(children[0]) if children else None
        if started is None:
            raise TestbedError(f"{self._starting} failed: {self._log()}")
        return Process(children[0], started)

    def wait_ready(self, first: Process) -> None:
        """Return once sshd listens. Raises TestbedError with its log where it does not."""
        try:
            wait_until(
                lambda: self._is_listening(first) or not first.is_alive,
                self._starting,
                _START_TIMEOUT_S,
            )
        except TestbedError as error:
            raise TestbedError(f"{error}: {self._log()}") from error
        if not first.is_alive:
            raise TestbedError(f"{self._starting} failed: {self._log()}")

    def kill(self, first: Process) -> None:
        """End the host's first process, and with it, by the kernel, every other one."""
        if first.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: not first.is_alive, f"host {self.name} to end")

    def command(self, first: Process, words: list[str], folder: str) -> list[str]:
        """The command line that runs `words` on this host, in `folder`.

        Of this process's environment only what concerns a terminal goes along: another machine
        would not have its variables either, such as a token of Ray's.
        """
        kept = [f"{name}={os.environ[name]}" for name in _KEPT_VARIABLES if name in os.environ]
        shell = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', folder, *words]
        inside = ["/usr/bin/env", "-i", f"HOME={HOME}", *kept, *shell]
        group = shlex.quote(str(cpu.procs_file(self.layout, self.name)))
        outside = f'echo $$ > {group}; exec "$@"'
        enter = [find("nsenter"), "-t", str(first.pid), "-m", "-u", "-i", "-n", "-p", *inside]
        return ["/bin/sh", "-c", outside, "sh", *enter]

    @property
    def _starting(self) -> str:
        return f"sshd of host {self.name} to start"

    def _launcher(self) -> str:
        return _LAUNCHER.format(
            folder=shlex.quote(str(self.folder)),
            etc=ETC,
            shm_bytes=SHM_BYTES,
            ray_temp=RAY_TEMP,
            ray_temp_bytes=RAY_TEMP_BYTES,
            home=HOME,
            cache=CACHE,
            cache_bytes=CACHE_BYTES,
            host=self.name,
            sshd=find("sshd"),
        )

    def _is_listening(self, first: Process) -> bool:
        return "Server listening" in self._log() and first.is_alive

    def _log(self) -> str:
        return (self.folder / "sshd.log").read_text().strip()


def _own_home(passwd: str) -> str:
    """The same users; root lives in the host's own /run and has bash, as `ray up` needs."""
    lines = [line for line in passwd.splitlines() if not line.startswith("root:")]
    return "\n".join([f"root:x:0:0:root:{HOME}:/bin/bash", *lines, ""])


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
