"""Whatever ends an EdgeSplit, also while it opens, leaves nothing: Ctrl-C, forks, signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from opening import STAGES

PROGRAM = Path(__file__).parents[1] / "opening.py"
NOTHING = {"processes": [], "folders": [], "threads": [], "listening": [], "variables": []}
LIMIT_S = 240.0
MARK = "EDGESPLIT_TEST_MARK"

pytestmark = pytest.mark.timeout(900)


@contextlib.contextmanager
def short_folder():
    """A temp folder whose path leaves room for the Unix sockets below it."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def folder():
    with short_folder() as made:
        yield made


def command(*words):
    return [sys.executable, "-W", "ignore", str(PROGRAM), *words]


def environment(folder):
    return {**os.environ, "TMPDIR": str(folder), MARK: str(folder)}


def outcome(folder, *words):
    """What the program has printed at its end."""
    options = {"capture_output": True, "text": True, "timeout": 3 * LIMIT_S}
    done = subprocess.run(command(*words), env=environment(folder), **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def folders(folder):
    return [path.name for path in folder.glob("es-*")]


@pytest.fixture(scope="module")
def tried():
    """What became of one EdgeSplit that failed, was interrupted at every stage, and succeeded."""
    with short_folder() as folder:
        yield outcome(folder, "try again")


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_any_stage_of_opening_leaves_nothing(tried, stage):
    assert tried[stage] == NOTHING


def test_a_failed_start_leaves_nothing_and_says_how_long_it_tried(tried):
    assert (
        "cannot start a local Ray, tried for 0 s: no such luck. The machine's load is"
        in (tried["said"])
    )
    assert "start_timeout_s" in tried["said"]
    assert tried["failed"] == NOTHING


def test_after_failures_and_interruptions_it_opens_and_leaves_nothing(tried):
    assert tried["then"][0] == [1, 2]
    assert tried["then"][1] in ("end", "edge", "cloud")
    assert tried["closed"] == NOTHING


def test_a_forked_child_ends_and_harms_nothing(folder):
    found = outcome(folder, "fork")
    struck = -signal.SIGTERM
    expected = {"0": 3, "1": 4, "2": 0, "struck at its beginning": struck, "pool": [1, 2]}
    assert found["codes"] == expected
    assert found["right"]
    assert found["by"] in ("end", "edge", "cloud")
    assert found["closed"] == NOTHING


def test_sigterm_ends_the_program_as_exit_does(folder):
    with started(folder, "ready") as program:
        program.terminate()
        assert program.wait(LIMIT_S) == 128 + 15
    assert folders(folder) == []
    assert_all_end(folder)


@pytest.mark.parametrize("when", ["starting", "ready"])
def test_a_killed_program_leaves_no_process_and_no_folder(folder, when):
    with started(folder, when) as program:
        program.kill()
        program.wait(LIMIT_S)
    assert_all_end(folder)
    until_s = time.monotonic() + LIMIT_S
    while folders(folder):
        assert time.monotonic() < until_s, folders(folder)
        time.sleep(0.05)


def started(folder, when):
    """The program, when it has come so far."""
    program = subprocess.Popen(
        command("be ended"),
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for line in program.stdout:
        if line == f"{when}\n":
            return program
    raise AssertionError(f"it ended before it was {when}")


def assert_all_end(folder):
    """Every process that has inherited the mark."""
    until_s = time.monotonic() + LIMIT_S
    while left := list(marked(folder)):
        assert time.monotonic() < until_s, left
        time.sleep(0.1)


def marked(folder):
    for process in psutil.process_iter(["environ", "name"]):
        if (process.info["environ"] or {}).get(MARK) == str(folder):
            yield process.info["name"]
