"""The shipped cluster.yaml on a testbed: `ray up` and `ray down` as a user calls them.

Ray's commands keep notes in their temporary folder; here that is the testbed's own, so that a
cluster of the same name elsewhere is not confused with this one.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from edgesplit.deploy.node_env import NodeEnv
from edgesplit.deploy.node_files import write_node_files
from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import Layout
from edgesplit.testbed.mounts import ETC, RAY_TEMP
from edgesplit.testbed.system import wait_until
from edgesplit.testbed.testbed import Testbed

END, END_STORE_BYTES, STORE_BYTES = "end", 75 << 20, 1 << 30
_RAY_TIMEOUT_S = 300.0
_JOIN_TIMEOUT_S, _JOIN_TIMEOUT_PER_HOST_S, _END_TIMEOUT_S = 240.0, 60.0, 240.0
_STATUS_TIMEOUT_S = 60.0
_END_LOOK_S = 0.5  # each look starts a process on the host
_BIN = Path(sys.executable).parent


def write_cluster_files(layout: Layout, shipped: Path) -> None:
    """Each host's node files, and `shipped` with the testbed's addresses, user and key.

    Raises TestbedError where `shipped` cannot be read.
    """
    token = None
    for host in layout.names:
        env = NodeEnv(
            tier=layout.role(host),
            name=host,
            node_ip=layout.address(host),
            head_ip=layout.address(layout.head),
            cpus=1,
            object_store_bytes=END_STORE_BYTES if layout.role(host) == END else STORE_BYTES,
            bin_dir=str(_BIN),
            token_file=str(ETC / "token"),
            ray_folder=str(RAY_TEMP),
        )
        folder = layout.host_folder(host)
        write_node_files(env, folder, token)
        token = (folder / "token").read_text().strip()
    layout.cluster_file.write_text(cluster_text(layout, shipped))


def cluster_text(layout: Layout, shipped: Path) -> str:
    """The shipped cluster.yaml; nothing but addresses, user and key replaced."""
    try:
        cluster = yaml.safe_load(shipped.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise TestbedError(
            f"cannot read {shipped} ({error}); name the project's cluster.yaml with --cluster"
        ) from error
    workers = [layout.address(host) for host in layout.names if host != layout.head]
    cluster["provider"] |= {"head_ip": layout.address(layout.head), "worker_ips": workers}
    cluster["auth"] |= {"ssh_user": "root", "ssh_private_key": str(layout.key)}
    return str(yaml.safe_dump(cluster, sort_keys=False))


def ray_up(testbed: Testbed) -> None:
    """`ray up`; returns once all hosts' nodes are there. Raises TestbedError with Ray's words."""
    layout = testbed.layout
    _ray(layout, "up", "--no-config-cache", "--disable-usage-stats")
    limit_s = max(_JOIN_TIMEOUT_S, _JOIN_TIMEOUT_PER_HOST_S * len(layout.hosts))
    end_s = time.monotonic() + limit_s
    while not set(layout.names) <= (found := joined(testbed)):
        if time.monotonic() > end_s:
            raise TestbedError(
                f"only {sorted(found)} of {layout.names} joined within {limit_s:g} s; see "
                f"{RAY_TEMP}/ray/session_latest/logs/monitor.log on the head, {layout.head}"
            )


def ray_down(testbed: Testbed) -> None:
    """`ray down`; returns once every Ray process on every host has ended, after 100 s or so.

    It stops the head only. A node ends 30 s after it has lost the head (see node_env.py), and its
    agents when they have tried for another minute to tell the head so.
    """
    _ray(testbed.layout, "down")
    for host in testbed.layout.names:
        wait_until(
            lambda host=host: not ray_processes(testbed, host),  # type: ignore[misc]
            f"Ray on host {host} to end",
            _END_TIMEOUT_S,
            _END_LOOK_S,
        )


def joined(testbed: Testbed) -> set[str]:
    """The hosts whose nodes are alive, as `edgesplit status` on the head has it."""
    layout = testbed.layout
    words = [str(_BIN / "edgesplit"), "status", "--json"]
    printed = testbed.run(layout.head, words, _STATUS_TIMEOUT_S)
    try:
        found = json.loads(printed[printed.find("{") :])  # Ray may complain before it
    except ValueError:
        raise TestbedError(f"`edgesplit status --json` printed {printed[-500:]!r}") from None
    alive = {node["address"] for node in found["nodes"] if node["is_alive"]}
    return {host for host in layout.names if layout.address(host) in alive}


def ray_processes(testbed: Testbed, host: str) -> list[str]:
    """Command lines of Ray's processes on a host."""
    lines = testbed.run(host, ["ps", "-eo", "args"]).splitlines()
    return [line for line in lines if "/site-packages/ray/" in line or line.startswith("ray::")]


def _ray(layout: Layout, verb: str, *options: str) -> None:
    command = [str(_BIN / "ray"), verb, "--yes", *options, str(layout.cluster_file)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "RAY_TMPDIR": str(layout.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RAY_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"`{' '.join(command)}` took over {_RAY_TIMEOUT_S:g} s") from error
    if done.returncode:
        raise TestbedError(f"`{' '.join(command)}` failed:\n{done.stdout.strip()[-3000:]}")
