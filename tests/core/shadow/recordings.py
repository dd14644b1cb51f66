"""Recordings made in simulated worlds, and requests made by hand, for what is told to policies."""

import numpy as np
from worlds import GOAL, VGG, chain

from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.policies.policy import score


def simulated_log(world, until_s, policy=score, goal=GOAL, graph=VGG):
    """What a session in that world would have recorded, from its first plan on."""
    state, actions = begin(graph, chain(graph), goal, policy, Settings(), 0.0)
    run = simulate((state, actions), world, until_s, np.random.default_rng(0))
    steps = replay(state, run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return EventLog("0.1.0", "5e55", "w0", "score", state, tuple(entries))


def steady(**given):
    """A world without noise; changes, pauses and the like are given."""
    return World(chain(VGG), **{"noise": 0.0, "outliers": 0.0, "prepare_s": 0.05, **given})


def made_log(state, events):
    """Events that follow a state, with what is asked for after each."""
    entries, now = [], state
    for event in events:
        now, actions = step(now, event)
        entries.append((event, actions))
    return EventLog("0.1.0", "5e55", "w0", "score", state, tuple(entries))
