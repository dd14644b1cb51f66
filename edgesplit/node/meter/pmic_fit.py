"""Fits the Pi's PMIC to an external meter on the same board, at idle and under load."""

import contextlib
import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from edgesplit.core.energy.fit import fit_line
from edgesplit.node.meter.sampler import Sampler
from edgesplit.node.meter.sensor.pi_pmic import PmicCalibration

_BUSY = "while True: pass"
_SETTLE_SHARE = 0.25  # of each step, for an external meter that lags behind


def fit_pmic(
    pmic: Sampler, external: Sampler, seconds: float, progress: Callable[[str], None]
) -> PmicCalibration:
    """Gain and offset from the mean watts of both at 0, 1, ... all busy cores, `seconds` each.

    Both samplers are open; pmic gives the plain sum of its rails. Raises MeterError where one
    stops answering or the load hardly changes the watts.
    """
    cores = len(os.sched_getaffinity(0))
    pairs = []
    for busy in range(cores + 1):
        progress(f"{busy} of {cores} cores busy")
        with busy_cores(busy):
            start_s, stop_s = _waited((pmic, external), seconds)
        ours_w = pmic.timeline(start_s).mean_w(start_s, stop_s)
        pairs.append((ours_w, external.timeline(start_s).mean_w(start_s, stop_s)))
    line = fit_line(pairs)
    return PmicCalibration(
        line.gain,
        line.offset,
        line.residual,
        datetime.datetime.now(datetime.UTC).date().isoformat(),
        external.info.id,
    )


def _waited(samplers: Sequence[Sampler], seconds: float) -> tuple[float, float]:
    """Let the load run so long; the window that counts, by the sampler's readings."""
    first_s = max(sampler.read_now().at_s for sampler in samplers)
    last_s = min(sampler.wait_until(first_s + seconds) for sampler in samplers)
    return first_s + _SETTLE_SHARE * seconds, last_s


@contextlib.contextmanager
def busy_cores(cores: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    with contextlib.ExitStack() as stack:
        for _ in range(cores):
            process = subprocess.Popen([sys.executable, "-c", _BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield
