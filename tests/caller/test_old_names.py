"""Old public names: each still works for one release, and says what to write instead."""

import pytest
from torch import nn

from edgesplit import Config, EdgeSplit, Goal
from edgesplit.errors import ConfigError


@pytest.fixture
def split():
    """Not open: what is asked here needs no cluster."""
    made = EdgeSplit(nn.Linear(4, 4))
    yield made
    made.close()


def test_pursue_is_set_goal(split):
    goal = Goal(end_energy=0.0, total_energy=0.0, latency=1.0)
    with pytest.warns(DeprecationWarning, match=r"set_goal\(\)"):
        split.pursue(goal)
    assert split.goal == goal


def test_tiers_away_is_excluded_tiers(split, monkeypatch):
    monkeypatch.setattr(EdgeSplit, "excluded_tiers", ("edge",))
    with pytest.warns(DeprecationWarning, match="excluded_tiers"):
        assert split.tiers_away() == ("edge",)


@pytest.mark.parametrize(("old", "new"), [("anywhere", "anywhere"), ("planned", "none")])
def test_finish_is_fallback(old, new):
    with pytest.warns(DeprecationWarning, match="fallback"):
        config = Config(finish=old)
    assert config == Config(fallback=new)


def test_an_old_name_takes_no_more_than_it_did():
    with pytest.raises(ConfigError, match="finish is anywhere or planned, given 'none'"):
        Config(finish="none")
