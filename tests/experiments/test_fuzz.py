"""The fuzz in short: the same seed, fewer frames; and that it would see what is wrong."""

import pytest

from edgesplit.node.transport import wire
from experiments.fuzz.attacker import SHARES
from experiments.fuzz.doors import DOORS, beside_tls
from experiments.fuzz.mutator import Mutator
from experiments.fuzz.trial import fuzz, left_over

N = 1500


@pytest.fixture(scope="module")
def outcome():
    return fuzz(N, 7)


def test_good_requests_are_unharmed_and_nothing_grows(outcome):
    found, rows = outcome
    assert found.wrong == []
    assert len(found.good_s) > 100
    assert [row["frames"] for row in rows[:2]] == [N // 10, N // 10 + N // 100]
    assert rows[-1]["frames"] == N


def readings(kind, *values):
    flat = {"rss_bytes": 100 << 20, "threads": 13, "fds": 40}
    return [{**flat, kind: value} for value in values]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (readings("threads", 13, 14, 14, 14, 14), 0),
        (readings("threads", 13, 13, 14, 15, 16), 1),
        (readings("fds", 40, 40, 41, 41, 41), 1),
        (readings("fds", 41, 40, 40, 40, 41), 0),
        (readings("rss_bytes", 1 << 20, 9 << 20, 40 << 20), 1),
    ],
)
def test_what_grows_is_told_from_what_comes_and_goes(rows, wrong):
    assert len(left_over(rows)) == wrong


def record(kind, body):
    return bytes([kind, 3, 3]) + len(body).to_bytes(2) + body


@pytest.mark.parametrize(
    ("answer", "beside"),
    [
        (b"", b""),
        (record(22, b"..ESP..") + record(20, b"\x01") + record(23, b"ESP"), b""),
        (record(21, b"\x02\x28"), b""),
        (record(22, b"broken off")[:-3], b""),
        (record(22, b"hello") + b"\x17", b""),
        (wire.encode(wire.Echo(id="a")), wire.encode(wire.Echo(id="a"))),
        (record(21, b"\x02\x28") + b"ESP\x01", b"ESP\x01"),
        (b"\x16\x02\x01", b"\x16\x02\x01"),
    ],
)
def test_what_is_no_tls_is_seen_wherever_it_stands(answer, beside):
    assert beside_tls(answer) == beside


def test_frames_come_in_every_way(outcome):
    found, _ = outcome
    assert set(found.ways) == {f"{way}, {door.name}" for way in SHARES for door in DOORS}
    assert sum(found.ways.values()) == N
    assert len(found.spoilt) >= 10


def test_a_seed_gives_the_same_frames():
    def frames(seed):
        mutator = Mutator(seed, "127.0.0.1:1")
        return [mutator.frame() for _ in range(200)]

    assert frames(3) == frames(3)
    assert frames(3) != frames(4)
