"""The caller runs the model beside tiers that are late; the first complete answer counts."""

import threading
from contextlib import contextmanager

import pytest
import torch
from caller import Whole, X, calling
from faults import Held, RemoteTier, until
from tiers import tiers

from edgesplit.core.hedge import HedgeBudget, HedgeRule
from edgesplit.errors import RequestError

SOON = HedgeRule(rest_s=0.01, answer_s=0.01, price_s=0.0)
FOR_EVER_S, LONG_S = 10_000.0, 30.0


@pytest.fixture
def held():
    program = Held()
    yield program
    program.go_on.set()


@contextmanager
def asking(caller):
    """A request under way meanwhile; its outcome is the list's one item, at the end."""
    outcomes = []

    def ask():
        outcomes.append(caller.outcome(failover_after_s=FOR_EVER_S, hedge=SOON))

    thread = threading.Thread(target=ask)
    thread.start()
    yield outcomes
    thread.join(LONG_S)
    assert len(outcomes) == 1


class Gated(Whole):
    """The caller's own run waits until a test lets it go on."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def segment(self, start, stop, runtime="torch"):
        run = super().segment(start, stop, runtime)

        def slowly(values):
            self.begun.set()
            assert self.go_on.wait(LONG_S)
            return run(values)

        return slowly


class Broken(Gated):
    """The model's own error."""

    def segment(self, start, stop, runtime="torch"):
        self.begun.set()
        raise ZeroDivisionError("such luck")


def test_a_frozen_tier_is_not_waited_for_until_it_counts_as_lost():
    with RemoteTier("end") as end, calling(end.address) as caller:
        assert caller.infer() == ""
        end.freeze()
        outcome = caller.outcome(failover_after_s=FOR_EVER_S, hedge=SOON)
        assert (outcome.why, outcome.hedged, outcome.timings) == ("end late", "won", ())
        end.wake()
        until(lambda: caller.infer() == "")


def test_a_frozen_tier_is_given_up_soon_where_no_share_is_left():
    with RemoteTier("end") as end, calling(end.address) as caller:
        assert caller.infer() == ""
        caller.budget = HedgeBudget(0.0)
        end.freeze()
        for _ in range(2):  # the second one finds it down
            outcome = caller.outcome(failover_after_s=FOR_EVER_S, hedge=SOON)
            assert (outcome.why, outcome.hedged, outcome.timings) == ("end silent", "", ())
        end.wake()
        until(lambda: caller.infer() == "")


def test_where_no_share_is_left_the_tier_is_waited_for(held):
    program = Gated()
    with tiers(held) as running, calling(running.addresses["end"], program) as caller:
        caller.budget = HedgeBudget(0.0)
        with asking(caller) as outcomes:
            assert held.begun.acquire(timeout=LONG_S)
            assert not program.begun.wait(0.5)  # when it would have begun long ago
            held.go_on.set()
        assert (outcomes[0].why, outcomes[0].hedged) == ("", "")


def test_the_tier_may_still_be_first(held):
    program = Gated()
    with tiers(held) as running, calling(running.addresses["end"], program) as caller:
        with asking(caller) as outcomes:
            assert program.begun.wait(LONG_S)
            held.go_on.set()
        program.go_on.set()
    (outcome,) = outcomes
    assert (outcome.why, outcome.hedged, len(outcome.timings)) == ("", "lost", 1)


def test_a_tier_that_is_lost_meanwhile_leaves_the_callers_answer():
    program = Gated()
    with RemoteTier("end") as end, calling(end.address, program) as caller:
        end.freeze()
        with asking(caller) as outcomes:
            assert program.begun.wait(LONG_S)
            end.kill()
            program.go_on.set()
    (outcome,) = outcomes
    assert outcome.hedged == "won"
    assert outcome.why in ("end unreachable", "end late")  # which of the two was seen first
    assert torch.equal(outcome.values[0], X + 36)


def test_a_run_here_that_fails_leaves_it_to_the_tier(held):
    program = Broken()
    with tiers(held) as running, calling(running.addresses["end"], program) as caller:
        with asking(caller) as outcomes:
            assert program.begun.wait(LONG_S)
            held.go_on.set()
        assert outcomes[0].why == ""


def test_errors_of_the_model_stay_errors():
    program = Broken()
    with tiers(program) as running, calling(running.addresses["end"], program) as caller:
        pending = caller.pending(failover_after_s=FOR_EVER_S, hedge=SOON)
        with caller.sender() as sender:
            sender.send(pending)
            with pytest.raises(RequestError):
                sender.receive(pending)
