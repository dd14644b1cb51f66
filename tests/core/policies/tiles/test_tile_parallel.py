"""The table of cost models: each gives a cost of any stack, and none is a policy of the product."""

import pytest
from tile_cases import FAST, SLOW, vgg_stack

from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.policies.tiles.tile_cost import TileDevice
from edgesplit.core.policies.tiles.tile_parallel import MODELLED, STATUS
from edgesplit.errors import PlanError


@pytest.mark.parametrize("name", MODELLED)
def test_a_cost(name):
    one = MODELLED[name]
    assert one.name == name
    assert name.endswith("-style")
    assert one.source
    assert one.basis
    alone = one.cost(vgg_stack(), [SLOW])
    shared = one.cost(vgg_stack(), [SLOW, FAST])
    assert 0 < shared.seconds < alone.seconds
    assert shared.joules > 0
    assert {run.device for run in shared.runs} <= {"pi", "pc"}
    assert one.cost(vgg_stack(), [SLOW, FAST]) == shared


def test_apart_from_what_runs():
    assert STATUS == "modelled, no executor"
    assert not set(MODELLED) & set(PUBLISHED)


def test_devices_are_checked():
    with pytest.raises(PlanError, match="rates must be above 0"):
        TileDevice("pi", 0.0, 1e6)
    with pytest.raises(PlanError, match="watts 0 or more"):
        TileDevice("pi", 1e9, 1e6, compute_w=-1.0)
