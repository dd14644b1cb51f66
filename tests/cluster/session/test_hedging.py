"""A link that breaks down: who holds the payload answers, and the slow link is believed."""

import time

import pytest
import torch
from torch import nn

from edgesplit import Config, EdgeSplit, Goal, LinkShape
from edgesplit.errors import ConfigError

PHOTO = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
AWAY = "end:0-0 | edge:0-6"


def test_requests_on_a_link_that_breaks_down_are_answered_by_the_tier_that_holds_them():
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Conv2d(3, 3, 5, padding=2) for _ in range(6)]).eval()
    with torch.no_grad():
        expected = model(PHOTO)
    goal = Goal(0.0, 0.0, 1.0)
    with EdgeSplit(model, goal=goal, policy="edge-only", runtime="torch") as split:
        split.infer(PHOTO)
        # 602 kB take a minute, in which an own answer is there, and the failover timeout passes.
        slow = split.emulation.with_link("end", "edge", LinkShape(10e3, 0.001))
        split.emulate(slow)
        assert torch.allclose(split.infer(PHOTO), expected, rtol=1e-4, atol=1e-5)
        (row,) = split.records().tail(1).to_dict("records")
        assert (row["finished_by"], row["why"], row["hedged"]) == ("end", "edge late", "")
        assert row["plan"] == AWAY
        # What was given up is evidence: nobody has to wait for a whole payload to know the link.
        deadline_s = time.monotonic() + 60
        while split.profile.link("end", "edge").bytes_per_s > 1e6:
            assert time.monotonic() < deadline_s, "the slow link is not believed"
            split.infer(PHOTO)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "much", True])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match="hedge is a share of requests from 0 to 1, given"):
        Config(hedge=share)
