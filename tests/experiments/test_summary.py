"""From requests to the paper table's rows, by exact numbers."""

from dataclasses import replace

import pytest

from edgesplit import EdgeSplitError, Goal
from experiments.paper_table.approaches import APPROACHES
from experiments.paper_table.oracle import Measured
from experiments.paper_table.picture import draw_bars, draw_distributions
from experiments.paper_table.summary import (
    ModelResult,
    changes,
    oracle_rows,
    repetition_rows,
    request_rows,
    rows,
    targets,
)
from experiments.paper_table.text import change_cells, paper_cells, row_cells, table_page
from experiments.shared.answer import Answer, Figures, mean
from experiments.shared.paper import PAPER

GOAL = Goal(0.5, 0.25, 0.25)
PLANS = {name: f"end:0-{k} | edge:{k}-9" for k, name in enumerate(APPROACHES)} | {
    "end-only": "end:0-9"
}
# Latency, end and total energy of each approach's requests, times 1 and 3 in two repetitions.
FIGURES = {
    "static-middle": (2.0, 2.0, 8.0),
    "static-best": (1.0, 1.0, 3.0),
    "end-only": (4.0, 4.0, 4.0),
    "edge-only": (3.0, 2.0, 6.0),
    "cloud-only": (2.0, 1.0, 8.0),
    "adaptive": (1.0, 1.0, 4.0),
    "oracle": (1.0, 1.0, 2.0),
}
# 0.5 end / 4 + 0.25 total / 4 + 0.25 latency / 4
SCORES = {
    "static-middle": 0.875,
    "static-best": 0.375,
    "end-only": 1.0,
    "edge-only": 0.8125,
    "cloud-only": 0.75,
    "adaptive": 0.4375,
    "oracle": 0.3125,
}


def answer(plan, *figures):
    return Answer(plan, Figures(*figures)) if figures else Answer(plan, None, "gone")


def result(factors=(1.0, 3.0), model="alexnet"):
    """Two requests per approach and repetition, 0.5 and 1.5 times the repetition's mean."""
    repetitions = tuple(
        {
            name: [answer(PLANS[name], *(s * f * v for v in FIGURES[name])) for s in (0.5, 1.5)]
            for name in APPROACHES
        }
        for f in factors
    )
    swept = tuple(Measured(PLANS[n], 2, Figures(*FIGURES[n])) for n in ("edge-only", "end-only"))
    finalists = (Measured(PLANS["oracle"], 20, Figures(*FIGURES["oracle"])),)
    score_reference = Figures(*FIGURES["end-only"])
    return ModelResult(model, repetitions, swept, finalists, score_reference)


def test_rows_are_means_and_deviations_over_repetitions():
    found = {row["approach"]: row for row in rows(result(), GOAL)}
    assert list(found) == list(APPROACHES)
    row = found["adaptive"]
    assert row["model"] == "alexnet"
    assert row["latency_s_mean"] == pytest.approx(2.0)
    assert row["latency_s_std"] == pytest.approx(2**0.5)  # of 1 and 3
    assert row["end_energy_j_mean"] == pytest.approx(2.0)
    assert row["energy_j_mean"] == pytest.approx(8.0)
    assert row["energy_j_std"] == pytest.approx(4 * 2**0.5)
    assert row["score_std"] == pytest.approx(0.0)
    assert row["plan"] == PLANS["adaptive"]
    assert row["runtimes"] == "torch"
    assert (row["requests"], row["failed"], row["plans"]) == (4, 0, 1)


def test_the_runtimes_of_the_plan_used_most_in_route_order():
    sent = [answer("end[onnx]:0-3 | edge:3-3 | cloud:3-9", 1.0, 1.0, 1.0)] * 2
    repetition = result((1.0,)).repetitions[0]
    played = replace(result((1.0,)), repetitions=({**repetition, "adaptive": sent},))
    (row,) = [row for row in rows(played, GOAL) if row["approach"] == "adaptive"]
    assert row["runtimes"] == "onnx, torch"


def test_scores_are_relative_to_end_only_and_regret_to_the_oracle():
    for row in rows(result(), GOAL):
        score = SCORES[row["approach"]]
        assert row["score"] == pytest.approx(score)
        assert row["regret"] == pytest.approx(score / 0.3125 - 1)


def test_one_repetition_has_no_deviation():
    assert {row["latency_s_std"] for row in rows(result((1.0,)), GOAL)} == {None}


def test_failed_requests_are_counted_and_left_out_of_means():
    one = result()
    one.repetitions[0]["adaptive"][:] = [
        answer("end:0-9", 1.0, 1.0, 4.0),
        answer("end:0-8 | edge:8-9"),
        answer("end:0-8 | edge:8-9"),
    ]
    row = next(row for row in rows(one, GOAL) if row["approach"] == "adaptive")
    assert row["latency_s_mean"] == pytest.approx(2.0)
    assert (row["requests"], row["failed"], row["plans"]) == (5, 2, 3)
    assert [r["error"] for r in request_rows(one) if r["error"]] == ["gone", "gone"]
    with pytest.raises(EdgeSplitError, match="none of 1 requests came back; the last: gone"):
        mean([answer("end:0-9")])


def test_a_repetitions_score_is_relative_to_its_own_end_only():
    found = repetition_rows(result(), GOAL)
    assert len(found) == 2 * len(APPROACHES)
    for row in found:
        assert row["score"] == pytest.approx(SCORES[row["approach"]])
        assert row["latency_s"] == pytest.approx(
            FIGURES[row["approach"]][0] * (1, 3)[row["repetition"]]
        )


def test_requests_keep_their_round():
    found = [row for row in request_rows(result()) if row["approach"] == "oracle"]
    assert [(r["repetition"], r["round"], r["latency_s"]) for r in found] == [
        (0, 0, 0.5),
        (0, 1, 1.5),
        (1, 0, 1.5),
        (1, 1, 4.5),
    ]


def test_the_oracles_plans_best_first_and_finalists_before_all():
    found = oracle_rows(result(), GOAL)
    assert [(row["measured_in"], row["score"]) for row in found] == [
        ("final", pytest.approx(0.3125)),
        ("all", pytest.approx(0.8125)),
        ("all", pytest.approx(1.0)),
    ]


def test_changes_are_of_adaptive_against_the_others():
    found = {row["against"]: row for row in changes(rows(result(), GOAL))}
    assert "adaptive" not in found
    assert found["static-middle"]["latency_s"] == pytest.approx(-0.5)
    assert found["static-middle"]["energy_j"] == pytest.approx(-0.5)
    assert found["oracle"]["score"] == pytest.approx(0.4)


def test_targets_are_judged_per_model():
    found = targets(rows(result(), GOAL))
    assert [(t["value"], t["reached"]) for t in found] == [
        (pytest.approx(-0.5), True),  # end energy against static-middle
        (pytest.approx(-0.5), True),  # total energy
        (pytest.approx(-0.5), True),  # latency
        (pytest.approx(0.4375 / 0.75 - 1), True),  # against cloud-only, the best trivial
        (pytest.approx(0.4), False),  # against the oracle: more than 3 %
    ]


def test_the_papers_changes_are_as_it_reports_them():
    percent = {
        name: (round(100 * row.energy_change), round(100 * row.latency_change))
        for name, row in PAPER.items()
    }
    assert percent == {"vgg16": (-36, -6), "alexnet": (-36, -23), "mobilenet_v2": (-27, -14)}


def test_cells_for_people():
    found = rows(result(), GOAL)
    row = next(r for r in row_cells(found) if r["approach"] == "adaptive")
    assert row["latency, ms"] == "2000 ± 1414"
    assert row["end energy, J"] == "2.000 ± 1.414"
    assert row["regret"] == "+40.0%"
    assert change_cells(changes(found))[0]["latency"] == "-50.0%"
    beside = paper_cells(found)[0]
    assert beside["static-middle"] == "4000 ± 2828"
    assert beside["change"] == "-50.0%"
    assert beside["paper: static"] == "78.15 ± 11.81"
    assert beside["paper: change"] == "-22.9%"
    assert paper_cells(rows(result(model="resnet18"), GOAL))[0]["paper: static"] == "-"


def test_the_page_and_the_pictures(tmp_path):
    results = [result(), result((1.0,), "resnet18")]
    found = [row for one in results for row in rows(one, GOAL)]
    summary = {
        "rows": found,
        "changes": changes(found),
        "targets": targets(found),
        "energy": "modelled",
        "boundary": "marginal",
        "provenance": "Nothing was run.",
        "oracle": "every plan",
        "settings": {"repetitions": 2, "requests": 2},
    }
    page = table_page(summary)
    assert "Nothing was run. Energy is modelled, marginal boundary." in page
    assert page.count("\n| --- ") == 4
    assert "end:0-5 \\| edge:5-9" in page
    draw_bars(tmp_path / "bars.png", summary)
    draw_distributions(tmp_path / "boxes.png", results, "Nothing was run.")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("bars.png", "boxes.png"))
