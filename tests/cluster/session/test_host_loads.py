"""What real actors say of their hosts reaches the control loop, where a host is one tier's own."""

import torch
from inside_session import loop_state, pretend_apart
from waiting import until

from edgesplit import Config, EdgeSplit
from experiments.shared.small_net import small_net

CONFIG = Config(tiers=("end", "cloud"), threads=1, runtimes=("torch",))
X = torch.zeros(1, 3, 32, 32)


def told(split):
    """When each tier's host was last heard of, on the scheduler's clock."""
    state, _ = loop_state(split)
    return {name: belief.told_s for name, belief in state.beliefs.tiers.items()}


def test_hosts_are_heard_of_once_a_second_where_they_are_a_tiers_own():
    with EdgeSplit(small_net(), config=CONFIG) as split:
        split.infer(X)
        before = told(split)
        pretend_apart(split)
        until(lambda: all(told(split)[tier] > before[tier] + 2.0 for tier in before))
        found = split.explain()
        assert set(found.as_dict()["pressures"]) == {"end", "cloud"}
        assert all(tier.pressure.load >= 0 for tier in found.profile.tiers)
        assert split.infer(X).shape[0] == 1
