"""What the demo makes of its requests: adaptation times, means, the summary. No cluster."""

import json
from dataclasses import replace

import pytest

from edgesplit.core.plan import parse_plan
from edgesplit.demo.outcome import DemoRequest, ModelRun, Pass, PlanSwitch, summary
from edgesplit.demo.picture import draw_timeline
from edgesplit.demo.scenario import _timeline
from edgesplit.demo.view import conclusion, remarks

CLOUD, EDGE = parse_plan("end:0-3 | edge:3-5 | cloud:5-9"), parse_plan("end:0-3 | edge:3-9")
CHANGED_S = {"nominal": 0.0, "throttled": 1.9, "restored": 4.9}


def played(plans, approach="adaptive", failing=()):
    """A pass of 8 requests, one a second; the plan of each by its first letter."""
    named = {"c": CLOUD, "e": EDGE}
    requests = [
        DemoRequest("net", approach, k, link, "cat", float(k), named[letter], error="gone")
        if k in failing
        else DemoRequest(
            "net", approach, k, link, "cat", float(k), named[letter], 0.1, 1.0, 2.0, 1e-7
        )
        for k, (link, letter) in enumerate(zip(_timeline(8), plans, strict=True))
    ]
    return Pass(tuple(requests), CHANGED_S, (PlanSwitch(3.5, CLOUD, EDGE, "slow link"),))


def test_the_link_is_throttled_after_a_quarter_and_restored_after_five_eighths():
    assert list(_timeline(8)) == ["nominal"] * 2 + ["throttled"] * 3 + ["restored"] * 3


@pytest.mark.parametrize(
    ("plans", "throttle", "restore"),
    [
        ("cccceecc", (2.1, 2), (1.1, 1)),
        ("cceeeccc", (0.1, 0), (0.1, 0)),
        ("cccccccc", (None, None), (None, None)),
        ("eeeeeeee", (None, None), (None, None)),  # the link is not used: nothing to adapt to
        ("eeeeccee", (None, None), (None, None)),
    ],
)
def test_adaptation_counts_from_the_change_to_the_first_request_on_a_new_plan(
    plans, throttle, restore
):
    done = played(plans)
    assert done.adaptation("throttled") == pytest.approx(throttle)
    assert done.adaptation("restored") == pytest.approx(restore)


def test_the_summary_has_the_promised_keys():
    run = ModelRun("net", 3.0, played("cccccccc", "static", failing={1}), played("ccceeecc"))
    told = json.loads(json.dumps(summary([run]), allow_nan=False))
    net = told["models"]["net"]
    assert told["emulated"] is True
    assert net["requests"] == 16
    assert net["failed"] == 1
    assert net["max_rel_error"] == 1e-7
    for approach in ("static", "adaptive"):
        assert net[approach]["latency_s"] == pytest.approx(0.1)
        assert net[approach]["end_energy_j"] == 1.0
        assert net[approach]["total_energy_j"] == 2.0
    assert net["switches"] == [
        {"at_s": 3.5, "from": str(CLOUD), "to": str(EDGE), "reason": "slow link"}
    ]
    assert net["adapt_throttle_requests"] == 1
    assert net["adapt_restore_requests"] == 1


def test_the_picture_of_three_models_with_failures(tmp_path):
    runs = [
        ModelRun(name, 3.0, played("cccccccc", "static", failing={2}), played("ccceeecc"))
        for name in ("one", "two", "three")
    ]
    draw_timeline(runs, tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").stat().st_size > 10_000


def test_a_model_that_does_not_use_the_link_says_so():
    run = ModelRun("net", 3.0, played("e" * 8, "static"), played("e" * 8))
    assert ["does not use the edge-cloud link" in text for text in remarks(run)] == [True]


def test_what_was_gained_is_said_in_words():
    slow = played("cccccccc", "static")
    slow = replace(slow, requests=tuple(replace(r, latency_s=0.4) for r in slow.requests))
    run = ModelRun("net", 3.0, slow, played("ccceeecc"))
    assert "75% less latency and 0% more energy of the end tier" in next(remarks(run))
    assert "16 of 16 answers" in conclusion([run])
    assert "Emulated" in conclusion([run])
