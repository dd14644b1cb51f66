"""EdgeSplit on the embedded cluster: results, plans, records, bad input, threads, a clean end."""

import os
import subprocess
import sys
import tempfile
import threading
import time

import psutil
import pytest
import torch
from cluster_models import TwoHeads
from waiting import explained

from edgesplit import Config, EdgeSplit, Emulation, Goal, InfeasibleGoalWarning, LinkShape
from edgesplit.errors import (
    ClosedError,
    GoalError,
    InputError,
    PlanError,
    RequestError,
    UnknownNameError,
)
from experiments.shared.small_net import small_net

PLANS = ["end:0-8", "end:0-3 | edge:3-8", "end:0-0 | edge:0-0 | cloud:0-8"]


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture(scope="module")
def split(model):
    with EdgeSplit(model, runtime="torch") as running:
        yield running


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def whole(model, *args):
    with torch.no_grad():
        return model.eval()(*args)


def test_infer_is_what_the_model_returns(split, model, x):
    assert torch.allclose(split.infer(x), whole(model, x), rtol=1e-5, atol=1e-6)
    assert split.plan.route[0] == "end"
    assert split.plan.n_layers == len(split.graph) == 8


@pytest.mark.parametrize("i", range(9))
def test_every_pair_of_cuts_over_three_tiers_is_bit_identical(split, x, i):
    reference = split.infer_on("end:0-8", x)
    for j in range(i, 9):
        assert torch.equal(split.infer_on(f"end:0-{i} | edge:{i}-{j} | cloud:{j}-8", x), reference)


def test_map_keeps_order_and_takes_other_batch_sizes(split, model):
    batches = [torch.full((1 + k % 2, 3, 32, 32), float(k)) for k in range(12)]
    for batch, y in zip(batches, split.map(batches), strict=True):
        assert torch.allclose(y, whole(model, batch), rtol=1e-5, atol=1e-6)


def test_a_map_given_up_halfway_disturbs_nothing(split, model, x):
    results = split.map([x] * 10)
    next(results)
    results.close()
    assert torch.allclose(split.infer(x), whole(model, x), rtol=1e-5, atol=1e-6)
    assert list(split.map([])) == []


def test_records_have_a_row_per_request_and_say_what_they_are(split, x):
    before = len(split.records())
    split.infer_on(PLANS[1], x)
    frame = split.records()
    row = frame.iloc[-1]
    assert len(frame) == before + 1
    assert row["plan"] == PLANS[1]
    assert row["energy"] == "modelled"
    assert row["emulated"]
    assert row["latency_s"] >= row["compute_s"] > 0
    # 12 W while the end computes and sends; its meter and the wall clock agree within a third.
    assert row["end_energy_j"] >= 12 * row["end_compute_s"] * 0.67


def test_explain_names_the_plan_in_force_and_costs(split, x):
    split.infer(x)
    explanation = explained(split)
    assert str(explanation.running.plan) in str(explanation)
    assert explanation.as_dict()["chosen"]["latency_s"] > 0
    assert len(explanation.trivial) == 3


def test_nan_passes_through(split, x):
    poisoned = x.clone()
    poisoned[0, 0, 0, 0] = float("nan")
    assert split.infer(poisoned).isnan().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.randn(1, 5, 32, 32),), r"rejects these inputs \(float32\[1, 5, 32, 32\]\)"),
        ((torch.randn(1, 3, 32, 32, dtype=torch.float64),), "float64"),
        ((torch.randn(0, 3, 32, 32),), r"\(0, 3, 32, 32\) is empty"),
        ((torch.empty(1, 3, 32, 32, device="meta"),), "use x.cpu()"),
        ((), "rejects these inputs"),
        ((torch.randn(1, 3, 32, 32), torch.randn(1)), "rejects these inputs"),
        (("photo.jpg",), r"rejects these inputs \('photo.jpg'\)"),
        ((torch.randn(1, 3, 32, 32).numpy(),), r"given ndarray .* torch.from_numpy\(x\)"),
    ],
    ids=["channels", "dtype", "empty", "device", "none", "two", "text", "array"],
)
def test_bad_input_is_named_before_anything_is_sent(split, x, arguments, message):
    split.infer(x)
    sent = len(split.records())
    with pytest.raises(InputError, match=message):
        split.infer(*arguments)
    assert len(split.records()) == sent


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("end:0-9", "stops at layer 9"),
        ("cloud:0-8", "must begin at 'end'"),
        ("end:0-3 | fog:3-8", "no tier 'fog'"),
        ("end:0-3 | edge:4-8", "should start at layer 3"),
        ("end", "is not a plan"),
    ],
)
def test_plans_that_do_not_fit_are_refused(split, x, plan, message):
    with pytest.raises(PlanError, match=message):
        split.infer_on(plan, x)


def test_several_threads_at_once(split, model):
    wrong = []

    def work(seed):
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        expected = whole(model, x)
        answers = [split.infer(x) for _ in range(10)]
        wrong.extend(a for a in answers if not torch.allclose(a, expected, rtol=1e-5, atol=1e-6))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_a_second_session_shares_the_cluster_and_leaves_it_running(split, x):
    torch.manual_seed(3)
    model = TwoHeads()
    before = [(k, v.clone()) for k, v in model.state_dict().items()]
    image, bias = torch.randn(2, 3, 16, 16), torch.randn(5)
    with EdgeSplit(model) as second:
        result = second.infer(image, bias=bias)
        expected = whole(model.train(), image, bias)
        assert result.keys() == expected.keys()
        assert torch.allclose(result["logits"], expected["logits"], rtol=1e-5, atol=1e-6)
        assert isinstance(result["features"], tuple)
        n = len(second.graph)
        cut = second.infer_on(f"end:0-{n // 2} | edge:{n // 2}-{n}", image, bias=bias)
        assert torch.equal(cut["features"][1], result["features"][1])
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before)
    split.infer(x)


def test_the_callers_model_is_never_changed(split, x):
    model = small_net().train()
    parameters = [id(p) for p in model.parameters()]
    with EdgeSplit(model) as second:
        second.infer(x)
    assert model.training
    assert [id(p) for p in model.parameters()] == parameters
    assert all(p.requires_grad for p in model.parameters())
    assert not model._forward_hooks


@pytest.mark.parametrize(
    "wrong", [{"goal": {"latency": 1}}, {"config": {"threads": 1}}, {"policy": 5}], ids=str
)
def test_settings_of_another_type_are_named(model, wrong):
    [(name, _)] = wrong.items()
    with pytest.raises(InputError, match=f"^{name} must be a"):
        EdgeSplit(model, **wrong)


def test_a_policy_that_returns_no_plan_is_named(model, x):
    with EdgeSplit(model, policy=lambda *_: "end:0-8") as split:
        with pytest.raises(PlanError, match="the policy returned str, expected a Plan"):
            split.infer(x)
        with pytest.raises(InputError, match="emulation must be a Emulation"):
            split.emulate(5)


def test_a_goal_no_plan_meets_uses_the_fastest_and_says_so(split, model, x):
    with EdgeSplit(model, goal=Goal(latency_limit_s=1e-6)) as hurried:
        with pytest.warns(InfeasibleGoalWarning, match="no plan of Sequential meets"):
            hurried.infer(x)
        assert not hurried.explain().chosen.feasible
        assert "fastest" in hurried.explain().limited_by


def test_the_plan_follows_another_goal_while_requests_flow(split, model, x):
    split.infer(x)
    before = split.goal
    with pytest.raises(GoalError, match="counted marginal in this session"):
        split.set_goal(Goal(boundary="gross"))
    with pytest.raises(UnknownNameError, match="no tier 'moon'"):
        split.set_goal(Goal(memory_bytes={"moon": 1}))
    at_home = Goal(0.0, 0.0, 1.0, memory_bytes={"edge": 0, "cloud": 0})
    try:
        for goal, is_followed in [
            (Goal(1.0, 0.0, 0.0), lambda: len(split.plan.route) > 1),
            (at_home, lambda: split.plan.route == ("end",)),
        ]:
            split.set_goal(goal)
            assert split.goal == goal
            deadline_s = time.monotonic() + 30
            while not is_followed():
                assert time.monotonic() < deadline_s, f"still on {split.plan}"
                assert torch.allclose(split.infer(x), whole(model, x), rtol=1e-5, atol=1e-6)
        assert split.switches[-1][2].startswith("another goal: score ")
    finally:
        split.set_goal(before)


def test_the_plan_follows_a_throttled_link_and_comes_back(split, x):
    """A slow link is left and taken again, while every output stays right."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 9, padding=4) for _ in range(6)])
    photo = torch.randn(1, 3, 224, 224)
    expected = whole(model, photo)
    goal = Goal(0.9, 0.0, 0.1, min_end_layers=1)
    with EdgeSplit(model, goal=goal, runtime="torch") as moving:
        assert torch.allclose(moving.infer(photo), expected, rtol=1e-4, atol=1e-5)
        nominal = moving.emulation
        offloads = moving.plan.route
        assert len(offloads) > 1
        slow = nominal.with_link("end", "edge", LinkShape(400e3, 0.001))
        for emulation, is_there in [
            (slow, lambda: moving.plan.route == ("end",)),
            (nominal, lambda: len(moving.plan.route) > 1),
        ]:
            moving.emulate(emulation)
            deadline_s = time.monotonic() + 30
            while not is_there():
                assert time.monotonic() < deadline_s, f"still on {moving.plan}"
                assert torch.allclose(moving.infer(photo), expected, rtol=1e-4, atol=1e-5)
        reasons = [reason for _, _, reason in moving.switches]
        assert any("end->edge" in reason for reason in reasons)


def test_an_unanswered_request_ends_in_an_error(split, model, x):
    config = Config(timeout_s=0.5, hedge=0.0)
    with EdgeSplit(model, policy="end:0-3 | edge:3-8", config=config) as waiting:
        waiting.infer(x)
        never = waiting.emulation.with_link("end", "edge", LinkShape(10.0, 0.0))
        waiting.emulate(never)
        with pytest.raises(RequestError, match="no answer from edge"):
            waiting.infer(x)


def test_use_after_close_is_an_error_and_nothing_is_left(model, x):
    with EdgeSplit(model, config=Config(emulation=Emulation())) as closing:
        closing.infer(x)
        assert not closing.records()["emulated"].any()
    uses = (lambda: closing.infer(x), closing.open, lambda: next(closing.map([x])))
    for use in (
        *uses,
        lambda: closing.profile,
        closing.explain,
        lambda: closing.metered().__enter__(),
    ):
        with pytest.raises(ClosedError, match="make a new one"):
            use()
    closing.close()
    assert not closing.records().empty


@pytest.fixture
def short_folder():
    """A temp folder whose path leaves room for the Unix sockets below it."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield folder


def test_no_process_outlives_the_last_session(short_folder):
    """In a process of its own, since this one's cluster is shared by the module."""
    script = (
        "import os, psutil, torch, edgesplit\n"
        "from torch import nn\n"
        "edgesplit.EdgeSplit(nn.Linear(4, 4)).infer(torch.randn(1, 4))\n"
        "kept = edgesplit.EdgeSplit(nn.Linear(4, 4))\n"
        "kept.infer(torch.randn(1, 4)); kept.close()\n"
        "print('left', [p.name() for p in psutil.Process().children(recursive=True)])\n"
        "print('set', [name for name in os.environ if name.startswith('RAY_AUTH')])\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    environment["TMPDIR"] = str(short_folder)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "left []" in done.stdout
    assert "set []" in done.stdout, "child processes would inherit a token that nobody needs"
    assert not [name for name in os.listdir(short_folder) if name.startswith("es-")]


def test_ctrl_c_leaves_nothing(short_folder):
    script = (
        "import torch, edgesplit\n"
        "from torch import nn\n"
        "with edgesplit.EdgeSplit(nn.Linear(4, 4)) as split:\n"
        "    split.infer(torch.randn(1, 4)); print('ready', flush=True)\n"
        "    while True: split.infer(torch.randn(1, 4))\n"
    )
    process = psutil.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        children = process.children(recursive=True)
        process.send_signal(2)
        assert process.wait(60) != 0
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not [name for name in os.listdir(short_folder) if name.startswith("es-")]


def test_a_promise_is_counted_in_records_and_told_by_explain(model, x):
    with EdgeSplit(model, goal=Goal(latency_limit_s=100.0, probability=0.9)) as split:
        for _ in range(3):
            split.infer(x)
        assert split.records()["met_limit"].tolist() == [True, True, True]
        promise = split.explain().promise
        assert (promise.met, promise.requests, promise.limit_s) == (3, 3, 100.0)
        assert 0 < promise.expected_s < 100
        split.set_goal(Goal(latency_limit_s=1e-6, probability=0.9))
        split.infer(x)
        promise = split.explain().promise
        assert (promise.met, promise.requests) == (0, 1)
        assert not split.records()["met_limit"].any()
        split.set_goal(Goal())
        assert split.explain().promise is None
        assert split.records()["met_limit"].isna().all()
