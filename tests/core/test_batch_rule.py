"""Which requests share a run: tables, and all subsets of small queues."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgesplit.core.batch_rule import Queued, Rest, joining, together
from edgesplit.core.batch_times import MARGIN, BatchTimes

INF = math.inf
# Alone 10 s, two 12 s, four 16 s.
TIMES = BatchTimes(((1, 10.0), (2, 12.0), (4, 16.0)))


def queue_of(*given):
    """Of "a" (deadline) and "b" (another key, 5 s alone) with their deadlines."""
    return [Queued(key, 10.0 if key == "a" else 5.0, deadline) for key, deadline in given]


TABLE = [
    ("one alone", [("a", INF)], (0,)),
    ("two", [("a", INF), ("a", INF)], (0, 1)),
    ("three", [("a", INF)] * 3, (0, 1, 2)),
    ("six: four are measured", [("a", INF)] * 6, (0, 1, 2, 3)),
    ("of another key", [("a", INF), ("b", INF), ("a", INF)], (0, 2)),
    ("the first is of another key", [("b", INF), ("a", INF), ("a", INF)], None),
    ("the first would be late with four, not with two", [("a", 12.0), *[("a", INF)] * 3], (0, 1)),
    ("the first would be late with anyone", [("a", 11.9), *[("a", INF)] * 3], (0,)),
    ("the first is late anyway", [("a", 9.0), *[("a", INF)] * 3], (0, 1, 2, 3)),
    ("one between would be late", [("a", INF), ("b", 15.0), ("a", INF), ("a", INF)], (0,)),
    ("one between is in time", [("a", INF), ("b", 17.0), ("a", INF), ("a", INF)], (0, 2)),
    ("one between is late anyway", [("a", INF), ("b", 14.0), ("a", INF), ("a", INF)], (0, 2, 3)),
    ("one is refused already", [("a", INF), ("a", -1.0), ("a", INF)], (0, 2)),
    ("who comes after gains", [("a", 16.0), *[("a", INF)] * 3, ("b", 45.0)], (0, 1, 2, 3)),
]


@pytest.mark.parametrize(("name", "given", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_who_goes_together(name, given, expected):
    queue = queue_of(*given)
    times = TIMES if queue[0].key == "a" else BatchTimes(((1, 5.0),))
    assert together(queue, 0.0, times) == (expected or (0,))


def test_where_nothing_gains_each_runs_alone():
    times = BatchTimes(((1, 10.0), (2, 19.5), (4, 41.0)))
    assert together(queue_of(*[("a", INF)] * 4), 0.0, times) == (0,)


def ends(queue, members, run_s):
    """{place: when it ends}, of those that are run at all."""
    found = dict.fromkeys(members, run_s)
    now = run_s
    for at, waiting in enumerate(queue):
        if at not in members and waiting.deadline_s >= now:
            now += waiting.alone_s
            found[at] = now
    return found


def hurt(queue, members, run_s):
    """Who keeps its deadline alone and does not with that run."""
    alone, with_run = ends(queue, (), 0.0), ends(queue, members, run_s)
    in_time = {at for at, end in alone.items() if end <= queue[at].deadline_s}
    return {at for at in in_time if with_run.get(at, INF) > queue[at].deadline_s}


DEADLINES = st.one_of(st.just(INF), st.integers(0, 70).map(float))


@st.composite
def queues(draw, deadlines=DEADLINES):
    keys = ["a", *draw(st.lists(st.sampled_from("aab"), max_size=5))]
    return queue_of(*((key, draw(deadlines)) for key in keys))


@st.composite
def some_times(draw):
    """Growing with the number of requests."""
    seconds = [10.0]
    for _ in range(3):
        seconds.append(seconds[-1] + draw(st.integers(0, 12)))
    return BatchTimes(tuple(enumerate(seconds, 1)))


@given(queues(), some_times())
def test_nobody_who_would_be_in_time_is_late(queue, times):
    members = together(queue, 0.0, times)
    assert members[0] == 0
    assert {queue[at].key for at in members} == {"a"}
    assert len(members) == 1 or not hurt(queue, members, times.seconds(len(members)))


@given(queues(), some_times())
@example(
    queue_of(("a", INF), ("a", 0.0), ("a", INF), ("b", 25.0)),
    BatchTimes(((1, 10.0), (2, 11.0), (3, 17.0), (4, 17.0))),  # two at once would make b late
)
def test_no_other_choice_takes_less_per_request(queue, times):
    """Among all subsets with the first one, where nobody is refused; else among the first ones."""
    alike = [at for at, one in enumerate(queue) if at and one.key == "a" and one.deadline_s >= 0]
    members = together(queue, 0.0, times)
    mine = times.seconds(len(members)) / len(members)
    refused = len(ends(queue, (), 0.0)) < len(queue)
    for size in range(2, min(len(alike) + 1, times.largest) + 1):
        others = [tuple(alike[: size - 1])] if refused else itertools.combinations(alike, size - 1)
        for some in others:
            run_s = times.seconds(size)
            if times.pays(size) and not hurt(queue, (0, *some), run_s):
                assert mine <= run_s / size


# The first one: 10 s to where the others wait, then 10 s alone, 12 s with another, 16 s with three.
JOINING = [
    ("nobody", [], ()),
    ("one", [("c", INF)], (1,)),
    ("three", [("c", INF)] * 3, (1, 2, 3)),
    ("five: three are measured", [("c", INF)] * 5, (1, 2, 3)),
    ("one would have been in time behind it", [("c", 30.0)], (1,)),
    ("one behind them ends sooner", [("c", INF), ("c", INF), ("b", 46.9)], (1, 2)),
    ("one between would be late", [("b", 25.0), ("c", INF)], ()),
    ("one is refused already", [("c", -1.0), ("c", INF)], (2,)),
]


@pytest.mark.parametrize(("name", "given", "expected"), JOINING, ids=[row[0] for row in JOINING])
def test_who_joins_on_the_way(name, given, expected):
    rest = [Queued(key, 10.0 if key == "c" else 5.0, deadline) for key, deadline in given]
    places = tuple(at for at, one in enumerate(rest, 1) if one.key == "c")
    queue = [Queued("a", 20.0, INF), *rest]
    assert joining(queue, 0.0, Rest(places, 10.0, TIMES)) == expected


@pytest.mark.parametrize(("deadline_s", "expected"), [(21.9, ()), (22.0, (1,)), (19.0, (1, 2, 3))])
def test_the_first_one_is_not_made_late_by_who_joins(deadline_s, expected):
    """Alone it ends at 20 s; a deadline that it would miss anyway binds nobody."""
    queue = [Queued("a", 20.0, deadline_s), *[Queued("c", 10.0, INF)] * 3]
    assert joining(queue, 0.0, Rest((1, 2, 3), 10.0, TIMES)) == expected


def test_where_a_cut_in_between_costs_more_than_it_gains():
    """Two ranges in place of one: 18 s and 10 s for what takes 20 s."""
    queue = [Queued("a", 20.0, INF), Queued("c", 10.0, INF)]
    assert joining(queue, 0.0, Rest((1,), 18.0, TIMES)) == ()


@given(queues(), some_times(), st.integers(1, 20))
def test_joining_hurts_nobody_and_saves_seconds(queue, times, first_s):
    first, *others = queue
    queue = [Queued("first", first_s + 9.0, first.deadline_s), *others]
    places = tuple(at for at, one in enumerate(queue) if one.key == "a")
    able = [at for at in places if queue[at].deadline_s >= 0]

    def saves(members):
        run_s = first_s + times.seconds(len(members) + 1)
        apart_s = queue[0].alone_s + times.total_s(len(members))
        return run_s < (1 - MARGIN) * apart_s and not hurt(queue, (0, *members), run_s)

    joined = joining(queue, 0.0, Rest(places, float(first_s), times))
    if joined:
        assert saves(joined)
        assert joined == tuple(able[: len(joined)])
    more = range(len(joined) + 1, min(len(able), times.largest - 1) + 1)
    assert not any(saves(tuple(able[:count])) for count in more)
