"""LoADPart-style and what it learns: how long servers take, and how long requests wait there."""

import pickle
from dataclasses import replace

import pytest
from planner_cases import three_tiers, vgg_like
from served import served

from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.load_factor import NOTHING_SEEN, WINDOW
from edgesplit.core.policies.loadpart import LoadPart

GRAPH, WORK = vgg_like()
PROFILE = three_tiers(WORK, 200, direct=False)
ON_EDGE = parse_plan("end:0-0 | edge:0-21")
GOAL = Goal()


def loaded(slowdown, queue_s=0.0):
    """Timings of a request that met the edge so."""
    world = PROFILE.with_tier(replace(PROFILE.tier("edge"), slowdown=slowdown))
    return served(GRAPH, world, ON_EDGE, queue_s=queue_s)


def taught(*timings):
    policy = LoadPart()
    for one in timings:
        policy = policy.after(GRAPH, PROFILE, one)
    return policy


def test_means_slide():
    loads = NOTHING_SEEN
    for number in range(WINDOW):
        loads = loads.after(PROFILE, loaded(1.0 + number, queue_s=0.1 * number))
    assert loads.factor(PROFILE.tier("edge")) == pytest.approx(1 + (WINDOW - 1) / 2)
    assert loads.queue_s("edge") == pytest.approx(0.1 * (WINDOW - 1) / 2)
    for _ in range(WINDOW):
        loads = loads.after(PROFILE, loaded(4.0))
    assert loads.factor(PROFILE.tier("edge")) == pytest.approx(4.0)
    assert loads.queue_s("edge") == 0.0


def test_what_was_not_seen_lately_is_as_believed():
    loads = NOTHING_SEEN.after(PROFILE, loaded(4.0))
    for _ in range(WINDOW):
        loads = loads.after(PROFILE, served(GRAPH, PROFILE, parse_plan("end:0-21")))
    believed = replace(PROFILE.tier("edge"), slowdown=1.5)
    assert loads.factor(believed) == 1.5
    assert loads.queue_s("edge") == 0.0


def test_what_was_run_unprepared_or_is_unknown_teaches_nothing():
    first, second = loaded(4.0)
    for odd in (
        replace(second, failed_over="cloud silent"),
        replace(second, runtime="onnx"),
        replace(second, tier="fog"),
        replace(second, start=21),
    ):
        seen = NOTHING_SEEN.after(PROFILE, (first, odd)).seen
        assert odd.tier not in [load.tier for load in seen]


def totals(profile, k, queue_s):
    """{plan: seconds} by the rule: local + bytes / bandwidth + k * remote + q, or local alone."""
    local_s = profile.tier("end").layer_s
    rates = {"edge": profile.link("end", "edge").bytes_per_s}
    rates["cloud"] = 1 / (1 / rates["edge"] + 1 / profile.link("edge", "cloud").bytes_per_s)
    relays = {"edge": "", "cloud": "edge:{0}-{0} | "}
    found = {}
    for server, rate in rates.items():
        load, waits_s = (k, queue_s) if server == "edge" else (1.0, 0.0)
        for cut in range(21):
            way = f"end:0-{cut} | {relays[server].format(cut)}{server}:{cut}-21"
            remote_s = load * sum(profile.tier(server).layer_s[cut:])
            sent_s = GRAPH.payload_bytes[cut] / rate
            found[way] = sum(local_s[:cut]) + sent_s + remote_s + waits_s
    return found | {"end:0-21": sum(local_s)}


@pytest.mark.parametrize("wifi_mbit", [20, 200, 1000])
@pytest.mark.parametrize("k", [1.0, 2.0, 5.0, 40.0])
@pytest.mark.parametrize("queue_s", [0.0, 0.1, 0.5])
def test_the_rule(wifi_mbit, k, queue_s):
    profile = three_tiers(WORK, wifi_mbit, direct=False)
    found = totals(profile, k, queue_s)
    policy = taught(*[loaded(k, queue_s)] * 3)
    assert policy(GRAPH, profile, GOAL) == parse_plan(min(found, key=found.get))


def test_no_faster_is_local():
    """A tie between staying and going is staying."""
    same = PROFILE.with_tier(replace(PROFILE.tier("edge"), layer_s=PROFILE.tier("end").layer_s))
    links = tuple(replace(link, bytes_per_s=float("inf")) for link in same.links)
    same = replace(same, links=links).without_tiers(["cloud"])
    assert LoadPart()(GRAPH, same, GOAL) == parse_plan("end:0-21")


def test_a_value():
    policy = taught(loaded(2.0, 0.1), loaded(3.0))
    assert pickle.loads(pickle.dumps(policy)) == policy == taught(loaded(2.0, 0.1), loaded(3.0))
