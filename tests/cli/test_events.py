"""`edgesplit events` and `edgesplit replay`: what they print, and what they refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.core.control.event_file import EventLog, lines_of
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.policies.policy import score
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

GRAPH = Graph("net", ("a", "b", "c"), (600_000, 400_000, 9000, 400), (10, 10, 10))
PROFILE = Profile(
    (
        Tier("end", (0.1, 0.1, 0.1), Power(5.0, 2.0, 1.5, 1.0)),
        Tier("cloud", (0.01, 0.01, 0.01), Power(9.0, 2.0, 1.5, 1.0)),
    ),
    (Link("end", "cloud", 0.001, 4e7), Link("cloud", "end", 0.001, 4e7)),
)


def recording() -> EventLog:
    started = begin(GRAPH, PROFILE, Goal(), score, Settings(), 0.0)
    run = simulate(started, World(PROFILE), 3.0, np.random.default_rng(0))
    steps = replay(started[0], run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return EventLog("0.1.0", "5e55", "w0", "score", started[0], tuple(entries))


LOG = recording()


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def written(path, log=LOG):
    path.write_text("".join(lines_of(log)), encoding="utf-8")
    return path


def test_a_replay_says_what_is_decided_and_that_it_was_so(tmp_path):
    found = invoke("replay", written(tmp_path / "a.events"))
    assert found.exit_code == 0
    lines = found.output.splitlines()
    assert lines[0].startswith("net, 3 layers, policy score, recorded by EdgeSplit 0.1.0")
    assert "at first being prepared: end:0-0 | cloud:0-3 (first plan: score" in found.output
    assert "put in force end:0-0 | cloud:0-3" in found.output
    assert "keep end:0-0 | cloud:0-3 (it is the best as things are)" in found.output
    assert lines[-1] == "all as it was decided then"


def test_a_replay_as_json(tmp_path):
    found = json.loads(invoke("replay", written(tmp_path / "a.events"), "--json").output)
    assert (found["policy"], found["note"], found["is_same"]) == ("score", "", True)
    first = found["decisions"][0]
    assert first["now"] == first["then"]
    assert first["now"][0]["verb"] == "activate"


def test_another_decision_than_then_is_shown_beside_it(tmp_path):
    entries = [(event, ()) for event, _ in LOG.entries]
    found = invoke("replay", written(tmp_path / "a.events", replace(LOG, entries=tuple(entries))))
    assert "[not so then]" in found.output
    assert "then: no such plan, or other probes" in found.output
    assert "led to something else then" in found.output


def test_a_policy_that_is_a_function_is_said_to_be_missing(tmp_path):
    found = invoke("replay", written(tmp_path / "a.events", replace(LOG, policy="")))
    assert "which no file can hold: decided with `score` instead" in found.output


def test_what_a_stranger_writes_stays_on_its_line(tmp_path):
    log = replace(LOG, edgesplit="\x1b]0;mine\x07\nall as it was")
    found = invoke("replay", written(tmp_path / "a.events", log))
    assert "\x1b" not in found.output
    assert "\\x1b]0;mine\\x07\\nall as it was" in found.output.splitlines()[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no recording of events"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"PK\x03\x04 archive\n", "no recording of events"),
        (b'{"format":"edgesplit events","version":9,"edgesplit":"7"}\n', "has version 9"),
        ("".join(list(lines_of(LOG))[:5]).encode(), "it is cut short"),
    ],
)
def test_a_file_that_is_none_is_one_message(tmp_path, content, message):
    path = tmp_path / "a.events"
    path.write_bytes(content)
    found = invoke("replay", path)
    assert (found.exit_code, found.stdout) == (1, "")
    assert str(path) in found.stderr
    assert message in found.stderr


def test_a_file_that_is_not_there_is_one_message(tmp_path):
    found = invoke("replay", tmp_path / "none")
    assert found.exit_code == 1
    assert "cannot be read" in found.stderr


def test_events_need_a_file_that_can_be_written(tmp_path):
    assert invoke("events").exit_code == 2
    found = invoke("events", "--out", tmp_path / "none" / "a.events")
    assert found.exit_code == 1
    assert "cannot write" in found.stderr


def test_events_of_a_cluster_that_is_not_there_are_one_message(tmp_path):
    out = tmp_path / "a.events"
    found = invoke("events", "--out", out, "--address", "127.0.0.1:1")
    assert found.exit_code == 1
    assert "no Ray head answers at '127.0.0.1:1'" in found.stderr
    assert not out.exists()
