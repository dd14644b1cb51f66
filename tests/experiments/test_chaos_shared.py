"""Chaos with several sessions in short: what they share dies, one floods; nothing lost or wrong."""

from experiments.chaos import shared
from experiments.chaos.faults import Fault


def test_three_sessions_outlive_the_scheduler_and_a_flood():
    some, told = [Fault("kill", "scheduler"), Fault("flood", "ann")], []
    found = shared.run(0.0, 3, some, told.append)
    rows = found["faults"]
    assert [row["fault"] for row in rows] == ["kill scheduler", "flood ann"]
    assert (found["errors"], found["lost"], found["wrong"], found["not_back"]) == (0, 0, 0, 0)
    assert rows[0]["requests"] > 30
    assert rows[1]["requests"] > 512
    assert [row["sessions"] for row in rows] == [3, 3]
    assert found["left_open"] == 0
    assert len(told) == 3


def test_every_kind_of_what_is_shared_and_of_what_is_a_sessions_own_is_struck():
    struck = {(fault.kind, fault.target) for fault in shared.faults()}
    for name in ("scheduler", "end", "edge", "cloud"):
        assert {("kill", name), ("freeze", name)} <= struck
    own = {kind for kind, target in struck if target in ("ann", "ben", "cai")}
    assert own == {"flood", "suspend", "kill program"}
    assert {("kill node", "cloud"), ("flap node", "cloud")} <= struck
