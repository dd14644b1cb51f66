"""The fuzz in short: the same seed, fewer frames; and that it would see what is wrong."""

import pytest

from experiments.attacker import SHARES
from experiments.fuzz import fuzz
from experiments.mutator import Mutator


@pytest.fixture(scope="module")
def outcome():
    return fuzz(3000, 7)


def test_good_requests_are_unharmed_and_nothing_grows(outcome):
    found, rows = outcome
    assert found.wrong == []
    assert len(found.good_s) > 100
    assert rows[-1]["threads"] <= rows[0]["threads"]


def test_frames_come_in_every_way(outcome):
    found, _ = outcome
    assert set(found.ways) == set(SHARES)
    assert sum(found.ways.values()) == 3000
    assert len(found.spoilt) >= 10


def test_a_seed_gives_the_same_frames():
    def frames(seed):
        mutator = Mutator(seed, "127.0.0.1:1")
        return [mutator.frame() for _ in range(200)]

    assert frames(3) == frames(3)
    assert frames(3) != frames(4)
