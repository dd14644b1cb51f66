"""How the plan followed a change, from what was sent and seen. Exact numbers."""

from dataclasses import asdict, replace

import pytest

from edgesplit import Graph
from experiments.shared.answer import Answer, Figures
from experiments.throttle.picture import draw_throttle
from experiments.throttle.text import run_cells, value_text
from experiments.throttle.timeline import (
    NOMINAL,
    RESTORED,
    THROTTLED,
    Run,
    Sent,
    Switch,
    adaptation,
    medians,
    payload_into,
    request_rows,
    run_of,
    targets,
)

WIDE, SAME, NARROW, NONE = (
    "end:0-1 | edge:1-1 | cloud:1-9",
    "end:0-0 | edge:0-1 | cloud:1-9",
    "end:0-1 | edge:1-7 | cloud:7-9",
    "end:0-1 | edge:1-9",
)
SIZES = {WIDE: 1_600_000, SAME: 1_600_000, NARROW: 98_000, NONE: 0}


def sent(phase, at_s, plan, latency_s=0.5):
    figures = Figures(latency_s, 2 * latency_s, 4 * latency_s) if latency_s else None
    return Sent(phase, at_s, Answer(plan, figures, "" if figures else "gone"))


def played():
    """One request a second; throttled at 2.5, followed at 5.2; restored at 7.5, followed at 9.1."""
    return Run(
        3,
        {NOMINAL: 0.1, THROTTLED: 2.5, RESTORED: 7.5},
        (
            Switch(0.0, SAME, "at the beginning"),
            Switch(0.5, WIDE, "small changes"),
            Switch(3.2, SAME, "small changes"),
            Switch(5.2, NARROW, "link slower"),
            Switch(6.1, NONE, "link slower"),
            Switch(9.1, WIDE, "link faster"),
        ),
        SIZES,
        (
            sent(NOMINAL, 0.2, SAME, 9.0),
            sent(NOMINAL, 1.2, WIDE, 0.5),
            sent(NOMINAL, 2.2, WIDE, 0.7),
            sent(THROTTLED, 2.6, WIDE, 2.0),
            sent(THROTTLED, 3.6, SAME, None),
            sent(THROTTLED, 4.6, SAME, 3.0),
            sent(THROTTLED, 5.6, NARROW, 1.5),
            sent(THROTTLED, 6.6, NONE, 1.0),
            sent(RESTORED, 7.6, NONE, 1.0),
            sent(RESTORED, 8.6, NONE, 1.2),
            sent(RESTORED, 9.6, WIDE, 0.5),
        ),
        10.1,
    )


def test_the_throttle_is_followed_by_the_first_plan_with_another_payload():
    row = adaptation(played(), "throttle")
    assert row["run"] == 3
    assert row["adapt_s"] == pytest.approx(2.7)  # the switch at 3.2 changed nothing on the link
    assert row["adapt_requests"] == 3
    assert row["settle_s"] == pytest.approx(3.6)
    assert row["switches"] == 3
    assert (row["payload_bytes_before"], row["payload_bytes_after"]) == (1_600_000, 0)
    assert (row["plan_before"], row["plan_after"]) == (WIDE, NONE)
    assert row["latency_s_before"] == pytest.approx(0.6)
    assert row["latency_s_during"] == pytest.approx(2.5)
    assert row["latency_s_after"] == pytest.approx(1.0)
    assert row["end_energy_j_after"] == pytest.approx(2.0)
    assert row["total_energy_j_after"] == pytest.approx(4.0)
    assert (row["requests"], row["failed"]) == (5, 1)


def test_the_restore_is_followed_back():
    row = adaptation(played(), "restore")
    assert row["adapt_s"] == pytest.approx(1.6)
    assert row["adapt_requests"] == 2
    assert (row["payload_bytes_before"], row["payload_bytes_after"]) == (0, 1_600_000)
    assert row["latency_s_during"] == pytest.approx(1.1)


def test_a_plan_that_stays_has_no_figures_of_adapting():
    run = played()
    stayed = replace(run, switches=run.switches[:3])
    row = adaptation(stayed, "throttle")
    assert [row[key] for key in ("adapt_s", "adapt_requests", "settle_s")] == [None] * 3
    assert row["latency_s_during"] is None
    assert row["payload_bytes_after"] == 1_600_000
    assert row["switches"] == 1


def test_switches_belong_to_the_phase_in_which_they_were_seen():
    run = played()
    assert [len(run.switches_in(phase)) for phase in (NOMINAL, THROTTLED, RESTORED)] == [1, 3, 1]
    assert run.plan_at(2.5) == WIDE
    assert [one.sent_s for one in run.settled_in(NOMINAL)] == [1.2, 2.2]


def rows_of(*adapted):
    return [
        {"direction": "throttle", "adapt_s": s, "adapt_requests": n, "settle_s": s}
        for s, n in adapted
    ]


@pytest.mark.parametrize(
    ("adapted", "seconds", "requests"),
    [
        (((1.0, 2), (3.0, 4), (9.0, 9)), 3.0, 4),
        (((1.0, 2), (None, None), (3.0, 4)), 3.0, 4),
        (((1.0, 2), (None, None), (None, None)), None, None),
        (((1.0, 2), (None, None)), None, None),
    ],
)
def test_a_run_that_did_not_adapt_counts_as_endless(adapted, seconds, requests):
    found = medians(rows_of(*adapted), "throttle")
    assert (found["adapt_s"], found["adapt_requests"]) == (seconds, requests)


@pytest.mark.parametrize(
    ("adapted", "reached"),
    [((1.9, 9), True), ((11.0, 5), True), ((2.1, 6), False), ((None, None), False)],
)
def test_two_seconds_or_five_requests(adapted, reached):
    rows = rows_of(adapted) + [{**row, "direction": "restore"} for row in rows_of((1.0, 1))]
    found = targets(rows, steady_switches=1, failed=0)
    assert [target["reached"] for target in found] == [reached, True, True, False]


def test_a_payload_is_what_enters_the_tier():
    graph = Graph("net", tuple("abcdefghi"), (600, 1600, 1, 2, 3, 4, 5, 98, 6, 7), (1,) * 9)
    assert [payload_into("cloud", plan, graph) for plan in SIZES] == [1600, 1600, 98, 0]
    assert payload_into("edge", WIDE, graph) == 1600
    assert payload_into("cloud", "end:0-9", graph) == 0


def test_a_run_survives_the_journal():
    assert run_of(asdict(played())) == played()


def test_requests_as_rows():
    found = request_rows(played(), "3")
    assert len(found) == 11
    assert found[4] == {
        "run": "3",
        "phase": THROTTLED,
        "sent_s": 3.6,
        "latency_s": None,
        "plan": SAME,
        "payload_bytes": 1_600_000,
        "end_energy_j": None,
        "total_energy_j": None,
        "why": "",
        "hedged": "",
        "error": "gone",
    }


def test_words_and_the_picture(tmp_path):
    rows = [adaptation(played(), direction) for direction in ("throttle", "restore")]
    cells = run_cells(rows)
    assert cells[0]["adapted after"] == "2.70 s"
    assert cells[0]["wide payload, KB"] == "1,600 -> 0"
    assert cells[0]["latency, ms"] == "600 -> 2500 -> 1000"
    assert value_text((2.7, 3)) == "2.70 s, 3 requests"
    assert value_text((None, None)) == "no other plan followed"
    summary = {
        "runs": rows,
        "medians": {direction: medians(rows, direction) for direction in ("throttle", "restore")},
        "provenance": "Nothing was run.",
        "boundary": "marginal",
        "settings": {
            "model": "net",
            "course": {"nominal": "40MB/s", "throttled": "5Mbit/s"},
        },
    }
    draw_throttle(tmp_path / "throttle.png", [played()], summary)
    assert (tmp_path / "throttle.png").stat().st_size > 10_000
