"""Chaos in short: some faults under load, nothing lost, nothing wrong."""

import pytest

from experiments.chaos import embedded
from experiments.chaos.faults import Fault, drawn, faults


def test_a_killed_tier_and_a_frozen_one_lose_nothing(monkeypatch):
    some = [Fault("kill", "cloud"), Fault("freeze", "edge", 1.0), Fault("kill", "scheduler")]
    monkeypatch.setattr(embedded, "faults", lambda: some)
    told = []
    found = embedded.run(0.0, 0, embedded.PLAN, told.append)
    assert [row["fault"] for row in found["faults"]] == [
        "kill cloud", "freeze edge for 1 s", "kill scheduler",
    ]  # fmt: skip
    assert found["requests"] == found["right"] > 100
    assert (found["errors"], found["lost"], found["wrong"], found["not_back"]) == (0, 0, 0, 0)
    assert found["by_fallback"] > 0
    assert len(told) == 3


def test_the_matrix_comes_first_then_what_the_seed_draws():
    import numpy as np

    singles, rng = faults(), np.random.default_rng(3)
    count = len(singles)
    first = [drawn(rng, singles) for _ in range(count)]
    assert [some[0] for some in first] == faults()
    later = [drawn(rng, singles) for _ in range(50)]
    assert {len(some) for some in later} == {1, 2}
    assert all(len({*some}) == len(some) for some in later)


@pytest.mark.parametrize("fault", faults(), ids=str)
def test_faults_say_what_they_are(fault):
    assert str(fault).startswith(f"{fault.kind} {fault.target}")
