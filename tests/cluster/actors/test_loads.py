"""What tiers' hosts say of their load on its way into the loops, with made-up actors."""

import asyncio

import ray.exceptions
from worlds import GOAL, VGG, chain

from edgesplit.cluster.actors.host_loads import HostLoads
from edgesplit.cluster.actors.scheduled_session import ScheduledSession
from edgesplit.cluster.actors.session_handle import SessionHandle
from edgesplit.cluster.actors.workload import TierHandle, Workload
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.pressure import NO_PRESSURE
from edgesplit.core.policy import score
from edgesplit.node.process.imports import Imports

BUSY = HostLoad(utilisation=0.7)
HOSTS = {"end": "pi", "edge": "laptop", "cloud": "pc"}


class Method:
    def __init__(self, call):
        self.remote = call


class Actor:
    """Answers host_load as `says` does; counts how often it was asked."""

    def __init__(self, says):
        self.asked, self._says = 0, says
        self.host_load = Method(self._call)

    async def _call(self):
        self.asked += 1
        return await self._says()


async def busy():
    return BUSY


async def dead():
    raise ray.exceptions.RayActorError


def heard(says, hosts, rounds=3):
    """The actors, and the believed profiles of two sessions, after so many seconds."""
    actors = {tier: Actor(says.get(tier, busy)) for tier in HOSTS}
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


def test_a_machine_that_several_tiers_share_is_not_asked():
    actors, profiles = heard({}, {"end": "pi", "edge": "pc", "cloud": "pc"})
    assert [actor.asked for actor in actors.values()] == [3, 0, 0]
    assert profiles[0].tier("end").pressure.load > 0
    assert profiles[0].tier("cloud").pressure == NO_PRESSURE


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
