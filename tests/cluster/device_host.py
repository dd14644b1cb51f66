"""A host without torch, on this machine: a virtual environment of its own, and a Ray node of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgesplit.deploy.node_env import RAY_SETTINGS

STOP_WAIT = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
ROOT = Path(__file__).parents[2]
SOURCES = ("edgesplit", "setup.py", "setup.cfg", "README.md", "LICENSE")
# What would lead out of a virtual environment, or into another cluster.
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
INSTALL_TIMEOUT_S = 240
STORE_BYTES = 100 << 20


def own_environment():
    """This process's environment without what belongs to another installation or cluster."""
    return {
        k: v for k, v in os.environ.items() if k not in NOT_INHERITED and not k.startswith("RAY_")
    }


@dataclass(frozen=True)
class Venv:
    """A virtual environment."""

    folder: Path

    def program(self, name):
        """The path of one of its programs."""
        return str(self.folder / "bin" / name)

    def run(self, *words, timeout_s=120, **environment):
        """One of its programs, run to its end outside of the repository."""
        return subprocess.run(
            [self.program(words[0]), *words[1:]],
            cwd=self.folder,
            env={**own_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def make_device_venv(folder):
    """A new one with a copy of this project and its extra `device`, from the package index."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=60)
    venv = Venv(folder / "venv")
    install = ("pip", "install", "--quiet", "--no-compile", f"{source}[device]")
    done = venv.run(*install, timeout_s=INSTALL_TIMEOUT_S)
    assert done.returncode == 0, done.stdout
    return venv


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def ray_node(ray, tier, *options, **settings):
    """`ray start --block` of that `ray` program, as a node of a tier, while the block lasts.

    Nothing that it started is left afterwards. It asks for no token unless settings, which are
    environment variables, say so; without a word on it, Ray does where the home has one. It ends
    without waiting for its actors, as a host's node does.
    """
    settings = {
        "RAY_AUTH_MODE": "disabled",
        STOP_WAIT: RAY_SETTINGS[STOP_WAIT],
        **settings,
    }
    process = subprocess.Popen(
        [
            *[ray, "start", "--block", *options, f"--labels=tier={tier}", "--num-cpus=1"],
            *["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"],
            *["--disable-usage-stats", "--include-log-monitor=false"],
        ],
        env=own_environment() | {k: v for k, v in settings.items() if v is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        said = []
        try:
            if not any("Ray runtime started" in line for line in map(_kept(said), process.stdout)):
                raise AssertionError(f"ray start ended early: {''.join(said)}")
            yield
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            _, left = psutil.wait_procs(started, timeout=30)
            for one in left:
                one.kill()
            assert not left, f"left over: {left}"


def _kept(lines):
    def keep(line):
        lines.append(line)
        return line

    return keep
