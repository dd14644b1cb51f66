"""Links that a host keeps for ten minutes: confirmed by one probe, else measured by three."""

import pytest

from edgesplit.node.tier.kept_links import NEAR_S, STALE_S, KeptLinks

N_BYTES = 1 << 18
LATENCY_S, RATE = 0.005, 5e6
SECONDS = N_BYTES / RATE + 2 * LATENCY_S


class Way:
    """A link that the test makes slow; counts its probes."""

    def __init__(self, factor=1.0, latency_s=LATENCY_S, jitter_s=0.0):
        self.factor, self.latency_s, self.jitter_s, self.probes = factor, latency_s, jitter_s, 0

    def __call__(self, n_bytes):
        self.probes += 1
        assert n_bytes == N_BYTES
        return self.factor * N_BYTES / RATE + 2 * self.latency_s + self.jitter_s, self.latency_s


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


def measured(folder, way, at_s=1e9, name="a b"):
    return KeptLinks(folder, lambda: at_s).measured(name, N_BYTES, way)


def test_the_next_session_probes_once(folder):
    first, again = Way(), Way(1.2)
    assert measured(folder, first).bytes_per_s == pytest.approx(RATE)
    found = measured(folder, again, 1e9 + 120)
    assert (first.probes, again.probes) == (3, 1)
    assert (found.latency_s, found.bytes_per_s) == (LATENCY_S, pytest.approx(RATE))
    told = "measured 2001-09-09 01:46 UTC, checked 2001-09-09 01:48 UTC"
    assert found.provenance == told


@pytest.mark.parametrize(
    ("now", "rate", "latency_s"),
    [(Way(2.0), RATE / 2, LATENCY_S), (Way(0.5), 2 * RATE, LATENCY_S), (Way(1, 0.01), RATE, 0.01)],
)
def test_a_link_that_is_another_by_now_is_measured_and_kept(folder, now, rate, latency_s):
    measured(folder, Way())
    for probes in (3, 1):
        now.probes = 0
        found = measured(folder, now, 1e9 + 1)
        assert now.probes == probes
        assert found.bytes_per_s == pytest.approx(rate)
        assert found.latency_s == latency_s


def test_a_fast_link_may_differ_by_what_a_busy_host_takes_to_wake_up(folder):
    measured(folder, Way(1e-3, 1e-5))
    again = Way(1e-3, 1e-5, jitter_s=0.9 * NEAR_S)
    measured(folder, again)
    assert again.probes == 1


@pytest.mark.parametrize("other", [{"at_s": 1e9 + STALE_S}, {"at_s": 1e9 - 1}, {"name": "a c"}])
def test_stale_ones_and_those_of_other_ways_are_measured(folder, other):
    measured(folder, Way())
    again = Way()
    measured(folder, again, **other)
    assert again.probes == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{", b"["),
        (b'"format":1', b'"format":2'),
        (b'"latency_s":0.005', b'"latency_s":-1'),
        (b'"bytes_per_s":', b'"bytes_per_s":-'),
        (b'"latency_s":0.005', b'"latency_s":1e999'),
    ],
)
def test_a_damaged_file_is_measured_again(folder, old, new):
    measured(folder, Way())
    (file,) = (folder / "links").iterdir()
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))
    for probes in (3, 1):
        again = Way()
        measured(folder, again, 1e9 + 1)
        assert again.probes == probes


def test_nothing_is_kept_or_read_where_others_may_write(folder):
    measured(folder, Way())
    folder.chmod(0o777)
    again = Way()
    measured(folder, again)
    assert again.probes == 3
    assert measured(folder / "none", Way()).latency_s == LATENCY_S
    assert not (folder / "none").exists()
