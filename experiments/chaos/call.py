"""The calling process on the host `end`, seen from the machine itself: asked in lines of words.

caller is what runs there, and says which words it knows.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesplit.errors import EdgeSplitError
from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.testbed import Testbed

_START_S, _ASK_S, _END_S = 180.0, 60.0, 40.0
_MOMENT_S, _LOOK_S = 20.0, 0.05


class CallerEnded(EdgeSplitError):
    """The calling process is gone, or says nothing any more."""


class Caller:
    """The calling process on the host `end`, from its first answer to its end."""

    def __init__(self, bed: Testbed, policy: str, seed: int, log: Path) -> None:
        words = ["/usr/bin/env", f"PYTHONPATH={Path.cwd()}", "PYTHONWARNINGS=ignore"]
        self._begin(bed.exec(HOSTS[0], [*words, *_command(policy, str(seed))]), log, {})

    @classmethod
    def here(cls, address: str, words: Sequence[str], log: Path) -> "Caller":
        """The same on this machine itself, on the cluster of that address. words: as caller has."""
        made = cls.__new__(cls)
        env = {"PYTHONPATH": str(Path.cwd()), "PYTHONWARNINGS": "ignore", "RAY_ADDRESS": address}
        made._begin(_command(*words), log, env)
        return made

    @property
    def pid(self) -> int:
        """Of the process, where it is not on another host."""
        return self._process.pid

    def _begin(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self._said: queue.Queue[str] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **env},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Caller":
        try:
            self.plan = str(self._heard(_START_S)["plan"])
        except BaseException:
            self._end(0.0)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end(_END_S)

    def ask(self, *words: object) -> dict[str, Any]:
        """The answer. Raises CallerEnded."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CallerEnded(f"the calling process has ended: {error}") from error
        return self._heard(_ASK_S)

    def wait_for(self, key: str, limit_s: float = _MOMENT_S) -> bool:
        """Whether what it says under `key` came true in time."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            if self.ask("look")[key]:
                return True
            time.sleep(_LOOK_S)
        return False

    def _heard(self, limit_s: float) -> dict[str, Any]:
        try:
            line = self._said.get(timeout=limit_s)
        except queue.Empty:
            raise CallerEnded(f"the calling process said nothing for {limit_s:g} s") from None
        if not line:
            raise CallerEnded("the calling process has ended")
        return json.loads(line)  # type: ignore[no-any-return]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _end(self, limit_s: float) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(limit_s)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(_ASK_S)
        self._reader.join(_ASK_S)
        self._process.stdout.close()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "experiments.chaos.caller", *words]
