"""Ray's head dies and stays away: the program goes on, also when Ray's nodes have given up."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("without_head.py")


def test_requests_go_on_without_the_head():
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        env = {**os.environ, "RAY_TMPDIR": folder, "PYTHONPATH": f"{SCRIPT.parent}:{Path.cwd()}"}
        program = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            said, _ = program.communicate(timeout=200)
        finally:
            for pid in _of_folder(folder):
                os.kill(pid, signal.SIGKILL)
    assert "right " in said, said[-3000:]
    assert said.splitlines()[-1] == "closed", said[-3000:]
    assert program.returncode == 0


def _of_folder(folder):
    """Processes of the cluster that was left behind, which Ray starts in sessions of their own."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        texts = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
        if process.pid != os.getpid() and any(folder in text for text in texts):
            found.append(process.pid)
    return found
