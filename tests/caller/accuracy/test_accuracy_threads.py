"""What is measured and watched beside requests, whatever goes wrong there; without a cluster."""

import itertools
import math
import re
import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgesplit import AccuracyWarning, Config, Goal
from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyBenchmark
from edgesplit.caller.accuracy.accuracy_watch import AccuracyWatch
from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.calls import why_not_along
from edgesplit.caller.settled_thread import SettledThread
from edgesplit.cluster.actors.workload import Activation
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.payload_codec import CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import ClosedError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.transport.channel import Outcome

TIERS, CODECS = ("end", "cloud"), ("int8", "int8+zstd")
GRANTED = Goal(end_energy=0.0, total_energy=0.0, latency=1.0, max_accuracy_loss=0.1)
X = torch.randn(1, 512, generator=torch.Generator().manual_seed(5))
ADDRESSES = dict.fromkeys(TIERS, "127.0.0.1:1")


class Session:
    """That all is told to: the scheduler believes what it is told."""

    calibrates = False

    def __init__(self):
        self.tiers = SimpleNamespace(entry="end")
        self.planning = self
        self.workloads, self.told = {}, []

    def threads(self, tier):
        return 1

    def codec_speeds(self, workload_id, asked, tiers, goes_on):
        speeds = tuple(CodecSpeed(codec, 0.0, 0.0, 0.0, 0.0) for codec in asked.codecs)
        return tuple((tier, speeds) for tier in tiers)

    def current_profile(self, workload_id):
        return self.workloads[workload_id].profile

    known_profile = current_profile

    def tell_codecs(self, workload_id, codecs, speeds):
        self.told.append({one.codec: one.loss for one in codecs})

    def tell_runtime(self, workload_id, offered):
        self.told.append((offered.tier, offered.runtime, offered.times.loss))


def workload(name="w", model=None, goal=GRANTED, rows=()):
    """Whose payloads take seconds on the link, and its layers much longer on the first tier."""
    model = model or nn.Sequential(nn.Linear(512, 4), nn.Softmax(dim=1))
    exported = export(model.eval(), (X,))
    payloads = payload_forms(exported.program, exported.flatten((X,)))
    graph, power = graph_of("m", exported.program, payloads), Power(1, 1, 1, 1)
    times = tuple(replace_length(one, len(graph)) for one in rows)
    profile = Profile(
        (
            Tier("end", (9.0,) * len(graph), power),
            Tier("cloud", (1.0,) * len(graph), power, layer_times=times),
        ),
        (Link("end", "cloud", 0.0, 1e3), Link("cloud", "end", 0.0, 1e3)),
    )
    shipped = SimpleNamespace(exported=exported)
    made = ActiveWorkload(name, shipped, graph, None, profile, goal, ADDRESSES, fails_over=False)
    made.activate(Activation(1, parse_plan(f"end:0-{len(graph)}"), "", 0.0, ADDRESSES))
    return made


def replace_length(times, length):
    return LayerTimes(times.runtime, times.layer_s * length, loss=times.loss)


def pairs(count=60, label=None):
    """Examples with the labels that the model gives, or with that one."""
    random = torch.Generator().manual_seed(7)
    return [(torch.randn(512, generator=random), label) for _ in range(count)]


class Measuring:
    """A session's benchmark at work on some workloads."""

    def __init__(self, examples, *workloads, config=None, fixed=None):
        self.session = Session()
        self.session.workloads = {one.id: one for one in workloads}
        config = config or Config(codecs=CODECS)
        self.benchmark = AccuracyBenchmark(self.session, config, examples, fixed)
        for one in workloads:
            self.benchmark.add(one, CallArguments((X,), {}))

    def __enter__(self):
        self.benchmark.start()
        return self.benchmark

    def __exit__(self, *raised):
        self.benchmark.stop()


def test_codecs_that_round_alike_are_measured_once():
    one = workload()
    with Measuring(Examples(pairs()), one) as benchmark:
        assert benchmark.wait("w", 60)
        assert len(benchmark.losses("w")) == 1
    losses = {sizes.codec: sizes.loss[0] for sizes in one.profile.codecs}
    assert losses["int8"] == losses["int8+zstd"] < 0.1


def test_of_a_fixed_plan_its_own_codec_is_measured_and_no_other():
    one, plan = workload(), parse_plan("end:0-1 |int8-channel| cloud:1-2")
    with Measuring(Examples(pairs()), one, fixed=plan) as benchmark:
        assert benchmark.wait("w", 60)
        assert set(benchmark.losses("w")) <= {("int8-channel", 1)}
    plan = parse_plan("end:0-0 |float16| cloud:0-2")
    other = workload()
    with Measuring(Examples(pairs()), other, fixed=plan) as benchmark:
        assert benchmark.wait("w", 60)
        assert set(benchmark.losses("w")) == {("float16", 0)}
    assert other.profile.codec("float16").loss[0] is not None


def test_of_a_fixed_plan_that_loses_too_much_the_user_is_told():
    one, plan = workload(), parse_plan("end:0-0 |int4-channel| cloud:0-2")
    spoilt = pairs(label=5)  # no class of the model: nothing can be shown to be kept
    with (
        pytest.warns(AccuracyWarning, match=r"is used without int4-channel: at cut 0 that costs"),
        Measuring(Examples(spoilt[:9]), one, fixed=plan) as benchmark,
    ):
        assert benchmark.wait("w", 60)


def test_what_rounds_alike_is_given_up_together_and_at_once():
    one, measuring = workload(), Measuring(Examples(pairs()), workload())
    measuring.session.workloads["w"] = one
    measuring.benchmark.add(one, CallArguments((X,), {}))
    with measuring as benchmark:
        assert benchmark.wait("w", 60)
    with pytest.warns(AccuracyWarning, match=r"int8\+zstd is not used .*: it drifts"):
        benchmark.give_up("w", ("int8+zstd", 0), "it drifts")  # its thread has ended
    assert measuring.session.told[-1] == {}
    assert one.profile.codecs == ()


def test_a_workload_that_is_forgotten_while_it_is_measured_ends_no_other_ones():
    begun, forgotten = threading.Event(), threading.Event()

    class Items:
        def __len__(self):
            return 60

        def __getitem__(self, number):
            if number == 30:
                begun.set()
                assert forgotten.wait(60)
            return pairs()[number][0]

    first, second = workload("first"), workload("second")
    with Measuring(Examples(Items()), first, second) as benchmark:
        assert begun.wait(60)
        benchmark.drop("first")
        forgotten.set()
        assert benchmark.wait("second", 60)
        assert benchmark.losses("second")


def raising(outputs, targets):
    raise ZeroDivisionError("of the user's")


class Breaks:
    def __len__(self):
        return 60

    def __getitem__(self, number):
        if number == 50:
            raise OSError("no such picture")
        return torch.randn(512)


@pytest.mark.parametrize("action", ["default", "error"])
@pytest.mark.parametrize(
    ("examples", "says"),
    [
        (Examples(pairs(label=1), raising), "metric.*ZeroDivisionError.*of the user's"),
        (Examples(Breaks()), "could not be read.*no such picture"),
        (Examples(pairs(label="cat")), "a label is a class's number, given 'cat'"),
        (Examples(pairs(label=7)), "60 examples the model itself answers none"),
    ],
)
def test_what_the_users_examples_raise_is_said_and_lossless_codecs_are_used(examples, says, action):
    one = workload()
    config = Config(codecs=("zstd", *CODECS))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter(action)
        with Measuring(examples, one, config=config) as benchmark:
            assert benchmark.wait("w", 60)
            benchmark.goal_changed()
            assert benchmark.wait("w", 60)
            assert benchmark.losses("w") == {}
    said = [str(one.message) for one in told if one.category is AccuracyWarning]
    assert len(said) == (1 if action == "default" else 0)
    assert all(re.search(says, text) for text in said)
    codecs = {sizes.codec: sizes.loss[0] for sizes in one.profile.codecs}
    assert codecs == {"zstd": 0.0, "int8": None, "int8+zstd": None}


@pytest.mark.parametrize("worth", [math.nan, math.inf])
def test_a_loss_that_is_no_number_grants_nothing(worth):
    one = workload()
    examples = Examples(pairs(label=1), lambda outputs, targets: worth)
    with Measuring(examples, one) as benchmark:
        assert benchmark.wait("w", 60)
        assert benchmark.losses("w")
    assert {sizes.loss[0] for sizes in one.profile.codecs} == {1.0}


class Draws(nn.Module):
    def forward(self, x):
        return torch.softmax(x[:, :4] + torch.rand(4), dim=1)


def test_a_model_that_draws_has_no_loss_that_could_be_granted():
    lossy = LayerTimes("onnx-int8", (1e-6,), loss=math.inf)
    one = workload(model=Draws(), rows=[lossy])
    measuring = Measuring(Examples(pairs()), one)
    measuring.benchmark.send = lambda *args: pytest.fail("nothing is to be sent")
    with measuring as benchmark:
        assert benchmark.wait("w", 60)
    assert one.profile.tier("cloud").loss_in("onnx-int8") == 1.0
    assert {sizes.loss[0] for sizes in one.profile.codecs} <= {1.0, None}


def test_what_was_not_measured_to_the_end_is_measured_again_for_a_larger_grant():
    """Every tenth example of the first fifty is worth less after rounding: a loss of 2 % of all."""
    one, calls = workload(goal=replace(GRANTED, max_accuracy_loss=0.02)), itertools.count()

    def metric(outputs, targets):  # of the exact answer, then of the other
        number, is_other = divmod(next(calls) % (2 * 250), 2)
        return 0.0 if is_other and number < 50 and number % 10 else 1.0

    def count():
        [loss] = benchmark.losses("w").values()
        return loss.count

    with Measuring(Examples(pairs(250, label=1), metric), one) as benchmark:
        assert benchmark.wait("w", 60)
        assert count() == 50
        calls = itertools.count()
        one.set_goal(replace(GRANTED, max_accuracy_loss=0.9))
        benchmark.goal_changed()
        assert benchmark.wait("w", 60)
        assert count() == 250


def test_nothing_begins_once_it_is_closed():
    thread = SettledThread("test", False)
    thread.close()
    with pytest.raises(ClosedError):
        thread.submit(lambda: 1, 1)


# Watching


class Bears:
    """A benchmark that bears so much of a part, and notes what is given up."""

    def __init__(self, **most):
        self.most, self.gone = most, []

    def borne(self, workload_id, part):
        return self.most.get(part[0])

    def give_up(self, workload_id, part, why):
        self.gone.append((part, why))


class AtOnce:
    """Computes what it is given before submit() returns."""

    def __init__(self, *settings, **more):
        pass

    def submit(self, function, threads):
        function()

    def close(self):
        pass


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr("edgesplit.caller.accuracy.accuracy_watch.SettledThread", AtOnce)


def watching(bears):
    return AccuracyWatch(Session(), bears, 1.0, False)


def watched(bears, one, plan, answers):
    """Requests that are all compared: answered rightly or not."""
    watch = watching(bears)
    exported = one.shipped.exported
    exact = exported.program.segment(0, len(exported.program))([X])
    for is_right in answers:
        watch.answered(one, parse_plan(plan), [X], exact if is_right else [exact[0].flip(1)])


CODED = "end:0-0 |int8| cloud:0-2"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("wrong", "most", "is_given_up"),
    [
        (60, 0.1, True),
        (0, 0.1, False),
        (10, 0.2, False),  # as often as on the examples: nothing has drifted
        (1, 0.005, False),  # one of twenty is no proof
    ],
)
def test_only_what_is_surely_more_than_borne_is_given_up(wrong, most, is_given_up):
    bears = Bears(int8=most)
    every = 60 // max(1, wrong)
    watched(bears, workload(), CODED, [k % every > 0 or not wrong for k in range(60)])
    assert {part for part, _ in bears.gone} == ({("int8", 0)} if is_given_up else set())


@pytest.mark.usefixtures("at_once")
def test_a_lossy_runtime_is_watched_too():
    one = workload(rows=[LayerTimes("onnx-int8", (1e-6,), loss=0.01)])
    bears = Bears(**{"onnx-int8": 0.1})
    watched(bears, one, "end:0-0 | cloud[onnx-int8]:0-2", [False] * 60)
    assert bears.gone[0][0] == ("onnx-int8", "cloud")


@pytest.mark.usefixtures("at_once")
def test_a_plan_of_the_users_own_that_is_not_granted_gives_nothing_up():
    watch = watching(Bears())
    watch.answered(workload(), parse_plan(CODED), [X], [X])
    assert watch.loss("w", parse_plan(CODED)) is None


@pytest.mark.usefixtures("at_once")
def test_a_comparison_that_fails_is_not_the_last_one():
    watch, one = watching(Bears(int8=0.1)), workload()
    for given in (X[:, :3], X):
        watch.answered(one, parse_plan(CODED), [given], [X[:, :4]])
    assert watch.loss("w", parse_plan(CODED)).count == 1


def test_a_request_that_is_answered_while_all_ends_is_answered():
    watch = watching(Bears(int8=0.1))
    watch.close()
    watch.answered(workload(), parse_plan(CODED), [X], [X])


@pytest.mark.usefixtures("at_once")
def test_what_is_counted_of_plans_is_bounded():
    watch, one = watching(Bears(int8=0.1)), workload()
    plans = [parse_plan(f"end:0-0 |int8| t{number}:0-2") for number in range(70)]
    tiers = [replace(one.profile.tiers[1], name=plan.stages[1].tier) for plan in plans]
    one.profile = replace(one.profile, tiers=(one.profile.tiers[0], *tiers), links=())
    for plan in plans:
        watch.answered(one, plan, [X], [X[:, :4]])
    assert [watch.loss("w", plan) is None for plan in (plans[0], plans[-1])] == [True, False]


# What a runtime's loss is measured on


def timing(**given):
    made = {"tier": "cloud", "start": 0, "stop": 2, "runtime": "onnx-int8", **given}
    return TierTiming(
        queue_s=0.0, compute_s=0.0, own_s=0.0, hop_s=0.0, gap_s=0.0, sent_bytes=1, reply_bytes=1,
        energy_j=0.0, **made,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome([], (timing(),)), ""),
        (Outcome([], (timing(runtime="torch"),)), "cloud used torch instead of onnx-int8"),
        (Outcome([], (timing(failed_over="edge silent"),)), "edge silent at cloud"),
        (Outcome([], (timing(hedged="won"),)), "it was hedged at cloud"),
        (Outcome([], (), why="all are lost"), "all are lost"),
    ],
)
def test_an_answer_that_another_runtime_made_is_no_measurement(outcome, says):
    assert why_not_along(parse_plan("cloud[onnx-int8]:0-2"), outcome) == says
