"""A program that is interrupted while it opens, forked, or ended: run by test_opening.py.

With the word of what is to happen; TMPDIR is a folder of the test's. Prints a line of JSON, or a
word when it has come so far.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import ray
import torch
from torch import nn

import edgesplit
from edgesplit import EdgeSplit
from edgesplit.errors import EdgeSplitError

# Where the interruption comes, in the order of opening: module, object or nothing, function.
STAGES = {
    "before the cluster": ("edgesplit.cluster.session.membership", "", "connect"),
    "while Ray starts": ("ray._private.services", "", "start_raylet"),
    "when Ray has started": ("edgesplit.cluster.ray.join", "", "placement_of"),
    "while actors start": ("edgesplit.cluster.session.membership", "", "scheduler_actor"),
    "while threads start": ("edgesplit.caller.threads", "Threads", "start"),
    "in the export": ("edgesplit.caller.workloads", "", "payload_forms"),
    "while tiers start": ("edgesplit.cluster.session.session", "Session", "ready"),
    "while the model is sent": ("edgesplit.cluster.session.session", "Session", "load"),
    "while layers are timed": ("edgesplit.cluster.session.session", "Session", "profile"),
}
# What runs the tests may run in the background of a shell, where Ctrl-C is ignored by inheritance.
signal.signal(signal.SIGINT, signal.default_int_handler)
OF_TORCH = {"TORCHINDUCTOR_CACHE_DIR"}
X = torch.rand(1, 4)


class Interrupting:
    """Has SIGINT come when a function is called, once."""

    def __init__(self, stage):
        module, owner, self._name = STAGES[stage]
        self._owner = importlib.import_module(module)
        if owner:
            self._owner = getattr(self._owner, owner)
        self._real = getattr(self._owner, self._name)

    def __enter__(self):
        def interrupted(*args, **kwargs):
            setattr(self._owner, self._name, self._real)
            os.kill(os.getpid(), signal.SIGINT)
            return self._real(*args, **kwargs)

        setattr(self._owner, self._name, interrupted)

    def __exit__(self, *exc):
        setattr(self._owner, self._name, self._real)


def state():
    """What an EdgeSplit may leave behind in a process."""
    here = psutil.Process()
    return {
        "processes": [p.name() for p in here.children(recursive=True)],
        "folders": [p.name for p in Path(tempfile.gettempdir()).glob("es-*")],
        "threads": [t.name for t in threading.enumerate() if t.name.startswith("edgesplit")],
        "listening": [c.laddr.port for c in here.net_connections() if c.status == "LISTEN"],
        "variables": [
            name for name in os.environ.keys() - BEFORE - OF_TORCH if not name.startswith("KINETO")
        ],
    }


def settled():
    """The same, once the thread that warms torch up has ended."""
    for thread in threading.enumerate():
        if thread.name == "edgesplit-warm-up":
            thread.join()
    return state()


def try_again():
    """One EdgeSplit whose start fails, is interrupted at every stage, and then succeeds."""
    split = EdgeSplit(nn.Linear(4, 2))
    found = {"said": fail(split), "failed": settled()}
    for stage in STAGES:
        found[stage] = interrupt(split, stage)
        print(stage, file=sys.stderr, flush=True)
    with split:
        found["then"] = [list(split.infer(X).shape), split.last_record.finished_by]
    found["closed"] = settled()
    print(json.dumps(found))


def fail(split):
    """What it says where Ray does not start, for another reason than time."""

    def fails(**settings):
        raise OSError("no such luck")

    real, ray.init = ray.init, fails
    try:
        split.infer(X)
    except EdgeSplitError as error:
        return str(error)
    finally:
        ray.init = real
    return "answered"


def interrupt(split, stage):
    """What is left when Ctrl-C has ended its opening at that stage."""
    try:
        with Interrupting(stage):
            split.infer(X)
    except KeyboardInterrupt:
        return settled()
    return "answered"


def fork():
    strikes = []
    os.register_at_fork(after_in_child=lambda: [strike() for strike in strikes])
    with EdgeSplit(nn.Linear(4, 2)) as split:
        expected = split.infer(X)
        codes = {}
        for way in (lambda: sys.exit(3), lambda: os._exit(4), lambda: use(split)):
            pid = os.fork()
            if pid == 0:
                way()
                sys.exit(5)
            codes[len(codes)] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        strikes.append(lambda: os.kill(os.getpid(), signal.SIGTERM))
        pid = os.fork()
        if pid == 0:
            time.sleep(20)  # as long as a child that has not heard the signal lives
            os._exit(6)
        codes["struck at its beginning"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        strikes.clear()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            codes["pool"] = pool.map(abs, [-1, 2])
        right = torch.equal(split.infer(X), expected)
        by = split.last_record.finished_by
    print(json.dumps({"codes": codes, "right": right, "by": by, "closed": settled()}))


def use(split):
    """In the child: everything is refused in words, and closing harms nothing."""
    for refused in (lambda: split.infer(X), split.explain, EdgeSplit(nn.Linear(4, 2)).open):
        try:
            refused()
            os._exit(10)
        except EdgeSplitError as error:
            if "spawn" not in str(error):
                os._exit(11)
    split.close()
    sys.exit(0)


def be_ended():
    """Says when Ray's node has been started, and when all is there."""
    from ray._private import services

    real = services.start_raylet

    def start_raylet(*args, **kwargs):
        started = real(*args, **kwargs)
        print("starting", flush=True)
        return started

    services.start_raylet = start_raylet
    with EdgeSplit(nn.Linear(4, 2)) as split:
        split.infer(X)
        print("ready", flush=True)
        while True:
            time.sleep(0.1)


BEFORE = set(os.environ)
if __name__ == "__main__":
    assert edgesplit
    {"try again": try_again, "fork": fork, "be ended": be_ended}[sys.argv[1]]()
