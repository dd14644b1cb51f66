"""A link that falls puts others at its ends in question before a plan goes over them."""

from dataclasses import replace

import pytest
from control_cases import feed, make_ready, of_kind, started
from worlds import FAST, SLOW, VGG, chain

from edgesplit.core.control.event import LinkProbed, Prepare, ProbeLink, Tick, Transferring
from edgesplit.core.control.shared_end import in_question
from edgesplit.core.control.step import step
from edgesplit.core.goal import Goal
from edgesplit.core.profile import Link

QUICK = Goal(end_energy=0.0, total_energy=0.0, latency=1.0)
DIRECT = ("end", "cloud")


def mesh():
    """The chain and a direct link from the end tier to the cloud, as wide as the others."""
    profile = chain(VGG)
    links = (*profile.links, Link(*DIRECT, 0.0005, FAST), Link(*DIRECT[::-1], 0.0005, FAST))
    return replace(profile, links=links)


def fallen(at_s: float = 1.0):
    """The direct link moves at SLOW while a payload is on it; what is asked for at once."""
    state = started(profile=mesh(), goal=QUICK)
    state, actions = feed(state, mesh(), (0.3, 0.6))
    for pair, size in asked(actions).items():
        state, _ = step(state, probed(0.7, pair, size, FAST))
    assert state.active.route == DIRECT
    return step(state, Transferring(at_s, *DIRECT, int(SLOW * 0.6), 0.6))


def probed(at_s: float, pair: tuple[str, str], sent_bytes: int, rate: float) -> LinkProbed:
    return LinkProbed(at_s, *pair, sent_bytes, sent_bytes / rate + 0.001, 0.0005)


def asked(actions) -> dict[tuple[str, str], int]:
    return {(a.source, a.target): a.sent_bytes for a in of_kind(actions, ProbeLink)}


def test_links_around_a_slow_one_are_probed_before_a_plan_takes_them():
    state, actions = fallen()
    assert not of_kind(actions, Prepare)
    sizes = asked(actions)
    assert sizes.keys() == {("end", "edge"), ("edge", "cloud")}
    assert all(16_384 <= size <= 0.11 * SLOW for size in sizes.values())  # brief, were they as slow
    state, actions = step(state, Tick(1.1))
    assert not of_kind(actions, Prepare | ProbeLink)


def test_one_probe_is_enough_for_a_link_that_fell_too():
    state, actions = fallen()
    sizes = asked(actions)
    state, actions = step(state, probed(1.1, ("edge", "cloud"), sizes["edge", "cloud"], 1.2 * SLOW))
    assert state.beliefs.links["edge", "cloud"].rate.value == pytest.approx(1.2 * SLOW, rel=0.05)
    state, actions = step(state, probed(1.12, ("end", "edge"), sizes["end", "edge"], FAST))
    (prepared,) = of_kind(actions, Prepare)
    assert prepared.plan.route == ("end", "edge")


def test_a_link_that_is_as_good_as_before_is_taken():
    state, actions = fallen()
    for pair, size in asked(actions).items():
        state, actions = step(state, probed(1.1, pair, size, 0.8 * FAST))
    (prepared,) = of_kind(actions, Prepare)
    assert prepared.plan.route == ("end", "edge", "cloud")
    state, _ = make_ready(state, prepared.plan, 1.3)
    assert state.active == prepared.plan


def test_without_an_answer_the_plan_is_tried_after_the_time_of_a_probe():
    state, _ = fallen()
    prepared = []
    for tenth in range(1, 25):
        state, actions = step(state, Tick(1.0 + tenth / 10))
        prepared += [(state.now_s, a.plan.route) for a in of_kind(actions, Prepare)]
    (first,) = prepared
    assert 2.9 <= first[0] <= 3.2
    assert first[1] == ("end", "edge", "cloud")


def test_only_links_with_the_same_source_or_target_and_no_later_look_are_in_question():
    state, _ = fallen()
    feared = in_question(state.beliefs, 0.0)
    assert feared.keys() == {("end", "edge"), ("edge", "cloud")}
    assert all(rate == pytest.approx(SLOW, rel=1e-3) for rate in feared.values())
    assert in_question(state.beliefs, 1.01) == {}
    state, _ = step(state, probed(1.2, ("end", "edge"), 60_000, FAST))
    assert in_question(state.beliefs, 0.0).keys() == {("edge", "cloud")}


def test_a_fall_of_less_than_half_asks_nothing():
    state = started(profile=mesh(), goal=QUICK)
    state, _ = feed(state, mesh(), (0.3, 0.6))
    slower = replace(mesh(), links=tuple(
        replace(link, bytes_per_s=0.6 * FAST) if link.pair == DIRECT else link
        for link in mesh().links
    ))  # fmt: skip
    state, _ = feed(state, slower, [1 + 0.3 * i for i in range(12)], state.active)
    assert state.beliefs.links[DIRECT].rate.value < 0.7 * FAST
    assert in_question(state.beliefs, 0.0) == {}
