"""A program whose cluster loses its head: run by test_head_loss.py in a process of its own.

On labelled nodes twice. They are started again as the systemd unit does it, so the first time they
come back, to a head that has forgotten everything, and the program joins it; the second time they
stay away. With the word `embedded`, once, on an embedded cluster that two sessions share.
"""

import contextlib
import os
import sys
import tempfile
import time

import psutil
import torch
from units import Unit, free_port

from edgesplit import Config, EdgeSplit, Emulation
from edgesplit.cluster.ray.named import reach
from edgesplit.errors import ClusterError
from experiments.shared.small_net import small_net

TIERS = ("end", "cloud")
PLAN = "end:0-3 | cloud:3-8"
LIMIT_S = 150.0
AWAY_S = 4.0  # longer than the nodes wait for the head


class Program:
    """Sends requests along the plan and compares every answer."""

    def __init__(self, split, x):
        self.split, self.x, self.right = split, x, 0
        self.expected = split.infer(x)

    def infer(self):
        """The tiers of the route that the answer came from; () where it was computed here."""
        assert torch.equal(self.split.infer(self.x), self.expected)
        self.right += 1
        return tuple(sample.tier for sample in self.split.last_record.timings)

    def infer_until(self, condition, what):
        until_s = time.monotonic() + LIMIT_S
        while not condition(self.infer()):
            assert time.monotonic() < until_s, what
            time.sleep(0.02)


def wait_for(condition, what):
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s, what
        time.sleep(0.1)


def opened(address):
    """An EdgeSplit on the cluster, once that has all of its nodes."""
    config = Config(tiers=TIERS, threads=1, runtimes=("torch",))
    until_s = time.monotonic() + LIMIT_S
    while True:
        try:
            return EdgeSplit(small_net(), policy=PLAN, address=address, config=config).open()
        except ClusterError:
            assert time.monotonic() < until_s, "the nodes did not come"
            time.sleep(0.2)


def answers(address):
    try:
        reach(address)
    except ClusterError:
        return False
    return True


def say(text):
    print(text, flush=True)


def run(address, head):
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with opened(address) as split:
        program = Program(split, x)
        before = split.addresses
        head.kill()
        began_s = time.monotonic()
        program.infer_until(lambda tiers: tiers != TIERS, "the head's tier is gone")
        program.infer_until(
            lambda tiers: len(split.switches) > 1 and tiers == TIERS, "the planned route again"
        )
        say(f"back after {time.monotonic() - began_s:.1f} s, right {program.right}")
        assert set(split.addresses) == set(before)
        assert split.excluded_tiers == ()
        assert split.profile.names == TIERS  # asked of the scheduler
        assert str(split.plan) == PLAN

        head.stop()
        wait_for(lambda: not answers(address), "the head to be gone")
        program.infer_until(lambda tiers: tiers == (), "both tiers are gone")
        until_s = time.monotonic() + AWAY_S
        program.infer_until(lambda tiers: time.monotonic() > until_s, "never")
        try:
            asked = split.profile
            say(f"asked in vain: {asked}")
        except ClusterError as error:
            say(f"asked in vain: {type(error).__name__}")
        say(f"right {program.right} by {sorted(set(split.records()['finished_by']))}")
        # An error would now end the program, and not wait for the head to be told of it.
        assert sys.excepthook is sys.__excepthook__
    say("closed")


def run_embedded():
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    config = Config(runtimes=("torch",), emulation=Emulation())
    plan = "end:0-2 | edge:2-5 | cloud:5-8"
    with contextlib.ExitStack() as open_ones:
        first, second = (
            Program(open_ones.enter_context(EdgeSplit(small_net(), policy=plan, config=config)), x)
            for _ in range(2)
        )
        (gcs,) = (p for p in psutil.Process().children(recursive=True) if p.name() == "gcs_server")
        gcs.kill()
        for program in (first, second):
            program.infer_until(
                lambda tiers, split=program.split: len(split.switches) > 1 and len(tiers) == 3,
                "the planned route again",
            )
        # The cluster must outlive the session, and so the thread, that has started it.
        first.split.close()
        assert second.split.profile.names == ("end", "edge", "cloud")
        assert len(second.infer()) == 3
        say(f"right {first.right + second.right}")
    say(f"closed, left {[p.name() for p in psutil.Process().children(recursive=True)]}")


def main():
    with tempfile.TemporaryDirectory(prefix="n-", dir=os.environ["RAY_TMPDIR"]) as folder:
        port = free_port()
        head = Unit(folder, port, "cloud", is_head=True).start()
        units = [head]
        try:
            wait_for(lambda: answers(f"127.0.0.1:{port}"), "the head")
            units.append(Unit(folder, port, "end").start())
            run(f"127.0.0.1:{port}", head)
        finally:
            for unit in units:
                unit.stop()


if __name__ == "__main__":
    run_embedded() if sys.argv[1:] == ["embedded"] else main()
