"""What so many requests at once take, and whether each gets its own answer: a clock by hand."""

import pytest
import torch

from edgesplit.errors import InexactRuntimeError, RuntimeUnavailableError
from edgesplit.node.program.batch_forms import two_of
from edgesplit.node.runtime.batch_bench import BatchBench, JointTrial
from edgesplit.node.runtime.batched import Joint
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.transport.tensors import forms_of

X = torch.tensor([[1.0, 2.0]])


class Clock:
    """Moves by what a run of so many rows takes; `drift`: later ones are slower, all alike.

    work_s: without what others take of the processor, `others(number of the run)`.
    """

    def __init__(self, each_s, drift=0.0, others=lambda run: 0.0):
        self.work_s, self._others = 0.0, others
        self.now_s, self.runs, self._each_s, self._drift = 0.0, [], each_s, drift

    def __call__(self):
        return self.now_s

    def run(self, values):
        (x,) = values
        rows = len(x)
        self.runs.append(rows)
        taken_s = rows * self._each_s(rows) * (1 + self._drift * len(self.runs))
        self.work_s += taken_s
        self.now_s += taken_s + self._others(len(self.runs))
        return [x * 3]


def bench(clock, run=None, trials=None, wanted=None):
    form = two_of(forms_of([X]))
    run = run or clock.run
    trials = trials or [JointTrial(str(k), [X * k], [X * k * 3]) for k in (1, 2, 3)]
    joint = Joint(run, form, form)
    return BatchBench(
        "layers 0-1",
        clock.run,
        joint,
        trials,
        wanted or Exactness(),
        clock=clock,
        work=lambda: clock.work_s,
    )


def by_size(table):
    """Seconds per row: of the largest size in the table that is not above."""
    return lambda rows: table[max(size for size in table if size <= rows)]


@pytest.mark.parametrize("drift", [0.0, 0.02], ids=["steady", "throttled"])
def test_sizes_as_far_as_they_gain(drift):
    """A host that slows down meanwhile slows single runs as well."""
    clock = Clock(by_size({1: 0.040, 2: 0.030, 4: 0.020, 8: 0.025, 16: 0.026}), drift)
    times = bench(clock).times()
    assert [size for size, _ in times.measured] == [1, 2, 4]
    if not drift:
        assert [seconds for _, seconds in times.measured] == pytest.approx([0.040, 0.060, 0.080])
    assert times.most == 4
    assert times.seconds(4) / times.seconds(1) == pytest.approx(2.0, rel=0.05)


def test_two_sizes_without_gain_are_enough():
    clock = Clock(by_size({1: 0.010, 2: 0.0105, 4: 0.011, 8: 0.001}))
    with pytest.raises(RuntimeUnavailableError, match=r"less than 10% .*1: 10, 2: 10.5, 4: 11\)"):
        bench(clock).times()
    assert max(clock.runs) == 4


def test_one_size_without_gain_is_not_the_end():
    clock = Clock(by_size({1: 0.010, 2: 0.0105, 4: 0.008, 8: 0.0081, 16: 0.0082}))
    assert bench(clock).times().most == 4


def test_two_that_fall_are_not_the_end():
    """A matrix of 16 MB in torch: 1.03 ms, 2 x 3.16, 4 x 1.69 and then less than alone."""
    clock = Clock(by_size({1: 0.00103, 2: 0.00316, 4: 0.00169, 8: 0.0009, 16: 0.0005}))
    times = bench(clock).times()
    assert [times.best(waiting) for waiting in (2, 7, 8, 15, 16)] == [1, 1, 8, 15, 16]


def test_no_run_takes_over_a_second():
    clock = Clock(by_size({1: 0.300, 2: 0.200, 4: 0.180, 8: 0.100}))
    assert bench(clock).times().most == 4
    assert max(clock.runs) == 4  # by what four took, eight would take 1.4 s
    clock = Clock(by_size({1: 0.600}))
    with pytest.raises(RuntimeUnavailableError, match="for two would take over 1 s"):
        bench(clock).times()
    assert max(clock.runs) == 2  # so that requests are compared at all; it is not timed


def test_noise_is_no_gain():
    """Two rounds of five in which a batch seems quick."""
    calls = iter(range(1000))

    def each_s(rows):
        return 0.010 if rows == 1 or next(calls) % 5 > 1 else 0.005

    with pytest.raises(RuntimeUnavailableError, match="less than 10%"):
        bench(Clock(each_s)).times()


def test_what_others_take_of_the_processor_is_no_loss():
    """Every third run waits for 90 ms; the seconds are those of the wall all the same."""
    by_rows = by_size({1: 0.040, 2: 0.030, 4: 0.020, 8: 0.019, 16: 0.018})
    times = bench(Clock(by_rows, others=lambda run: 0.09 * (run % 3 == 0))).times()
    assert times.most == 16
    assert times.seconds(16) / times.seconds(1) == pytest.approx(7.2)
    slow = bench(Clock(by_rows, others=lambda run: 0.09)).times()
    assert slow.seconds(1) == pytest.approx(0.13)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_an_answer_that_is_wrong_at_one_size_only(size):
    clock = Clock(by_size({1: 0.010, 2: 0.008, 4: 0.006, 8: 0.005, 16: 0.004}))

    def run(values):
        (made,) = clock.run(values)
        return [made + 0.001 * (len(made) == size)]

    with pytest.raises(InexactRuntimeError, match=f"for {size} requests at once differs from"):
        bench(clock, run).times()
    assert bench(clock, run, wanted=Exactness(tolerance=1e-2)).times().most == 16


@pytest.mark.parametrize("place", [0, 1])
def test_the_slightest_look_at_a_neighbour(place):
    clock = Clock(by_size({1: 0.010}))

    def run(values):
        (made,) = clock.run(values)
        made = made.clone()
        made[place] += 1e-6 * made[1 - place]
        return [made]

    with pytest.raises(InexactRuntimeError, match="look across the batch"):
        bench(clock, run).require_apart()


def test_two_trials_are_enough_to_see_a_neighbour():
    clock = Clock(by_size({1: 0.010}))
    trials = [JointTrial(str(k), [X * k], [X * k * 3]) for k in (1, 2)]
    bench(clock, trials=trials).require_apart()
    with pytest.raises(InexactRuntimeError, match="look across"):
        bench(clock, lambda values: [values[0] - values[0].mean(0)], trials).require_apart()


def test_trials_that_all_give_the_same_tell_nothing():
    trials = [JointTrial(str(k), [X * k], [X]) for k in (1, 2, 3)]
    with pytest.raises(RuntimeUnavailableError, match="the same answer"):
        bench(Clock(by_size({1: 0.010})), trials=trials).require_apart()
