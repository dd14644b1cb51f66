"""What EdgeSplit needs of this host, as checks: what was found, whether it does, how to mend it.

A check may fail in any way a broken installation can; nothing heavy is imported before it is asked.
"""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgesplit.cli.installation import packages, runtime_here, torch_here
from edgesplit.cluster.ray.own_folder import LONGEST_PARENT
from edgesplit.deploy.host_checks import Finding
from edgesplit.deploy.node_env import NodeEnv, read_node_env
from edgesplit.deploy.ports import GCS_PORT
from edgesplit.errors import ClusterError, ConfigError
from edgesplit.node.runtime.table import RUNTIMES

if TYPE_CHECKING:
    from edgesplit.deploy.host_checks import HeadFacts

PYTHONS = ((3, 11), (3, 14))  # from, below
NEEDED_MEMORY_BYTES = 4 << 30  # caller and four processes of about 0.4 GB, VGG-16's weights in each
NEEDED_SHM_BYTES = 2 << 30  # the embedded cluster's object store
NEEDED_DISK_BYTES = 1 << 30
HEAD_TIMEOUT_S = 30.0
HEAD_REMEDY = (
    "on the head, `ray up cluster.yaml` or `systemctl start edgesplit-node`; open the pinned ports "
    "between the hosts; all hosts need the head's token (/etc/edgesplit/token)"
)

INSTALL = (
    "run `pip install 'edgesplit[full]'` (or `make`) in this .venv again; on a host without torch "
    "`pip install 'edgesplit[device]'`"
)


@dataclass(frozen=True)
class Check:
    """One thing looked at. remedy: what to do where it is not ok.

    is_needed: without it nothing runs; else it only costs speed.
    """

    name: str
    is_ok: bool
    found: str
    remedy: str
    is_needed: bool = True

    @property
    def mark(self) -> str:
        """ok, missing or advice."""
        if self.is_ok:
            return "ok"
        return "missing" if self.is_needed else "advice"

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "mark": self.mark}


def examine(is_deep: bool = False) -> Iterator[Check]:
    """Every check, one by one. is_deep: also start a local Ray, which takes some seconds."""
    yield _check(
        "Python", _python, "install Python 3.11, 3.12 or 3.13 and make a new .venv with it"
    )
    yield _check("packages", packages, INSTALL)
    yield _check(
        "torch",
        torch_here,
        "install versions of one release, such as `pip install 'torch>=2.13,<2.14' "
        "'torchvision>=0.28,<0.29'`; a host without torch needs `pip install 'edgesplit[device]'`",
    )
    for name, one in RUNTIMES.items():
        if one.brings:
            yield _check(f"runtime {name}", partial(runtime_here, name), one.brings, False)
    yield _check("free memory", _memory, "close other programs, or use a smaller model", False)
    yield _check(
        "shared memory",
        _shared_memory,
        "`mount -o remount,size=4G /dev/shm` as root, or `docker run --shm-size=4g`; until then "
        "Ray keeps its objects in the temporary folder, which is slower",
        False,
    )
    yield _check("cores", _cores, "two or more let tiers compute while the caller prepares", False)
    yield _check(
        "temporary folder",
        _temp_folder,
        f"point TMPDIR to a writable folder with 1 GB free and a path of at most "
        f"{LONGEST_PARENT} bytes, such as /tmp",
    )
    yield from _running_rays()
    yield _check("loopback sockets", _loopback, "bring the loopback up: `ip link set lo up`")
    yield _check("power file", _power_file, "install edgesplit again: its power.toml is damaged")
    yield from _meters()
    if is_deep:
        yield _check(
            "Ray",
            _ray,
            "see the reason; often a firewall on 127.0.0.1, a full disk, or RAY_ADDRESS naming a "
            "cluster that is gone (`unset RAY_ADDRESS`)",
        )
    yield from _host()


def _running_rays() -> Iterator[Check]:
    from edgesplit.deploy.host_checks import running_looks

    for look in running_looks():
        yield _check(look.name, look.find, look.remedy, look.is_needed)


def _host() -> Iterator[Check]:
    """Whether this host can be the node that its node file says; nothing where it has none."""
    from edgesplit.deploy.host_checks import HeadFacts, head_looks, host_looks

    try:
        env = read_node_env()
    except ConfigError as error:
        yield Check("node file", False, str(error), "`edgesplit node init --force` writes it anew")
        return
    if env is None:
        return
    for look in host_looks(env):
        yield _check(look.name, look.find, look.remedy, look.is_needed)
    yield _check("tier's joules", lambda: _joules(env.tier), "see its meters above", False)
    answers: list[HeadFacts] = []
    yield _check("head", lambda: _head(env, answers), HEAD_REMEDY)
    for look in (look for head in answers for look in head_looks(head)):
        yield _check(look.name, look.find, look.remedy, look.is_needed)


def _check(name: str, look: Callable[[], Finding], remedy: str, is_needed: bool = True) -> Check:
    try:
        is_ok, found = look()
    except Exception as error:  # whatever a broken installation raises is the finding
        is_ok, found = False, " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return Check(name, is_ok, found, remedy, is_needed)


def _python() -> Finding:
    is_ok = PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]
    return is_ok, f"{sys.version.split()[0]} at {sys.executable}"


def _memory() -> Finding:
    import psutil

    free = int(psutil.virtual_memory().available)
    return free >= NEEDED_MEMORY_BYTES, f"{_gb(free)}, VGG-16 needs {_gb(NEEDED_MEMORY_BYTES)}"


def _shared_memory() -> Finding:
    free = shutil.disk_usage("/dev/shm").free
    return (
        free >= NEEDED_SHM_BYTES,
        f"/dev/shm has {_gb(free)} free, {_gb(NEEDED_SHM_BYTES)} needed",
    )


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    return count >= 2, f"{count}"


def _temp_folder() -> Finding:
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    n_bytes = len(os.fsencode(folder))
    is_ok = n_bytes <= LONGEST_PARENT and free >= NEEDED_DISK_BYTES
    return is_ok, f"{folder} is writable, its path {n_bytes} bytes long, {_gb(free)} free"


def _loopback() -> Finding:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2], timeout=2.0).close()
    return True, "127.0.0.1 answers"


def _power_file() -> Finding:
    from edgesplit.config import Config

    powers = Config().power()
    watts = ", ".join(f"{tier} {power.compute_w:g} W" for tier, power in powers.items())
    provenance = next(iter(powers.values())).provenance
    return True, f"watts where nothing is measured, from {provenance}, computing: {watts}"


def _meters() -> Iterator[Check]:
    """Every meter that works or could be made to; what is not there at all in one line."""
    from edgesplit.node.meter.choose import discover

    found, told = discover(), {""}
    for one in found:
        if one.sensor is not None:
            info = one.sensor.info
            yield Check(f"meter {one.id}", True, f"{info.scope}, {info.kind}", "")
        elif one.fix not in told:
            told.add(one.fix)
            yield Check(f"meter {one.id}", False, one.reason, one.fix, is_needed=False)
    if not any(one.sensor for one in found):
        names = ", ".join(one.id for one in found)
        yield Check("meters", True, f"none of {names} here; energy is modelled", "")


def _joules(tier: str) -> Finding:
    """Which meter the tier of this host would use by itself, and with which watts it plans."""
    from edgesplit.config import Config
    from edgesplit.node.meter.choose import open_meter
    from edgesplit.node.meter.name import AUTO

    meter = open_meter(AUTO, Config(tiers=(tier,)).power()[tier])
    metering, power = meter.metering, meter.power
    meter.close()
    is_well = not any(flag.startswith("not calibrated") for flag in metering.flags)
    return is_well, f"{metering.text}; planned with {power.compute_w:g} W ({power.provenance})"


def _head(env: NodeEnv, answers: list["HeadFacts"]) -> Finding:
    """Whether the head answers; puts what it says into `answers`."""
    from edgesplit.cluster.ray.head_probe import head_facts

    address = f"{env.head_ip}:{GCS_PORT}"
    try:
        answers.append(head_facts(address, HEAD_TIMEOUT_S, env.token_file))
    except (ClusterError, ConfigError) as error:
        return False, str(error)
    return True, f"answers at {address} and accepts the token"


def _ray() -> Finding:
    from edgesplit.cluster.ray.join import connect, disconnect
    from edgesplit.config import TIERS

    placement = connect(None, TIERS)
    disconnect(placement)
    kind = "a local cluster started and stopped" if placement.is_embedded else "joined the cluster"
    return True, f"{kind} at {placement.connection.address}"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.1f} GB"
