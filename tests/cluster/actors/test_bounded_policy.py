"""A user's policy that hangs, raises or is slow once: nobody else waits for it for long."""

import pickle
import threading

import pytest
from control_cases import request, started
from learner_cases import TriesOut
from worlds import GOAL, VGG, chain

from edgesplit.cluster.actors.bounded_policy import BoundedPolicy, bounded
from edgesplit.core.policies.learning import is_followed, learns
from edgesplit.core.policies.policy import score
from edgesplit.errors import PlanError


@pytest.fixture
def asked():
    return VGG, chain(VGG), GOAL


def test_an_answer_is_the_policys(asked):
    assert BoundedPolicy(score)(*asked) == score(*asked)


def test_what_it_raises_is_raised(asked):
    for error in (PlanError("nothing fits"), KeyError("edge"), TimeoutError("mine")):

        def raises(*_, error=error):
            raise error

        with pytest.raises(type(error)) as raised:
            BoundedPolicy(raises)(*asked)
        assert raised.value is error


def test_one_that_hangs_is_given_up_and_asked_again_once_it_has_answered(asked):
    may_answer, calls = threading.Event(), []

    def hangs(*given):
        calls.append(given)
        may_answer.wait(60)
        return score(*given)

    policy = BoundedPolicy(hangs, limit_s=0.05)
    with pytest.raises(PlanError, match=r"has not answered within 0\.05 s"):
        policy(*asked)
    with pytest.raises(PlanError, match="still has not answered"):
        policy(*asked)
    assert len(calls) == 1
    may_answer.set()
    patient = threading.Event()

    def answers():
        try:
            return policy(*asked)
        except PlanError:
            return None

    for _ in range(1000):
        if answers() is not None:
            break
        patient.wait(0.01)
    assert len(calls) >= 2
    assert policy(*asked) == score(*asked)


def test_a_checkpoint_keeps_the_policy_and_no_thread(asked):
    policy = BoundedPolicy(score, limit_s=0.5)
    policy(*asked)
    assert pickle.loads(pickle.dumps(policy))(*asked) == score(*asked)


def timings(at_s=1.0):
    return request(started().active, chain(VGG), at_s).timings


def test_a_policy_learns_within_its_bound(asked):
    policy = bounded(TriesOut(), limit_s=0.5)
    assert (learns(policy), is_followed(policy)) == (True, True)
    learned = policy.after(*asked[:2], timings())
    assert learned.policy == TriesOut().after(*asked[:2], timings())
    kept = pickle.loads(pickle.dumps(learned))
    assert kept.policy == learned.policy
    assert learns(kept)
    assert not learns(bounded(score))
    assert not is_followed(bounded(score))


def test_one_that_hangs_while_it_learns_is_neither_asked_nor_taught_until_it_has_answered(
    asked, caplog
):
    may_answer = threading.Event()

    class Hangs(TriesOut):
        def after(self, *given):
            may_answer.wait(60)
            return self

    policy = bounded(Hangs(), limit_s=0.05)
    with pytest.raises(PlanError, match=r"has not answered within 0\.05 s"):
        policy.after(*asked[:2], timings())
    with pytest.raises(PlanError, match="still has not answered"):
        policy.after(*asked[:2], timings())
    with pytest.raises(PlanError, match="still has not answered"):
        policy(*asked)
    may_answer.set()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has not learned from a request" in caplog.text
