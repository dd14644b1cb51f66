"""Ray's head dies: the program joins the next one. It stays away: the program goes on.

Ray's own nodes give up some seconds after the head; the program must not.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from edgesplit.deploy.node_env import RAY_SETTINGS

GIVE_UP = "RAY_gcs_rpc_server_reconnect_timeout_s"
SCRIPT = Path(__file__).parents[1] / "without_head.py"


def test_requests_go_on_without_the_head_and_its_successor_is_joined():
    said = _said_by()
    assert "back after " in said, said[-3000:]
    assert "by ['caller'," in said, said[-3000:]
    assert "asked in vain: " in said, said[-3000:]
    assert said.splitlines()[-1] == "closed", said[-3000:]


def test_an_embedded_cluster_that_lost_its_head_is_replaced():
    said = _said_by("embedded")
    assert "right " in said, said[-3000:]
    assert said.splitlines()[-1] == "closed, left []", said[-3000:]


def _said_by(*words):
    """All that the program says, which has to end well."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        nodes = {**RAY_SETTINGS, "RAY_AUTH_MODE": "disabled", GIVE_UP: "5"}
        paths = {
            "RAY_TMPDIR": folder,
            "TMPDIR": folder,
            "PYTHONPATH": f"{SCRIPT.parent}:{Path.cwd()}",
        }
        program = subprocess.Popen(
            [sys.executable, str(SCRIPT), *words],
            env={**os.environ, **nodes, **paths},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            said, _ = program.communicate(timeout=400)
        finally:
            for pid in _of_folder(folder):
                os.kill(pid, signal.SIGKILL)
    assert program.returncode == 0, said[-3000:]
    return said


def _of_folder(folder):
    """Processes of the cluster that was left behind, which Ray starts in sessions of their own."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        texts = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
        if process.pid != os.getpid() and any(folder in text for text in texts):
            found.append(process.pid)
    return found
