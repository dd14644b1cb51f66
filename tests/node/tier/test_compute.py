"""The one thread of a host that computes: whatever a session does, the next one's turn comes."""

import collections
import threading
import weakref

import pytest
from faults import until

from edgesplit.core.power import Power
from edgesplit.errors import ClosedError
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.compute import NO_SETTLING, ComputeThread
from edgesplit.node.tier.worker import Worker


class Owner:
    """Runs tasks, which are functions."""

    def do(self, task):
        task()
        return ()


class EmptiedMeanwhile(collections.deque):
    """As another thread leaves it between two looks: something waits, then nothing does."""

    def __bool__(self):
        return True


@pytest.fixture
def compute():
    made = ComputeThread()
    yield made
    made.stop(5.0)


def worker_on(compute):
    meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
    return Worker(compute, NO_SETTLING, 8, meter, lambda done: None)


def fail():
    raise ZeroDivisionError("of a session")


def test_a_task_that_fails_ends_no_other_sessions_turns(compute, caplog):
    ann, ben = compute.lane(Owner()), compute.lane(Owner())
    was_done = threading.Event()
    ann.put(fail)
    ben.put(was_done.set)
    compute.start()
    assert was_done.wait(5.0)
    assert "a task was lost" in caplog.text


def test_a_lane_that_is_emptied_while_turns_are_given_is_passed_over(compute):
    ann, ben, cai = (compute.lane(Owner()) for _ in range(3))
    ann.waiting = EmptiedMeanwhile()
    was_done = [threading.Event() for _ in range(2)]
    ben.put(was_done[0].set)
    cai.put(was_done[1].set)
    compute.start()
    assert all(done.wait(5.0) for done in was_done)


def test_nothing_of_the_last_task_is_held_while_none_waits(compute):
    """It may be all that still holds a program that was given up."""

    class Task:
        def __call__(self):
            was_done.set()

    lane, task, was_done = compute.lane(Owner()), Task(), threading.Event()
    held = weakref.ref(task)
    lane.put(task)
    compute.start()
    assert was_done.wait(5.0)
    del task
    until(lambda: held() is None)


def test_whoever_waits_for_a_call_of_a_session_that_ends_is_told(compute):
    worker = worker_on(compute)
    waiting = worker.call(lambda: 1)
    worker.close()
    for call in (waiting, worker.call(lambda: 2)):
        with pytest.raises(ClosedError, match="the session has ended on this tier"):
            call.result(5.0)
    other = worker_on(compute).call(lambda: 3)
    compute.start()
    assert other.result(5.0) == 3
