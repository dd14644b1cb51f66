"""Which nodes are considered: exact tables, and sets that do not flap."""

import math

import numpy as np
import pytest

from edgesplit.core.fleet.candidates import CLEARLY_S, FleetNode, candidates
from edgesplit.errors import ConfigError, ProfileError, UnknownNameError

MS = 1e-3


def nodes(*names):
    return [FleetNode(name, name.split("-")[0]) for name in ("end-1", *names)]


FIVE = nodes("edge-1", "edge-2", "edge-3", "edge-4", "edge-10", "cloud-1", "cloud-2", "end-2")
FIVE_S = {"edge-1": 9 * MS, "edge-2": 3 * MS, "edge-3": 5 * MS, "edge-4": 7 * MS,
          "edge-10": 4 * MS, "cloud-1": 40 * MS, "cloud-2": 25 * MS, "end-2": 1 * MS}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "held", "most", "wanted"),
    [
        # the three nearest edges, both clouds, no other end device
        ({}, (), {}, "edge-2 edge-10 edge-3 cloud-2 cloud-1"),
        ({}, (), {"edge": 1, "cloud": 1}, "edge-2 cloud-2"),
        ({}, (), {"edge": 0}, "cloud-2 cloud-1"),
        ({}, (), {"edge": 9}, "edge-2 edge-10 edge-3 edge-4 edge-1 cloud-2 cloud-1"),
        ({}, (), {"end": 1, "edge": 1, "cloud": 0}, "edge-2 end-2"),
        # equally near: the lower number
        ({"edge-10": 5 * MS, "edge-4": 5 * MS}, (), {"edge": 2, "cloud": 0}, "edge-2 edge-3"),
        ({"edge-10": 3 * MS}, (), {"edge": 1, "cloud": 0}, "edge-2"),
        # not measured: after those that are, by number
        ({"edge-2": None, "edge-10": None}, (), {"cloud": 0}, "edge-3 edge-4 edge-1"),
        ({"edge-2": None, "edge-10": None, "edge-4": None}, (), {"cloud": 0},
         "edge-3 edge-1 edge-2"),
        (dict.fromkeys(FIVE_S), (), {}, "edge-1 edge-2 edge-3 cloud-1 cloud-2"),
        # gave no answer
        ({"edge-2": math.inf}, (), {"cloud": 0}, "edge-10 edge-3 edge-4"),
        ({"edge-2": math.inf}, ("edge-2",), {"cloud": 0}, "edge-10 edge-3 edge-4"),
        # held: stays, though the third nearest is a little nearer; 7 ms is less than 1.5 x 5 ms
        ({}, ("edge-4",), {"cloud": 0}, "edge-2 edge-10 edge-4"),
        # and gives way to one that is clearly nearer; 9 ms is more than 1.5 x 5 ms
        ({}, ("edge-1",), {"cloud": 0}, "edge-2 edge-10 edge-3"),
        ({"edge-3": 6.1 * MS}, ("edge-1",), {"cloud": 0}, "edge-2 edge-10 edge-1"),
        # three that are held and none clearly farther: a new one has to wait
        ({"edge-3": 2.9 * MS}, ("edge-2", "edge-10", "edge-4"), {"cloud": 0},
         "edge-3 edge-2 edge-10"),
        ({"edge-4": 4 * MS}, ("edge-2", "edge-10", "edge-4"), {"cloud": 0},
         "edge-2 edge-4 edge-10"),
        # held and not measured: nothing shows that it is farther
        ({"edge-1": None}, ("edge-1",), {"cloud": 0}, "edge-2 edge-10 edge-1"),
        # more are held than may be: the nearest of them
        ({}, tuple(FIVE_S), {"edge": 2, "cloud": 1}, "edge-2 edge-10 cloud-2"),
        # what is held and gone is gone
        ({}, ("edge-77",), {"edge": 1, "cloud": 0}, "edge-2"),
    ],
)  # fmt: skip
def test_table(changed, held, most, wanted):
    round_trip_s = {k: v for k, v in (FIVE_S | changed).items() if v is not None}
    assert " ".join(candidates("end-1", FIVE, round_trip_s, held, most)) == wanted
    assert " ".join(candidates("end-1", FIVE[::-1], round_trip_s, held, most)) == " ".join(
        sorted(wanted.split(), key=lambda name: ("end", "cloud", "edge").index(name.split("-")[0]))
    )


def test_below_a_millisecond_nothing_is_clear():
    near = {"edge-1": 0.1 * MS, "edge-2": 0.09 * MS + CLEARLY_S}
    two = nodes("edge-1", "edge-2")
    assert candidates("end-1", two, near, ("edge-2",), {"edge": 1}) == ("edge-2",)
    near["edge-2"] += 0.02 * MS
    assert candidates("end-1", two, near, ("edge-2",), {"edge": 1}) == ("edge-1",)


def test_of_a_hundred_edges_the_nearest_three_are_looked_at():
    many = nodes(*(f"edge-{n}" for n in range(1, 101)), "cloud")
    generator = np.random.default_rng(1)
    round_trip_s = {node.name: float(generator.uniform(1, 80)) * MS for node in many[1:]}
    found = candidates("end-1", many, round_trip_s)
    edges = sorted(round_trip_s.keys() - {"cloud"}, key=round_trip_s.__getitem__)
    assert found == (*edges[:3], "cloud")


def test_round_trips_that_jitter_do_not_make_the_set_flap():
    """Ten edges within a few per cent of each other, each round trip with 10 % of noise."""
    ten = nodes(*(f"edge-{n}" for n in range(1, 11)))
    generator, held, changes, free = np.random.default_rng(2), (), 0, 0
    for turn in range(500):
        noisy = {n.name: float(20 * MS * generator.lognormal(0.0, 0.1)) for n in ten[1:]}
        found = candidates("end-1", ten, noisy, held)
        changes += turn > 0 and set(found) != set(held)
        free += turn > 0 and set(candidates("end-1", ten, noisy)) != set(held)
        held = found
    assert free > 450
    assert changes < 25


def test_a_device_that_moves_is_followed():
    five = nodes(*(f"edge-{n}" for n in range(1, 6)))
    held = ()
    for here in np.linspace(1, 5, 50):
        away_s = {f"edge-{n}": (1 + 10 * abs(n - here)) * MS for n in range(1, 6)}
        held = candidates("end-1", five, away_s, held, {"edge": 1})
    assert held == ("edge-5",)


@pytest.mark.parametrize(
    ("entry", "round_trip_s", "most", "error"),
    [
        ("end-7", {}, {}, UnknownNameError),
        ("end-1", {"edge-1": -1.0}, {}, ProfileError),
        ("end-1", {"edge-1": math.nan}, {}, ProfileError),
        ("end-1", {"edge-1": "1"}, {}, ProfileError),
        ("end-1", {}, {"edge": -1}, ConfigError),
        ("end-1", {}, {"edge": 1.5}, ConfigError),
    ],
)
def test_what_cannot_be_is_refused(entry, round_trip_s, most, error):
    with pytest.raises(error):
        candidates(entry, nodes("edge-1"), round_trip_s, (), most)


def test_a_node_has_a_name_and_a_role():
    with pytest.raises(ProfileError, match="a name and a role"):
        FleetNode("edge-1", "")
