"""Requests of several sessions that wait for the same layers share a run where that gains."""

from contextlib import contextmanager

import pytest
import torch
from faults import until
from inside_node import has_taken
from test_many_sessions import Shared, X, begun
from tiers import Additions

from edgesplit.core.batch_times import BatchTimes
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.transport import wire
from edgesplit.node.transport.security import new_credentials

GAINS = BatchTimes(((1, 0.010), (2, 0.011), (4, 0.012), (8, 0.014)))


class Source(Additions):
    """Layer k adds k, for several at once as well. runs: how many were in each, in order."""

    def __init__(self, times=GAINS, breaks=False):
        super().__init__()
        self.runs, self.times, self._breaks = [], times, breaks
        self.why = ""

    def batch(self, start, stop, runtime="torch"):
        return None if self.times is None else SeveralAtOnce(self, start, stop)

    def why_alone(self, start, stop, runtime="torch"):
        return self.why

    def segment(self, start, stop, runtime="torch"):
        run = super().segment(start, stop, runtime)

        def noted(values):
            self.runs.append((start, stop, 1))
            return run(values)

        return noted

    def at_once(self, start, stop, payloads):
        self.runs.append((start, stop, len(payloads)))
        if self._breaks:
            raise RuntimeUnavailableError("not together")
        return [[value + sum(range(start, stop)) for value in values] for values in payloads]


class SeveralAtOnce:
    def __init__(self, source, start, stop):
        self.times, self.most = source.times, source.times.most
        self._at_once = lambda payloads: source.at_once(start, stop, payloads)

    def __call__(self, payloads):
        return self._at_once(payloads)


@contextmanager
def sharing(source, **own):
    """Sessions ann and ben with one workload; own: another one's, by session."""
    made = Shared({name: (new_credentials(name), 1.0) for name in ("ann", "ben", "held")})
    made.asked = []
    for name in ("ann", "ben"):
        worker = made.servers[name].worker
        worker.programs["p"] = worker.joint_sources["p"] = own.get(name, source)
        worker.measure_joint = made.asked.append
    try:
        yield made
    finally:
        made.close()


@contextmanager
def waiting(running, **counts):
    """So many requests of each wait while another session computes; then all are answered."""
    running.goes_on.clear()
    with begun(running, "held"):
        names = list(counts)
        with running.asking(names[0], counts[names[0]]) as first:
            answers = {names[0]: first}
            if len(names) > 1:
                with running.asking(names[1], counts[names[1]]) as second:
                    answers[names[1]] = second
                    until(lambda: running.host.compute.n_waiting == sum(counts.values()))
                    yield answers
                    running.goes_on.set()
            else:
                until(lambda: running.host.compute.n_waiting == sum(counts.values()))
                yield answers
                running.goes_on.set()


def all_right(answers):
    return all(
        torch.equal(answer.values[0], X + 6) for one in answers.values() for answer in one.values()
    )


def test_what_waits_of_two_sessions_is_one_run():
    source = Source()
    with sharing(source) as running, waiting(running, ann=3, ben=2) as answers:
        pass
    assert all_right(answers)
    assert source.runs == [(0, 4, 5)]


def test_each_has_its_share_of_the_run_and_waited_for_the_rest():
    with sharing(Source()) as running, waiting(running, ann=2, ben=2) as answers:
        pass
    timings = [answer.timings[0] for one in answers.values() for answer in one.values()]
    assert len({timing.compute_s for timing in timings}) == 1
    for timing in timings:
        assert timing.queue_s >= 3 * timing.compute_s
        assert timing.own_s >= timing.queue_s + timing.compute_s
        # 10 W for its part of the run, and for its own waiting nothing.
        assert timing.energy_j == pytest.approx(9.0 * timing.compute_s, rel=0.5)


def test_other_programs_ranges_and_emulations_are_runs_of_their_own():
    source, other = Source(), Source()
    with sharing(source, ben=other) as running, waiting(running, ann=2, ben=2) as answers:
        pass
    assert all_right(answers)
    assert (source.runs, other.runs) == ([(0, 4, 2)], [(0, 4, 2)])
    source = Source()
    with sharing(source) as running:
        running.servers["ben"].worker.emulation = running.servers["ben"].worker.emulation.__class__(
            slowdown=1.001
        )
        with waiting(running, ann=2, ben=2) as answers:
            pass
    assert all_right(answers)
    assert source.runs == [(0, 4, 2), (0, 4, 2)]


def test_where_nobody_knows_whether_it_gains_that_is_found_out_and_they_run_alone():
    source = Source(times=None)
    with sharing(source) as running, waiting(running, ann=2) as answers:
        pass
    assert all_right(answers)
    assert source.runs == [(0, 4, 1)] * 2
    assert [key.range for key in running.asked] == [(0, 4, "torch")]
    source.why = "it does not gain"
    with sharing(source) as running, waiting(running, ann=2) as answers:
        pass
    assert running.asked == []


def test_where_it_does_not_gain_each_runs_alone():
    source = Source(times=BatchTimes(((1, 0.010), (2, 0.021))))
    with sharing(source) as running, waiting(running, ann=3) as answers:
        pass
    assert all_right(answers)
    assert source.runs == [(0, 4, 1)] * 3


def test_what_cannot_run_together_runs_one_by_one():
    source = Source(breaks=True)
    with sharing(source) as running, waiting(running, ann=3, ben=1) as answers:
        pass
    assert all_right(answers)
    assert source.runs == [(0, 4, 4), *[(0, 4, 1)] * 4]


def test_one_joins_at_a_later_layer():
    source = Source()
    with sharing(source) as running:
        running.goes_on.clear()
        with begun(running, "held"), running.clients["ben"].channel() as channel:
            with running.asking("ann", 1) as answers:
                until(lambda: running.host.compute.n_waiting == 1)
                request, buffers = running.request("late")
                late = wire.Hop("end", running.address, 2, 4)
                channel.send(
                    wire.Request(
                        id="late",
                        program="p",
                        route=[late],
                        at=0,
                        timeout_s=10.0,
                        values=request.values,
                    ),
                    buffers,
                )
                until(lambda: running.host.compute.n_waiting == 2)
                has_taken(running.servers["ann"], 0.020)
                running.goes_on.set()
            assert torch.equal(channel.receive("late", 10.0).values[0], X + 5)
    assert torch.equal(answers["ann-0"].values[0], X + 6)
    assert source.runs == [(0, 2, 1), (2, 4, 2)]


def test_one_that_is_cancelled_is_in_no_run():
    source = Source()
    with sharing(source) as running:
        running.goes_on.clear()
        with begun(running, "held"), running.clients["ben"].channel() as channel:
            channel.send(*running.request("gone"))
            until(lambda: running.host.compute.n_waiting == 1)
            with running.asking("ann", 2) as answers:
                until(lambda: running.host.compute.n_waiting == 3)
                channel.cancel("gone")
                until(lambda: running.servers["ben"].n_jobs == 0)
                running.goes_on.set()
    assert all(torch.equal(answer.values[0], X + 6) for answer in answers.values())
    assert source.runs == [(0, 4, 2)]
