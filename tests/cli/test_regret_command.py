"""`edgesplit regret`: what it prints of a recording, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.core.control.event import Observed
from edgesplit.core.control.event_file import EventLog, lines_of
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.policies.policy import score
from edgesplit.core.policies.published import PUBLISHED
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
SLOW = replace(PROFILE, links=tuple(replace(link, bytes_per_s=4e5) for link in PROFILE.links))


def recording(until_s=30.0, goal=Goal()) -> EventLog:  # noqa: B008
    started = begin(GRAPH, PROFILE, goal, score, Settings(), 0.0)
    world = World(PROFILE, ((10.0, SLOW), (20.0, PROFILE)), pause_s=0.1)
    run = simulate(started, world, until_s, np.random.default_rng(0))
    steps = replay(started[0], run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return EventLog("0.1.0", "5e55", "w0", "score", started[0], tuple(entries))


LOG = recording()


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "a.events", LOG)


def written(path, log):
    path.write_text("".join(lines_of(log)), encoding="utf-8")
    return path


def test_every_policy_has_its_row_between_what_ran_and_the_yardsticks(path):
    found = invoke("regret", path)
    assert (found.exit_code, found.stderr) == (0, "")
    lines = found.output.splitlines()
    assert lines[0].startswith("net, policy score: ")
    names = [line.split("  ")[0].strip() for line in lines[3:] if " J " in line[:80]]
    assert names[0] == "as run"
    assert names[-2:] == ["best static", "clairvoyant"]
    expected = {"score", "fastest", "end-only", "cloud-only", *PUBLISHED}
    assert expected >= set(names[1:-2]) >= {"score", "fastest", "end-only", "cloud-only"}
    assert "measured" in lines[3]
    assert "which knows what it will meet, would have saved" in found.output
    assert "all else is modelled" in found.output


def test_columns_are_aligned(path):
    lines = invoke("regret", path).output.splitlines()
    head, *rows = [line for line in lines[2:] if "  along" in line or " J " in line[:80]]
    ends = head.index("along") - 2
    assert {line[ends : ends + 2] for line in rows} == {"  "}
    assert {line[ends - 1] for line in rows} <= {")", "%", "d"}


def test_the_same_as_json(path):
    told = json.loads(invoke("regret", path, "--json").output)
    assert told["graph"] == "net"
    assert told["policy"] == "score"
    assert told["ran"]["requests"] == told["requests"] > 100
    assert told["clairvoyant"]["saved"]["share"] >= 0
    low, high = told["clairvoyant"]["saved"]["low"], told["clairvoyant"]["saved"]["high"]
    assert low <= told["clairvoyant"]["saved"]["share"] <= high
    scores = [row["mean"]["score"] for row in told["shadows"]]
    assert scores == sorted(scores)
    again = json.loads(invoke("regret", path, "--json").output)
    assert again == told


def test_only_the_last_seconds_are_looked_at(path):
    whole = json.loads(invoke("regret", path, "--json").output)
    part = json.loads(invoke("regret", path, "--json", "--last", "8s").output)
    assert part["requests"] < whole["requests"]
    assert 0 < part["span_s"] <= 8.0
    assert "note: 1 h 00 min were asked for, 29 s are kept" in invoke(
        "regret", path, "--last", "1h"
    ).output.replace("30 s", "29 s")


def test_a_limit_has_a_column(tmp_path):
    log = recording(12.0, Goal(latency_limit_s=0.2))
    found = invoke("regret", written(tmp_path / "a.events", log))
    head = next(line for line in found.output.splitlines() if "along" in line)
    assert " late " in head


def test_few_requests_have_no_interval(tmp_path):
    found = invoke("regret", written(tmp_path / "a.events", recording(4.0)))
    assert "too few requests for intervals" in found.output
    assert "~ " in found.output


def test_requests_that_are_left_out_are_told(tmp_path):
    entries = list(LOG.entries)
    number = next(n for n, (event, _) in enumerate(entries) if isinstance(event, Observed))
    entries[number] = (Observed(entries[number][0].at_s, ()), ())
    found = invoke("regret", written(tmp_path / "a.events", replace(LOG, entries=tuple(entries))))
    assert "left out: 1 finished by the program that called" in found.output


def test_a_recording_without_requests_is_one_message(tmp_path):
    log = replace(LOG, entries=LOG.entries[:1])
    found = invoke("regret", written(tmp_path / "a.events", log))
    assert (found.exit_code, found.stdout) == (1, "")
    assert "no request came back as planned in that time" in found.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--last", "soon"), "'soon' is no time above 0, such as 90s, 15m or 1h"),
        (("--last", "0"), "is no time above 0"),
        (("--last", "-3m"), "is no time above 0"),
        (("--session", "5e55"), "no --address, --session or --workload"),
    ],
)
def test_wrong_usage(path, options, message):
    found = invoke("regret", path, *options)
    assert found.exit_code == 2
    assert message in " ".join(found.stderr.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1.5h", 5400.0), ("15 m", 900.0), ("2d", 172_800.0)]
)
def test_times(text, seconds):
    from edgesplit.cli.options import Duration

    assert Duration().convert(text, None, None) == seconds


def test_a_file_that_is_not_there_and_a_cluster_that_is_not_there_are_one_message(tmp_path):
    found = invoke("regret", tmp_path / "none")
    assert (found.exit_code, "cannot be read" in found.stderr) == (1, True)
    found = invoke("regret", "--address", "127.0.0.1:1")
    assert found.exit_code == 1
    assert "no Ray head answers at '127.0.0.1:1'" in found.stderr
