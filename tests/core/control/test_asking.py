"""What is asked of links and tiers, what is spared, and that what recovers is found anyway."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import of_kind, request, started
from worlds import FAST, GOAL, MOBILE, SLOW, VGG, chain, slowed, throttled

from edgesplit.core.control.event import LinkProbed, MeasureTier, ProbeLink, Tick
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Link

END = parse_plan("end:0-16")
JOULES, LATENCY = Goal(0.5, 0.5, 0.0), Goal(0.0, 0.0, 1.0)
FADED = throttled(throttled(chain(VGG), SLOW / 4, ("end", "edge")), SLOW / 4)


def all_on_end(goal=GOAL, graph=VGG, rate=SLOW / 4) -> ControlState:
    """Calibrated on two links too slow to send anything over. rate: of the first one."""
    slow = throttled(throttled(chain(graph)), rate, ("end", "edge"))
    state = started(goal=goal, graph=graph, profile=slow)
    assert state.active == END
    return state


def asked_links(state: ControlState, seconds: int) -> list[tuple[float, str, str]]:
    """What is asked of links while a request comes each second, and answered as believed."""
    found = []
    for at_s in range(1, seconds):
        state, actions = step(state, request(END, current_profile(state), float(at_s)))
        for tick in range(1, 10):
            state, more = step(state, Tick(at_s + tick / 10))
            actions += more
        for probe in of_kind(actions, ProbeLink):
            found.append((at_s, probe.source, probe.target))
            link = current_profile(state).link(probe.source, probe.target)
            took_s = 2 * link.latency_s + probe.sent_bytes / link.bytes_per_s
            answer = (probe.source, probe.target, probe.sent_bytes, took_s, link.latency_s)
            state, _ = step(state, LinkProbed(at_s + 0.95, *answer))
    return found


def test_of_several_figures_only_the_one_that_decides_is_asked_for():
    found = asked_links(all_on_end(), 60)
    assert {(source, target) for _, source, target in found} == {("end", "edge")}
    assert len(found) >= 3


def test_a_figure_that_was_never_better_is_asked_for_the_rarer_the_more_joules_it_costs():
    def times(goal: Goal) -> int:
        return len(asked_links(all_on_end(goal=goal), 300))

    free, priced = times(LATENCY), times(JOULES)
    assert 4 <= priced < free


def test_what_the_next_request_shows_anyway_is_only_measured_where_that_is_cheap():
    """One request takes five times its time: another plan would pay, were that true."""

    def measured(goal: Goal) -> list[MeasureTier]:
        state = all_on_end(goal, MOBILE, SLOW)
        for at_s in range(1, 60):
            state, _ = step(state, request(END, current_profile(state), float(at_s), MOBILE))
        slow = slowed(current_profile(state), "end", 5.0)
        return of_kind(step(state, request(END, slow, 60.0, MOBILE))[1], MeasureTier)

    assert measured(LATENCY)
    assert not measured(JOULES)


def switches(calibrated, changes, goal=GOAL, graph=VGG, seconds=200.0, pause_s=1.0):
    """(when, plan) of each, in a world without noise. changes: (when, what is true since then)."""
    state = begin(graph, calibrated, goal, score, Settings(), 0.0)
    world = World(
        calibrated, changes=changes, noise=0.0, outliers=0.0, pause_s=pause_s, tick_s=0.25
    )
    found = simulate(state, world, seconds, np.random.default_rng(0)).switches
    return [(one.at_s, one.plan) for one in found]


@pytest.mark.parametrize("goal", [GOAL, JOULES, LATENCY])
def test_links_that_come_back_together_are_found(goal):
    """The first one decides; the one behind it is asked for once that one is better."""
    found = switches(chain(VGG), ((10.0, FADED), (60.0, chain(VGG))), goal, seconds=80.0)
    back = [(at_s, plan) for at_s, plan in found if at_s > 60]
    assert found[-len(back) - 1][1] == END
    assert back[0][0] < 64
    assert back[-1][0] < 70
    assert back[-1][1] == found[0][1]


def test_a_link_that_becomes_better_than_ever_is_found_while_the_one_before_it_stays_slow():
    """As good as they were, both would be needed; better than that, one is enough."""

    def links(first, second):
        faded = throttled(throttled(chain(VGG), first, ("end", "edge")), second)
        return slowed(faded, "edge", 3.0)

    calibrated, fell = links(4e6, 1e6), links(0.85e6, 0.25e6)
    changes = (10.0, fell), (100.0, links(0.85e6, FAST))
    found = switches(calibrated, changes)
    assert found[-2][1] == END
    assert 100 < found[-1][0] < 115
    assert found[-1][1].route == ("end", "edge", "cloud")


@pytest.mark.parametrize("goal", [GOAL, JOULES])
def test_a_route_is_found_while_a_better_one_stays_slow(goal):
    def with_direct(profile, rate):
        pairs = ("end", "cloud"), ("cloud", "end")
        return replace(
            profile, links=profile.links + tuple(Link(*pair, 0.0005, rate) for pair in pairs)
        )

    good, bad = with_direct(chain(VGG), FAST), with_direct(FADED, SLOW / 4)
    back = with_direct(chain(VGG), SLOW / 4)
    found = switches(good, ((10.0, bad), (100.0, back)), goal)
    assert found[-2][1] == END
    assert 100 < found[-1][0] < 110
    assert found[-1][1].route[:2] == ("end", "edge")


def test_a_slower_tier_is_left_a_request_later_where_measuring_costs_more_than_it_saves():
    slow = throttled(throttled(chain(MOBILE)), SLOW, ("end", "edge"))
    change = ((200.0, slowed(slow, "end", 5.0)),)
    soon, later = (
        switches(slow, change, goal, MOBILE, seconds=300.0, pause_s=20.0)[-1]
        for goal in (LATENCY, JOULES)
    )
    assert END not in (soon[1], later[1])
    assert 200 < soon[0] < 225
    assert later[0] < soon[0] + 25


def test_a_tier_that_breaks_the_latency_limit_is_measured_whatever_that_costs():
    goal = Goal(0.3, 0.7, 0.0, latency_limit_s=0.9)
    profile = throttled(throttled(chain(VGG)), FAST / 4, ("end", "edge"))
    state = started(goal=goal, profile=profile)
    for at_s in range(1, 8):
        state, _ = step(state, request(state.active, current_profile(state), 3.0 * at_s))
    slow = slowed(current_profile(state), "end", 3.0)
    assert of_kind(step(state, request(state.active, slow, 24.0))[1], MeasureTier)


def test_what_was_never_better_is_priced_once_the_gap_between_requests_is_known():
    state = all_on_end(JOULES)
    asks = [one for one in _looked(state, 1) if isinstance(one.ask, ProbeLink)]
    assert asks
    assert all(one.repaid_s == 0 for one in asks)
    assert all(one.repaid_s > 0 for one in _looked(state, 15))


def _looked(state, requests):
    """What is asked repeatedly after so many requests."""
    for at_s in range(1, requests + 1):
        state, _ = step(state, request(END, current_profile(state), 2.0 * at_s))
        for tick in range(1, 15):
            state, _ = step(state, Tick(2.0 * at_s + tick / 10))
    return state.repeated
