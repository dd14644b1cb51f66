"""Published and learning policies in a real session: by name, in status, events and regret."""

import json
from dataclasses import dataclass

import torch
from click.testing import CliRunner
from inside_session import loop_state
from learner_cases import TriesOut
from waiting import until

from edgesplit import Config, EdgeSplit
from edgesplit.cli import main
from edgesplit.core.policies.checked import bare
from experiments.shared.small_net import small_net

X = torch.zeros(1, 3, 32, 32)
CONFIG = Config(tiers=("end", "edge"), threads=1, runtimes=("torch",), interval_s=0.05)
PLANS = ("end:0-8", "end:0-0 | edge:0-8")


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Turns(TriesOut):
    """Each of two plans once, then the one that took least."""

    plans: tuple[str, ...] = PLANS


def test_a_published_policy_by_its_name_learns_and_is_in_status_events_and_regret(tmp_path):
    out = tmp_path / "session.events"
    with EdgeSplit(small_net(), policy="ans", config=CONFIG) as split:
        for _ in range(60):
            split.infer(X)
        learned = bare(loop_state(split)[0].policy.policy)
        shown = invoke("status")
        told = json.loads(invoke("status", "--json").output)
        live = invoke("regret", "--last", "1h", "--json")
        written = invoke("events", "--out", out)
    assert learned.frame > 30
    assert "by policy ans, in force for" in shown.output
    assert {one["policy"] for s in told["sessions"] for one in s["workloads"]} == {"ans"}
    assert (live.exit_code, written.exit_code) == (0, 0), live.stderr + written.stderr
    found = json.loads(live.output)
    assert found["policy"] == "ans"
    assert found["requests"] > 30
    assert found["clairvoyant"]["mean"]["score"] <= found["ran"]["mean"]["score"]
    assert {"score", "ans", "dads", "end-only"} <= {row["policy"] for row in found["shadows"]}
    assert "all as it was decided then" in invoke("replay", out).output
    assert json.loads(invoke("regret", out, "--json").output)["graph"] == found["graph"]


def test_a_users_policy_that_tries_plans_out_has_them_run():
    with EdgeSplit(small_net(), policy=Turns(), config=CONFIG) as split:
        split.infer(X)

        def ran_all():
            split.infer(X)
            return {str(plan) for _, plan, _ in split.switches} == set(PLANS)

        until(ran_all)
        reasons = [reason for _, _, reason in split.switches[1:]]
    assert all(reason.startswith("as the policy chose: ") for reason in reasons)


def test_an_unknown_policy_is_told_with_the_names_there_are(tmp_path):
    found = invoke("plan", "mobilenet_v2", "--policy", "neurosurgeon")
    assert found.exit_code == 1
    assert "no policy 'neurosurgeon'; there are " in found.stderr
    assert "dads" in found.stderr
    assert "end-only" in found.stderr
