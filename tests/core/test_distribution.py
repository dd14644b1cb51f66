"""Who sends which part to whom: driven by hand, and to the end by a network that is made up."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesplit.core.distribution import PART_BYTES, Distribution, Part
from edgesplit.core.record import CALLER

SIZES = {"f": 2 * PART_BYTES + 7, "g": 5}
NOTHING, ALL = {"f": 0, "g": 0}, SIZES


def delivered(distribution, order=lambda parts: parts[0], seconds=lambda part: 0.01):
    """What was sent in the end, where nothing fails; order: which of those under way comes next."""
    sent, under_way, there = [], [], {}
    while True:
        new = distribution.next()
        sent += new
        under_way += new
        if not under_way:
            return sent
        part = order(under_way)
        under_way.remove(part)
        key = part.tier, part.file
        coming = [one for one in under_way if (one.tier, one.file) == key]
        done = there.setdefault(key, set())
        done.add((part.start, part.stop))
        at = min([one.start for one in coming], default=max(stop for _, stop in done))
        distribution.arrived(part, at, seconds(part))


def sources(sent):
    """Bytes by who sent them."""
    found = Counter()
    for part in sent:
        found[part.source] += part.stop - part.start
    return dict(found)


def test_one_tier_gets_all_from_the_caller_in_order():
    distribution = Distribution(SIZES, {"cloud": NOTHING})
    assert distribution.lacking("cloud") == sum(SIZES.values())
    sent = delivered(distribution)
    assert [(part.file, part.start) for part in sent] == [
        ("f", 0), ("f", PART_BYTES), ("f", 2 * PART_BYTES), ("g", 0),
    ]  # fmt: skip
    assert {part.source for part in sent} == {CALLER}
    assert distribution.lacking("cloud") == 0


def test_several_tiers_get_it_from_each_other_while_it_comes():
    distribution = Distribution(SIZES, dict.fromkeys(("edge", "cloud", "far"), NOTHING))
    (first,) = distribution.next()
    assert first == Part(CALLER, "edge", "f", 0, PART_BYTES)
    assert distribution.next() == [], "what comes to one tier comes from it to the others"
    distribution.arrived(first, PART_BYTES, 0.1)
    now = distribution.next()
    assert Part("edge", "cloud", "f", 0, PART_BYTES) in now
    assert Part(CALLER, "edge", "f", PART_BYTES, 2 * PART_BYTES) in now
    assert sources(delivered(Distribution(SIZES, dict.fromkeys("abc", NOTHING))))[CALLER] == sum(
        SIZES.values()
    )


def test_a_tier_that_has_it_comes_before_the_caller():
    sent = delivered(Distribution(SIZES, {"cloud": NOTHING, "edge": ALL}))
    assert sources(sent) == {"edge": sum(SIZES.values())}


def test_nothing_is_sent_where_nothing_is_lacking():
    assert Distribution(SIZES, {"edge": ALL, "cloud": ALL}).next() == []


def test_what_is_there_is_not_sent_again():
    there = {"f": PART_BYTES + 3, "g": 5}
    sent = delivered(Distribution(SIZES, {"cloud": there}))
    at, stop = PART_BYTES + 3, 2 * PART_BYTES + 3
    assert [(part.start, part.stop) for part in sent] == [(at, stop), (stop, SIZES["f"])]


def test_of_several_sources_the_quickest_is_used():
    many = {"f": 30 * PART_BYTES}
    distribution = Distribution(many, {"end": {"f": 0}, "slow": many, "quick": many})
    sent = delivered(distribution, seconds=lambda part: {"slow": 0.9, "quick": 0.1}[part.source])
    counts = Counter(part.source for part in sent)
    assert counts["quick"] > 20
    assert counts["slow"] >= 1


def test_a_slow_tier_is_sent_one_part_at_a_time():
    many = {"f": 30 * PART_BYTES}
    distribution = Distribution(many, {"end": {"f": 0}})
    (part,) = distribution.next()
    distribution.arrived(part, PART_BYTES, 20.0)
    (part,) = distribution.next()
    distribution.arrived(part, 2 * PART_BYTES, 0.1)
    assert len(distribution.next()) == 4


def test_barred_pairs_are_not_used_nor_waited_for():
    there = {"edge": NOTHING, "cloud": NOTHING}
    distribution = Distribution(SIZES, there, {("edge", "cloud")})
    assert {part.tier for part in distribution.next()} == {"edge", "cloud"}
    sent = delivered(Distribution(SIZES, there, {("edge", "cloud"), ("cloud", "edge")}))
    assert sources(sent) == {CALLER: 2 * sum(SIZES.values())}


def test_the_others_go_on_when_a_tier_is_left_out():
    distribution = Distribution(SIZES, {"edge": NOTHING, "cloud": NOTHING})
    (first,) = distribution.next()
    distribution.leave_out(first.tier)
    assert sources(delivered(distribution)) == {CALLER: sum(SIZES.values())}
    assert distribution.lacking("cloud") == 0
    assert distribution.lacking("edge") == sum(SIZES.values())


def test_an_early_answer_does_not_take_back_what_is_there():
    distribution = Distribution({"f": 9 * PART_BYTES}, {"cloud": {"f": 0}})
    (part,) = distribution.next()
    distribution.arrived(part, PART_BYTES, 0.1)
    one, two, three, _ = sorted(distribution.next(), key=lambda part: part.start)
    distribution.arrived(three, PART_BYTES, 0.1)  # it overtook the others
    assert min(part.start for part in distribution.next()) == 5 * PART_BYTES
    distribution.arrived(one, 2 * PART_BYTES, 0.1)
    distribution.arrived(two, 4 * PART_BYTES, 0.1)
    assert distribution.lacking("cloud") == 5 * PART_BYTES


def test_an_answer_that_comes_late_does_not_either():
    distribution = Distribution({"f": 3 * PART_BYTES}, {"cloud": {"f": 0}})
    (part,) = distribution.next()
    distribution.arrived(part, PART_BYTES, 0.1)
    one, two = sorted(distribution.next(), key=lambda part: part.start)
    distribution.arrived(one, 3 * PART_BYTES, 0.1)  # the other one was there already
    distribution.arrived(two, PART_BYTES, 0.1)
    assert distribution.lacking("cloud") == 0
    assert distribution.next() == []


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.dictionaries(
        st.sampled_from("fgh"), st.integers(1, 6 * PART_BYTES), min_size=1, max_size=3
    ),
    starts=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    data=st.data(),
)
def test_everything_arrives_and_the_caller_sends_each_byte_once(sizes, starts, data):
    there = {
        f"t{n}": {file: int(share * size) for file, size in sizes.items()}
        for n, share in enumerate(starts)
    }
    distribution = Distribution(sizes, there)
    sent = delivered(distribution, order=lambda parts: data.draw(st.sampled_from(parts)))
    assert all(distribution.lacking(tier) == 0 for tier in there)
    for file, size in sizes.items():
        given = sum(p.stop - p.start for p in sent if p.source == CALLER and p.file == file)
        assert given <= size
    for tier, files in there.items():
        for file, at in files.items():
            parts = sorted((p.start, p.stop) for p in sent if (p.tier, p.file) == (tier, file))
            assert [at, *(stop for _, stop in parts)] == [
                *(start for start, _ in parts),
                sizes[file],
            ]


@pytest.mark.parametrize("seed", range(380, 710, 2))
def test_what_has_overtaken_others_is_not_sent_again(seed):
    """Such a part is there, but its tier cannot give it on yet: it was sent twice in two cases."""
    chance = random.Random(seed)
    edges = [1, 160, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 1, 2 * PART_BYTES]
    sizes = {
        file: chance.choice([*edges, chance.randint(1, 6 * PART_BYTES)])
        for file in "fgh"[: chance.randint(1, 3)]
    }
    starts = [
        chance.choice([0, 0, 0.5, 0.75, chance.random(), 1.0]) for _ in range(chance.randint(1, 4))
    ]
    there = {f"t{n}": {f: int(s * size) for f, size in sizes.items()} for n, s in enumerate(starts)}
    distribution = Distribution(sizes, there)
    given = Counter()
    for part in delivered(distribution, order=chance.choice):
        given[part.file] += (part.stop - part.start) * (part.source == CALLER)
    assert all(given[file] <= size for file, size in sizes.items())
    assert all(distribution.lacking(tier) == 0 for tier in there)


@pytest.mark.parametrize("size", [1, PART_BYTES, PART_BYTES + 1])
def test_sizes_at_the_edge(size):
    sent = delivered(Distribution({"f": size}, {"cloud": {"f": 0}}))
    assert sum(part.stop - part.start for part in sent) == size
