"""The tail experiment: stated devices, passages by hand, hedges, yardsticks, files, options."""

import csv
import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from click.testing import CliRunner

from edgesplit import Config
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan, plan_along
from edgesplit.errors import ConfigError, EdgeSplitError
from experiments.shared.answer import Answer, Figures
from experiments.shared.resume import Journal
from experiments.shared.stated_devices import MODELS, PI_S, graph_of, profile_of
from experiments.shared.trace import MBIT, Trace
from experiments.shared.trace_class import generated
from experiments.tail.__main__ import main
from experiments.tail.hindsight import chosen_plans, predicted_s
from experiments.tail.passage import Course, Noise, drawn_noise
from experiments.tail.played import Played, Turns, played, played_by, row_of, with_hedge
from experiments.tail.replay import replay_trace
from experiments.tail.replayed import (
    CLAIRVOYANT,
    HEDGED,
    LATENCY,
    PROBABILITIES,
    UNHEDGED,
    Pace,
    compared,
    course_of,
    keeping,
    promise_rows,
)
from experiments.tail.text import tail_targets
from experiments.tail.yardsticks import best_fixed, clairvoyant, fixed

STILL = Noise(*(np.ones(400) for _ in fields(Noise)))
STEADY = Trace("steady", (0.0,), (1e6,), 400.0)
PACE = Pace(1.0, 0)


def faded(from_s, until_s, rate=1e6, low=0.0):
    """A steady link, but for a while."""
    return Trace("faded", (0.0, from_s, until_s), (rate, low, rate), 400.0)


@pytest.mark.parametrize(
    ("model", "giga_macs", "mega_weights", "blocks"),
    [
        ("mobilenet_v2", 0.30, 3.5, 20), ("resnet50", 4.1, 25.6, 18), ("vgg16", 15.5, 138.4, 16),
        ("alexnet", 0.71, 61.1, 8), ("vit_b_16", 17.6, 86.6, 14),
        ("t5_small", 4.2, 60.5 + 16.4, 13),  # the table of its words at both ends
    ],
)  # fmt: skip
def test_the_stated_models_are_the_published_ones(model, giga_macs, mega_weights, blocks):
    graph = graph_of(model)
    assert sum(graph.macs) / 1e9 == pytest.approx(giga_macs, rel=0.03)
    assert sum(graph.weight_bytes) / 4e6 == pytest.approx(mega_weights, rel=0.03)
    assert len(graph) == blocks
    _, profile = profile_of(model, 1e6)
    assert sum(profile.tier("end").layer_s) == pytest.approx(PI_S[model])


def test_a_model_without_a_table_is_refused():
    with pytest.raises(ConfigError, match="no table of 'lenet'"):
        graph_of("lenet")


@pytest.mark.parametrize("model", MODELS)
def test_over_a_steady_link_a_passage_takes_what_the_cost_model_says(model):
    course = course_of(model, STEADY)
    costs = CostModel(course.graph, course.profile, LATENCY)
    n = len(course.graph)
    plans = [
        plan_along(("end",), (), n),
        plan_along(("end", "edge"), (3,), n),
        plan_along(("end", "edge", "cloud"), (0, 0), n),
        plan_along(("end", "edge", "cloud"), (2, 7), n),
    ]
    for plan in plans:
        done = course.passage(plan, 1.0, STILL.of(0))
        assert float(done.back_s) - 1.0 == pytest.approx(costs.cost(plan).latency_s)
        at_s = np.array([1.0, 2.0])
        one = predicted_s(course.graph, course.profile, STEADY, plan, at_s)
        assert one == pytest.approx(costs.cost(plan).latency_s)
        joules = fixed(course, plan, at_s, Noise(*(np.ones(2),) * 5), LATENCY).end_j
        assert joules == pytest.approx(costs.cost(plan).end_energy_j)


def test_the_loop_takes_the_plan_of_least_latency_and_stays_with_it():
    course = course_of("mobilenet_v2", STEADY)
    run = replay_trace(course, np.arange(100.0) + 0.5, STILL, LATENCY, 0.05)
    best = best_fixed(course, course.every_plan(), np.array([0.5]), STILL.of(0), LATENCY)
    assert {str(one.plan) for one in run.requests} == {str(best.plan)}
    assert run.switches == 0
    assert not any(one.hedged for one in run.requests)
    assert run.requests[5].latency_s == pytest.approx(float(best.latency_s[0]))


def test_a_hedge_bounds_what_a_fade_does_to_a_request():
    """The link breaks off in the middle of a payload, for 20 s."""
    course = course_of("mobilenet_v2", faded(50.55, 70.0, rate=2e6))
    at_s = np.arange(60.0) + 0.5
    without = replay_trace(course, at_s, STILL, LATENCY, 0.0).requests
    with_ = replay_trace(course, at_s, STILL, LATENCY, 0.05).requests
    assert not any(one.hedged or one.taken_back for one in without)
    assert max(one.latency_s for one in without) > 2.0
    assert max(one.latency_s for one in with_) < 0.35 + PI_S["mobilenet_v2"]
    hit = with_[50]
    assert hit.taken_back
    assert not hit.hedged
    # What was sent before is paid for, and all layers.
    assert hit.end_j == pytest.approx(12 * hit.latency_s, rel=0.01)


def test_a_hedge_that_loses_changes_no_answer_time():
    """A short dip, before any of it has left: the transfer goes on and is the first to finish."""
    course = course_of("resnet50", faded(50.45, 51.2, rate=2e6))
    run = replay_trace(course, np.arange(55.0) + 0.5, STILL, LATENCY, 0.05)
    lost = [one for one in run.requests if one.hedged]
    done = course.passage(run.requests[50].plan, 50.5, STILL.of(50))
    assert lost == [run.requests[50]]
    assert not lost[0].won
    assert lost[0].latency_s == pytest.approx(float(done.back_s) - 50.5)


def test_a_link_that_breaks_down_is_left_after_two_hedges_and_taken_again_when_it_is_back():
    """A few packets a second for half a minute: what is given up, and a probe now and then."""
    course = course_of("mobilenet_v2", faded(30.5, 60.0, rate=2e6, low=1000.0))
    run = replay_trace(course, np.arange(90.0) + 0.5, STILL, LATENCY, 0.05)
    own = [number for number, one in enumerate(run.requests) if one.hedged or one.taken_back]
    assert own in (
        [30, 31],
        [30, 31, 32],  # sent while the plan was being prepared
    )
    routes = [one.plan.route for one in run.requests]
    assert set(routes[33:60]) == {("end",)}
    assert set(routes[75:]) == {routes[0]} != {("end",)}


def test_clairvoyance_beats_every_fixed_plan_request_by_request():
    course = course_of("mobilenet_v2", generated("drive", 100, 4))
    at_s = PACE.times_s(100)
    noise = drawn_noise(100, np.random.default_rng(0))
    least_s, _ = clairvoyant(course, at_s, noise)
    for plan in course.trivial_plans():
        assert (least_s <= course.passage(plan, at_s, noise).back_s - at_s + 1e-12).all()


def test_the_same_seed_gives_the_same_rows():
    trace = generated("subway", 40, 1)
    rows = compared("mobilenet_v2", trace, PACE)
    assert rows == compared("mobilenet_v2", trace, PACE)
    assert [row["requests"] for row in rows] == [40] * 5
    by = {row["approach"]: row for row in rows}
    assert by[CLAIRVOYANT]["mean_s"] <= min(row["mean_s"] for row in rows)
    assert rows != compared("mobilenet_v2", trace, Pace(1.0, 1))


def test_a_promise_is_counted_over_all_traces():
    traces = [generated(name, 30, 0) for name in ("wifi", "bus")]
    rows = list[dict]()
    for level in PROBABILITIES:
        rows += promise_rows(level, {one.name: keeping(level, one, PACE) for one in traces})
    assert [(row["probability"], row["trace"], row["requests"]) for row in rows] == [
        (0.95, "wifi", 30), (0.95, "bus", 30), (0.95, "all", 60),
        (0.99, "wifi", 30), (0.99, "bus", 30), (0.99, "all", 60),
    ]  # fmt: skip
    for row in rows:
        assert 0 <= row["met"] <= 1
        assert row["limit_s"] == 1.25 * PI_S["mobilenet_v2"]
    assert rows[2]["met"] == pytest.approx((rows[0]["met"] + rows[1]["met"]) / 2)


def row(approach, **given):
    values = {"model": "m", "trace": "t", "approach": approach, "requests": 100, "hedged": 0}
    return values | {"mean_s": 1.0, "p99_s": 4.0, "end_energy_j": 10.0} | given


@pytest.mark.parametrize(
    ("hedged", "reached"),
    [
        ({"p99_s": 2.0, "hedged": 5}, [True, True, True, True]),
        ({"p99_s": 2.1, "hedged": 6}, [False, True, False, True]),
        ({"p99_s": 1.5, "mean_s": 1.1, "end_energy_j": 10.4}, [True, False, True, False]),
    ],
)
def test_targets(hedged, reached):
    rows = [row(UNHEDGED), row(HEDGED, **hedged), row(CLAIRVOYANT, p99_s=1.2)]
    assert [target["reached"] for target in tail_targets(rows)] == reached


def test_a_trace_is_cut_or_begun_again():
    trace = Trace("two", (0.0, 2.0), (5.0, 7.0), 3.0)
    longer, shorter = trace.lasting(7.0), trace.lasting(1.5)
    assert (longer.starts_s, longer.length_s) == ((0.0, 2.0, 3.0, 5.0, 6.0), 7.0)
    assert longer.bytes_per_s == (5.0, 7.0, 5.0, 7.0, 5.0)
    assert (shorter.starts_s, shorter.bytes_per_s) == ((0.0,), (5.0,))
    assert longer.sent_bytes(6.5) == trace.sent_bytes(6.5)


def test_the_replay_writes_its_files(tmp_path):
    done = CliRunner().invoke(
        main,
        ["--out", str(tmp_path), "--quick", "--workers", "1", "--promised", "50", "--trace", "bus"],
    )
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["provenance"] == "simulated"
    assert [trace["provenance"] for trace in summary["traces"]] == ["generated, class bus, seed 0"]
    with (tmp_path / "tail.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5
    with (tmp_path / "promise.csv").open() as file:
        assert [line["trace"] for line in csv.DictReader(file)].count("all") == 2
    assert (tmp_path / "tail.png").read_bytes().startswith(b"\x89PNG")
    assert "| mobilenet_v2 | bus | adaptive, hedged |" in (tmp_path / "tail.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trace", "nowhere.csv"], "neither a file nor one of"),
        (["--trace", "bus", "--trace", "bus"], "two traces have one name"),
        (["--minutes", "0"], "--minutes"),
        (["--model", "lenet"], "--model"),
        (["--scene", "moon"], "--scene"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, words, told):
    done = CliRunner().invoke(main, ["--out", str(tmp_path), *words])
    assert done.exit_code != 0
    assert told in done.output


# On a scene


def test_plans_for_a_scene_are_the_best_in_hindsight():
    course = course_of("mobilenet_v2", generated("bus", 60, 0))
    found = chosen_plans(course.graph, course.profile, course.trace, PACE)
    at_s = PACE.times_s(60)
    best = best_fixed(course, course.every_plan(), at_s, Noise(*(np.ones(60),) * 5), LATENCY)
    assert found["best static"] == str(best.plan)
    assert parse_plan(found["best trivial"]).n_layers == 20
    assert len(found[CLAIRVOYANT]) == 60
    assert (np.array(found[CLAIRVOYANT]) <= best.latency_s + 1e-9).all()


def test_what_was_played_is_read_from_the_journal(tmp_path):
    """All passes are there: nothing is opened; rounds and traces are put together."""
    journal = Journal(tmp_path, {}).open()
    traces = [replace(STEADY, name=name) for name in ("one", "two")]
    turns = Turns(("adaptive", "best static"), PACE, 2)
    plans = {"best static": "end:0-2", "best trivial": "end:0-2", CLAIRVOYANT: [0.5, 0.7]}
    for trace in traces:
        journal.append({"kind": "plans", "model": "mobilenet_v2", "trace": trace.name, **plans})
    for number, trace, approach in turns.in_order(traces):
        key = {"kind": "pass", "model": "mobilenet_v2", "trace": trace.name, "round": number}
        one = Played([1.0 + number, 3.0], [1.0, 2.0], hedged=1, failed=number)
        journal.append({**key, "approach": approach, "played": asdict(one)})
    rows = played(None, "mobilenet_v2", traces, turns, journal)
    assert [(row["trace"], row["approach"]) for row in rows] == [
        ("one", "adaptive"), ("one", "best static"), ("one", CLAIRVOYANT),
        ("two", "adaptive"), ("two", "best static"), ("two", CLAIRVOYANT),
        ("all", "adaptive"), ("all", "best static"), ("all", CLAIRVOYANT),
    ]  # fmt: skip
    assert (rows[0]["requests"], rows[0]["mean_s"], rows[0]["longest_s"]) == (4, 2.25, 3.0)
    assert (rows[0]["hedged"], rows[0]["failed"], rows[1]["plan"]) == (2, 1, "end:0-2")
    assert (rows[6]["requests"], rows[7]["plan"], rows[8]["requests"]) == (8, "", 4)
    assert (rows[8]["mean_s"], rows[8]["end_energy_j"]) == (pytest.approx(0.6), None)


def test_every_turn_begins_with_another_approach():
    turns = Turns(("a", "b"), PACE, 2)
    order = [(number, trace.name, who) for number, trace, who in turns.in_order([STEADY] * 2)]
    assert [who for _, _, who in order] == ["a", "b", "b", "a", "b", "a", "a", "b"]


def test_what_came_back_is_counted():
    came = Figures(1.0, 2.0, 3.0)
    answers = [
        Answer("p", came),
        Answer("p", None, "lost"),
        Answer("p", came, why="edge late", hedged="end won"),
        Answer("p", came, hedged="end lost"),
        Answer("p", came, why="edge late"),
        Answer("p", came, why="edge silent"),
    ]
    one = played_by(answers, 3)
    assert (one.hedged, one.hedges_won, one.taken_back, one.failed_over) == (2, 1, 1, 1)
    assert (one.switches, one.failed) == (3, 1)
    assert row_of([one, one])["end_energy_j"] == 2.0
    with pytest.raises(EdgeSplitError, match="the last: lost"):
        played_by(answers[1:2], 0)


def test_without_a_share_nothing_is_run_twice_and_tiers_fail_over():
    config = with_hedge(replace(Config(), fallback="none"), 0.0)
    assert config.fallback == "anywhere"
    assert getattr(config, "hedge", 0.0) == 0.0


def test_a_goal_of_latency_alone():
    assert Goal(0.0, 0.0, 1.0) == LATENCY
    assert Course(*profile_of("vgg16", MBIT), STEADY).rest_s(0) == pytest.approx(PI_S["vgg16"])
