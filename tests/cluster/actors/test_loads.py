"""What tiers' hosts say of their load on its way into the loops, with made-up actors."""

import asyncio

import pytest
import ray.exceptions
from worlds import GOAL, VGG, chain

from edgesplit.cluster.actors.host_loads import HostLoads
from edgesplit.cluster.actors.scheduled_session import ScheduledSession
from edgesplit.cluster.actors.session_handle import SessionHandle
from edgesplit.cluster.actors.workload import TierHandle, Workload
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.pressure import NO_PRESSURE
from edgesplit.core.policies.policy import score
from edgesplit.node.process.imports import Imports
from edgesplit.node.tier.tier_sessions import TierTold

BUSY = HostLoad(utilisation=0.7)
HOSTS = {"end": "pi", "edge": "laptop", "cloud": "pc"}


class Method:
    def __init__(self, call):
        self.remote = call


class Actor:
    """Says each second what `says` does, and that it computes so much of it for each session."""

    def __init__(self, says, shares):
        self.asked, self._says, self._shares = 0, says, shares
        self.told = Method(self._call)

    async def _call(self):
        self.asked += 1
        worked_s = {name: (share * self.asked, 0.0) for name, share in self._shares.items()}
        return TierTold(float(self.asked), await self._says(), worked_s)


async def busy():
    return BUSY


async def free():
    return HostLoad(utilisation=0.0)


async def dead():
    raise ray.exceptions.RayActorError


def heard(says, hosts, rounds=3, shares=None):
    """The actors, and the believed profiles of two sessions, after so many seconds.

    shares: of each tier's time, by tier and session.
    """
    shares = shares or {}
    actors = {tier: Actor(says.get(tier, busy), shares.get(tier, {})) for tier in HOSTS}
    settings, sessions = Settings(load_settle_s=0.0), {}

    async def play():
        for name in ("v", "w"):
            session = sessions[name] = ScheduledSession(name, "first")
            handles = {t: SessionHandle(actors[t], name) for t in HOSTS}
            tiers = {t: TierHandle(handles[t], f"{t}:1", hosts[t]) for t in HOSTS}
            await session.set_tiers(tiers, Imports())
            session.loops.begin(Workload("a", VGG, chain(VGG), GOAL, score, settings, "score"), 0)
        loads = HostLoads(sessions)
        for _ in range(rounds):
            loads.ask()
            for _ in range(20):
                await asyncio.sleep(0)

    asyncio.run(play())
    return actors, [current_profile(one.loops.known("a").state) for one in sessions.values()]


def test_every_session_hears_of_every_host():
    actors, profiles = heard({}, HOSTS)
    assert [actor.asked for actor in actors.values()] == [3, 3, 3]
    for profile in profiles:
        assert [round(tier.pressure.load, 6) for tier in profile.tiers] == [1.0, 1.0, 1.0]


def test_the_load_of_a_machine_that_several_tiers_share_is_no_tiers():
    actors, profiles = heard({}, {"end": "pi", "edge": "pc", "cloud": "pc"})
    assert [actor.asked for actor in actors.values()] == [3, 3, 3]
    assert profiles[0].tier("end").pressure.load > 0
    assert profiles[0].tier("cloud").pressure == NO_PRESSURE


@pytest.mark.parametrize("hosts", [HOSTS, dict.fromkeys(HOSTS, "pc")], ids=["apart", "together"])
def test_a_session_sees_what_others_take_and_the_price_of_it(hosts):
    says, shares = dict.fromkeys(HOSTS, free), {"edge": {"v": 0.3, "w": 0.6}}
    _, (v, w) = heard(says, hosts, 20, shares)
    assert v.tier("edge").pressure.load > w.tier("edge").pressure.load > 0.0
    for profile in (v, w):
        assert profile.tier("end").pressure == profile.tier("cloud").pressure == NO_PRESSURE


def test_one_that_has_a_tier_to_itself_sees_nothing_of_its_own_work():
    says, shares = dict.fromkeys(HOSTS, free), {"edge": {"v": 0.99}}
    _, (v, _) = heard(says, HOSTS, 20, shares)
    assert v.tier("edge").pressure == NO_PRESSURE


def test_a_machine_that_is_not_known_is_not_asked():
    actors, _ = heard({}, dict.fromkeys(HOSTS, ""))
    assert [actor.asked for actor in actors.values()] == [0, 0, 0]


def test_a_tier_that_does_not_answer_is_not_asked_again_and_the_others_are_heard():
    never = asyncio.Event

    async def silent():
        await never().wait()

    actors, profiles = heard({"edge": silent, "cloud": dead}, HOSTS)
    assert [actors[tier].asked for tier in HOSTS] == [3, 1, 3]
    assert profiles[0].tier("end").pressure.load > 0
    assert profiles[0].tier("edge").pressure == NO_PRESSURE
