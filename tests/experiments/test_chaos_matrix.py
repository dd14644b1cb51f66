"""The testbed's fault matrix as values: what is in it, what is drawn, how it is shown."""

import numpy as np

from experiments.chaos.matrix import ACTIVATION, IDLE, PREPARATION, REQUEST, matrix, pair
from experiments.chaos.table import table_text
from experiments.chaos.testbed import summary

ROW = {
    "fault": "kill edge", "plan": "score", "moment": REQUEST, "requests": 9, "right": 9,
    "by_fallback": 2, "hedged": 0, "errors": 0, "lost": 0, "wrong": 0,
    "longest_wait_s": 0.5, "bound_s": 5.0, "first_s": None, "within_bound": True,
    "back_s": 3.1, "note": "",
}  # fmt: skip


def test_every_fault_strikes_during_a_request_and_some_at_every_moment():
    cases = matrix()
    struck = {str(case.faults[0]) for case in cases if case.moment == REQUEST}
    assert {str(fault) for case in cases for fault in case.faults} <= struck
    for target in ("end", "edge", "cloud", "scheduler"):
        moments = {case.moment for case in cases if str(case.faults[0]) == f"kill {target}"}
        assert moments == {IDLE, REQUEST, PREPARATION, ACTIVATION}
    assert ("power-cut", "end") not in {(f.kind, f.target) for c in cases for f in c.faults}


def test_what_may_end_a_session_comes_last():
    is_ending = [case.is_ending for case in matrix()]
    assert is_ending == sorted(is_ending)
    assert sum(is_ending) == 4


def test_pairs_are_drawn_by_the_seed_from_what_a_session_survives():
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    pairs = [pair(rng) for _ in range(200)]
    assert pairs == [pair(again) for _ in range(200)]
    assert all(case.faults[0] != case.faults[1] and not case.is_ending for case in pairs)


def test_rows_of_a_caller_that_was_ended_are_counted_apart():
    ended = dict.fromkeys(ROW) | {"fault": "kill-raylet end", "note": "it has ended"}
    slow = ROW | {"longest_wait_s": 5.1, "within_bound": False, "back_s": None}
    found = summary([ROW, ended, slow])
    assert (found["requests"], found["right"], found["lost"], found["wrong"]) == (18, 18, 0, 0)
    assert (found["caller_ended"], found["not_back"], found["beyond_bound"]) == (1, 1, 1)
    assert found["longest_wait_s"] == 5.1


def test_the_table_has_a_line_per_row_and_marks_what_is_beyond_its_bound():
    ended = dict.fromkeys(ROW) | {"fault": "kill-raylet end", "plan": "score",
                                          "moment": REQUEST, "note": "it has ended"}  # fmt: skip
    slow = ROW | {"longest_wait_s": 5.1, "within_bound": False, "back_s": None}
    lines = table_text(summary([ROW, ended, slow])).splitlines()[-3:]
    counts = "9 | 9 | 2 | 0 | 0 | 0 | 0"
    assert lines[0] == f"| kill edge | request | score | {counts} | 0.50 | 5.00 | 3.1 |"
    assert lines[1].endswith("| it has ended |")
    assert lines[2].endswith("| 5.10 ! | 5.00 | not back |")
