"""A PMIC fitted to an external meter; the load is a test's, which sets what both of them say."""

import contextlib

import pytest
from pretended import Pretended, info

from edgesplit.errors import MeterError
from edgesplit.node.meter import pmic_fit
from edgesplit.node.meter.sampler import Sampler


class Ticking:
    """A clock that moves on by itself: a tenth of a second each time it is asked."""

    now_s = 0.0

    def __call__(self):
        self.now_s += 0.1
        return self.now_s


@pytest.fixture
def loaded(monkeypatch):
    """Sources whose watts follow how many cores a step keeps busy."""
    monkeypatch.setattr(pmic_fit.os, "sched_getaffinity", lambda pid: {0, 1, 2})
    clock = Ticking()
    pmic, external = (Pretended(clock, info(name, kind="power")) for name in ("pi-pmic", "powerz"))

    @contextlib.contextmanager
    def busy(cores):
        pmic.watts = 2.0 + 1.5 * cores
        external.watts = 1.2 * pmic.watts + 0.4
        yield

    monkeypatch.setattr(pmic_fit, "busy_cores", busy)
    samplers = [Sampler(sensor, 0.001, clock) for sensor in (pmic, external)]
    with samplers[0], samplers[1]:
        yield pmic, samplers


def test_gain_and_offset_are_found(loaded):
    _, (pmic, external) = loaded
    said = []
    made = pmic_fit.fit_pmic(pmic, external, 8.0, said.append)
    assert made.gain == pytest.approx(1.2, rel=0.05)
    assert made.offset_w == pytest.approx(0.4, abs=0.3)
    assert made.meter == "powerz"
    assert said == [f"{n} of 3 cores busy" for n in range(4)]


def test_a_load_that_changes_nothing_is_refused(loaded, monkeypatch):
    _, (pmic, external) = loaded
    monkeypatch.setattr(pmic_fit, "busy_cores", lambda cores: contextlib.nullcontext())
    with pytest.raises(MeterError, match="does not tell gain from offset"):
        pmic_fit.fit_pmic(pmic, external, 2.0, lambda text: None)


def test_busy_processes_end_with_the_step():
    with pmic_fit.busy_cores(2):
        pass  # the exit waits for both
