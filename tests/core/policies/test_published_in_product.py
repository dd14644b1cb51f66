"""Every published policy where the product has it: in control loops, event files and shadows."""

import json
import pickle
from dataclasses import is_dataclass

import numpy as np
import pytest
from control_cases import request, started
from worlds import GOAL, VGG, chain, throttled

from edgesplit.core.control.event_file import EventLog, lines_of, read_lines
from edgesplit.core.control.replay import decisions, replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.plain_data import plain_form
from edgesplit.core.policies.checked import bare, checked
from edgesplit.core.policies.learning import after, is_followed, learns
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.published import PUBLISHED

V = chain(VGG)
NAMES = [*PUBLISHED, "random"]
each = pytest.mark.parametrize("name", NAMES)


def policy_of(name):
    return policy_named(name, V.names)


@each
def test_it_runs_in_a_control_loop_and_its_recording_is_played_to_the_same_end(name):
    state, actions = begin(VGG, V, GOAL, checked(policy_of(name)), Settings(), 0.0)
    world = World(V, ((3.0, throttled(V)),), pause_s=0.1, prepare_s=0.1)
    run = simulate((state, actions), world, 8.0, np.random.default_rng(0))
    steps = replay(state, run.events)
    entries = tuple(zip(run.events, (actions for _, actions in steps), strict=True))
    half = len(entries) // 2
    middle = steps[half - 1][0]
    back = read_lines(lines_of(EventLog("0.1.0", "5e55", "w0", name, middle, entries[half:])))
    assert bare(back.start.policy) == bare(middle.policy)
    assert all(one.is_same for one in decisions(back))


@each
def test_what_it_has_learned_is_plain_data_and_equal_values_are_equal(name):
    policy = policy_of(name)
    if not learns(policy):
        assert after(policy, VGG, V, ()) is policy
        return
    for number in range(3):
        timings = request(started().active, throttled(V), 0.1 * (number + 1)).timings
        policy = policy.after(VGG, V, timings)
    assert is_dataclass(policy)
    plain = plain_form(type(policy))
    assert plain.decode(json.loads(json.dumps(plain.encode(policy)))) == policy
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert policy != policy_of(name)


def test_those_that_try_plans_out_say_so():
    assert {name for name in NAMES if is_followed(policy_of(name))} == {"ans", "random"}
