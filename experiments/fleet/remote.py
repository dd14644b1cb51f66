"""A device of the fleet seen from the machine: its process on a host, asked in lines of JSON."""

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from edgesplit.errors import TestbedError
from edgesplit.testbed.testbed import Testbed

_END_S = 30.0


class RemoteDevice:
    """The process on `host`, from its start to its end. ask() begins, heard() waits."""

    def __init__(self, bed: Testbed, host: str, model: str, seed: int) -> None:
        self.host, self.model, self.seed = host, model, seed
        self._bed = bed
        self._said: queue.Queue[str] = queue.Queue()
        self._log = bed.layout.folder / f"{host}.log"

    def __enter__(self) -> "RemoteDevice":
        words = ["/usr/bin/env", f"PYTHONPATH={Path.cwd()}", "PYTHONWARNINGS=ignore"]
        words += [sys.executable, "-m", "experiments.fleet.device", self.model, str(self.seed)]
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                self._bed.exec(self.host, words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(_END_S if kind is None else 1.0)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(_END_S)
        self._reader.join(_END_S)
        self._process.stdout.close()

    def ask(self, do: str, **asked: Any) -> None:
        """Have it begin. Raises TestbedError where it is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **asked}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise TestbedError(f"the device on {self.host} has ended: {self._last()}") from error

    def heard(self, limit_s: float) -> dict[str, Any]:
        """Its answer. Raises TestbedError where none comes, or it is a problem."""
        try:
            line = self._said.get(timeout=limit_s)
        except queue.Empty:
            raise TestbedError(
                f"the device on {self.host} said nothing for {limit_s:g} s"
            ) from None
        if not line:
            raise TestbedError(f"the device on {self.host} has ended: {self._last()}")
        found: dict[str, Any] = json.loads(line)
        if "problem" in found:
            raise TestbedError(f"the device on {self.host}: {found['problem']}")
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _last(self) -> str:
        return self._log.read_text(errors="replace").strip()[-1500:]
