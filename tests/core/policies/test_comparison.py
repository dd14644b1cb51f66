"""What each policy would choose, as a table and as plain values."""

import itertools
import json

import pytest
from learner_cases import TRIED, TriesOut
from worlds import GOAL, VGG, chain

from edgesplit.core.cost import CostModel
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.comparison import compare
from edgesplit.core.policies.named import named_policies
from edgesplit.core.policies.policy import decide, fastest, score
from edgesplit.core.policies.published import PUBLISHED, Published
from edgesplit.errors import PlanError

PROFILE = chain(VGG)
MODEL = CostModel(VGG, PROFILE, GOAL)


def clock(*steps):
    """A clock that goes on by these seconds from one look to the next, again and again."""
    return map(float, itertools.accumulate(itertools.cycle(steps))).__next__


def test_every_choice_is_costed_least_score_first():
    found = compare(MODEL, named_policies(PROFILE.names), clock(0.002))
    by_name = {one.policy: one for one in found.choices}
    assert {"score", "fastest", "end-only", "edge-only", "cloud-only"} <= set(by_name)
    assert by_name["score"].cost == decide(VGG, PROFILE, GOAL).cost
    assert by_name["fastest"].cost.plan == fastest(VGG, PROFILE, GOAL)
    scores = [one.cost.score for one in found.choices]
    assert scores == sorted(scores)
    assert {round(one.decision_s, 6) for one in found.choices} == {0.002}


def test_a_quick_policy_is_timed_some_times_and_a_slow_one_once():
    asked = []

    def counting(*given):
        asked.append(given)
        return score(*given)

    [quick] = compare(MODEL, {"quick": counting}, clock(1.0, 0.03, 1.0, 0.01, 1.0, 0.02)).choices
    assert len(asked) == 3
    assert quick.decision_s == pytest.approx(0.01)
    asked.clear()
    [slow] = compare(MODEL, {"slow": counting}, clock(0.5)).choices
    assert (len(asked), slow.decision_s) == (1, 0.5)


def test_a_policy_without_a_plan_says_why_and_the_others_go_on():
    def lost(*given):
        raise PlanError("nothing reaches the server")

    def broken(*given):
        raise KeyError("edge")

    found = compare(MODEL, {"lost": lost, "broken": broken, "score": score}, clock(0.001))
    assert [one.policy for one in found.choices] == ["score", "lost", "broken"]
    lines = str(found).splitlines()
    assert lines[3].split(maxsplit=1) == ["lost", "no plan: nothing reaches the server"]
    assert "no plan: the policy raised KeyError('edge')" in lines[4]


def test_the_table_marks_what_learns_and_what_breaks_a_limit(monkeypatch):
    monkeypatch.setitem(
        PUBLISHED, "tries", Published("tries", "Somewhere 2020", "read", TriesOut())
    )
    tight = CostModel(VGG, PROFILE, type(GOAL)(latency_limit_s=0.2))
    found = compare(tight, named_policies(PROFILE.names), clock(0.001))
    lines = str(found).splitlines()
    [tries] = [line for line in lines if line.startswith("tries+")]
    assert str(parse_plan(TRIED[0])) in tries
    assert "J*" in tries
    assert "+ learns from requests" in str(found)
    told = json.loads(json.dumps(found.as_dict()))
    [row] = [row for row in told["policies"] if row["policy"] == "tries"]
    assert (row["source"], row["basis"], row["is_new"]) == ("Somewhere 2020", "read", True)
    assert row["cost"]["feasible"] is False
    [ours] = [row for row in told["policies"] if row["policy"] == "score"]
    assert (ours["source"], ours["why_not"]) == (None, "")
