"""experiments.shared.processes: jobs in several processes, none of which outlives the first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from experiments.shared.processes import spread_over

_PROGRAM = """
import time
from experiments.shared.processes import spread_over

if __name__ == "__main__":
    with spread_over(2) as each:
        list(each(print, [("one",), ("two",)]))
        print("ready", flush=True)
        time.sleep(600)
"""


def test_results_come_in_the_order_of_the_jobs():
    for workers in (1, 2):
        with spread_over(workers) as each:
            assert list(each(divmod, [(7, 2), (9, 4), (5, 5)])) == [(3, 1), (2, 1), (1, 0)]
            assert list(each(divmod, [])) == []


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as program:
        while "ready" not in program.stdout.readline():
            assert program.poll() is None
        workers = psutil.Process(program.pid).children(recursive=True)
        assert len(workers) >= 2
        program.send_signal(signal.SIGKILL)
        program.wait(30)
        _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
