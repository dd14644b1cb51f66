"""The events of a real session: written by `edgesplit events`, played again to the same end."""

import torch
from click.testing import CliRunner
from inside_session import loop_state, workload_of

from edgesplit import Config, EdgeSplit
from edgesplit.cli import main
from edgesplit.core.control.event import GoalChanged, Observed, Ready
from edgesplit.core.control.event_file import read_lines
from edgesplit.core.control.replay import decisions, replay
from edgesplit.core.goal import Goal
from edgesplit.core.plain_data import plain_form
from edgesplit.core.plan import plan_along
from experiments.shared.small_net import small_net

X = torch.zeros(1, 3, 32, 32)
CONFIG = Config(tiers=("end", "cloud"), threads=1, runtimes=("torch",))


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_events_of_a_session_are_played_to_the_state_that_it_was_in(tmp_path):
    out = tmp_path / "session.events"
    with EdgeSplit(small_net(), config=CONFIG) as split:
        for _ in range(20):
            split.infer(X)
        split.set_goal(Goal(0.0, 0.0, 1.0))
        split.wait_for_plan()
        split.infer(X)
        state, count = loop_state(split)
        written = invoke("events", "--out", out)
    assert written.exit_code == 0, written.stderr
    with out.open(encoding="utf-8") as lines:
        log = read_lines(lines)
    events = [event for event, _ in log.entries]
    assert {Ready, Observed, GoalChanged} <= {type(event) for event in events}
    ended = replay(log.start, events[:count])[-1][0]
    plain = plain_form(type(state))  # NaN, an accuracy that is not known, is not equal to itself
    assert plain.encode(ended) == plain.encode(state)
    assert all(one.is_same for one in decisions(log))
    assert "all as it was decided then" in invoke("replay", out).output


def test_of_several_workloads_one_is_named_and_a_users_policy_is_told(tmp_path):
    def on_end(graph, profile, goal):
        return plan_along(["end"], [], len(graph))

    out = tmp_path / "session.events"
    with EdgeSplit(small_net(), policy=on_end, config=CONFIG) as split:
        split.infer(X)
        first = workload_of(split).id
        split.infer(X[:, :, :16, :16].clone())
        unclear = invoke("events", "--out", out)
        wrong = invoke("events", "--out", out, "--workload", "none")
        named = invoke("events", "--out", out, "--workload", first)
    assert unclear.exit_code == wrong.exit_code == 1
    assert f"--workload {first}" in unclear.stderr
    assert "no such workload" in wrong.stderr
    assert named.exit_code == 0, named.stderr
    played = invoke("replay", out).output
    assert "its policy was a function of the user's" in played
