"""A bandwidth trace: how many bytes a second a link takes, over time. A value; no files, no chance.

It is a staircase, begins at 0 s and begins again where it ends.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import ConfigError

Floats = NDArray[np.float64]

MBIT = 1e6 / 8  # bytes
_WINDOW_S = 5.0  # of the medians between which changes are counted
_FADE_BYTES_PER_S = 0.1 * MBIT


@dataclass(frozen=True)
class Trace:
    """What a link takes over time.

    starts_s: when each step begins, ascending from 0. bytes_per_s: from then until the next one.
    length_s: the end of the last step, where the trace begins again. provenance: where it is from;
    of a file its SHA-256, of a generated one its seed.

    Raises ConfigError where the steps are none, not in order or carry no byte at all.
    """

    name: str
    starts_s: tuple[float, ...]
    bytes_per_s: tuple[float, ...]
    length_s: float
    provenance: str = "given"

    def __post_init__(self) -> None:
        if len(self.starts_s) != len(self.bytes_per_s) or not self.starts_s:
            raise ConfigError(f"trace {self.name}: a rate for each step, and one step at least")
        edges = np.array([*self.starts_s, self.length_s])
        if edges[0] != 0 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ConfigError(f"trace {self.name}: steps begin at 0 s and follow one another")
        rates = np.array(self.bytes_per_s)
        if not np.isfinite(rates).all() or (rates < 0).any():
            raise ConfigError(f"trace {self.name}: rates must be finite and not negative")
        if not (rates > 0).any():
            raise ConfigError(f"trace {self.name}: no byte ever gets through")

    def lasting(self, seconds: float) -> "Trace":
        """The same trace cut off there, or begun again until then."""
        laps = math.ceil(seconds / self.length_s)
        starts_s = [lap * self.length_s + at_s for lap in range(laps) for at_s in self.starts_s]
        kept = [at_s for at_s in starts_s if at_s < seconds]
        rates = (self.bytes_per_s * laps)[: len(kept)]
        return replace(self, starts_s=tuple(kept), bytes_per_s=rates, length_s=float(seconds))

    def rate(self, at_s: float) -> float:
        """Bytes per second at that time, which is 0 or later."""
        step = np.searchsorted(self._edges_s, at_s % self.length_s, side="right") - 1
        return self.bytes_per_s[min(int(step), len(self.bytes_per_s) - 1)]

    def sent_bytes(self, at_s: Floats | float) -> Floats:
        """What gets through from 0 s until then, if there is always something to send."""
        laps, rest_s = np.divmod(at_s, self.length_s)
        within: Floats = np.interp(rest_s, self._edges_s, self._through)
        return np.asarray(laps * self._through[-1] + within)

    def transfer_s(self, at_s: Floats | float, n_bytes: Floats | float) -> Floats:
        """Seconds for so many bytes, of which the first is sent at `at_s`; shapes broadcast."""
        at_s, n_bytes = np.asarray(at_s, dtype=float), np.asarray(n_bytes, dtype=float)
        laps, rest = np.divmod(self.sent_bytes(at_s) + n_bytes, self._through[-1])
        # The first step that ends with as much; of the last lap's end the last step that sends.
        is_end = (rest == 0) & (laps > 0)
        laps, rest = np.where(is_end, laps - 1, laps), np.where(is_end, self._through[-1], rest)
        step = np.maximum(np.searchsorted(self._through, rest, side="left"), 1) - 1
        rates = np.asarray(self.bytes_per_s)[step]
        over = rest - self._through[step]
        within = np.divide(over, rates, out=np.zeros_like(over), where=rates > 0)
        seconds = laps * self.length_s + self._edges_s[step] + within - at_s
        return np.where(n_bytes > 0, np.maximum(seconds, 0.0), 0.0)

    def every_second(self) -> Floats:
        """The mean rate of each whole second."""
        bounds = np.arange(int(self.length_s) + 1, dtype=float)
        means: Floats = np.diff(np.interp(bounds, self._edges_s, self._through))
        return means

    @cached_property
    def _edges_s(self) -> Floats:
        return np.array([*self.starts_s, self.length_s])

    @cached_property
    def _through(self) -> Floats:
        """Bytes that get through until each edge."""
        steps = np.diff(self._edges_s) * np.array(self.bytes_per_s)
        return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class TraceStatistics:
    """Of the rates second by second. Quantiles and the mean in Mbit/s.

    cv: standard deviation over mean. changes_per_minute: how often the median of 5 s is more than
    twice, or less than half, the one before. fade_share: seconds below 0.1 Mbit/s.
    """

    seconds: int
    mean: float
    p5: float
    p50: float
    p95: float
    cv: float
    changes_per_minute: float
    fade_share: float


def statistics(trace: Trace) -> TraceStatistics:
    """Those of a trace of 10 s or more; raises ConfigError for a shorter one."""
    rates = trace.every_second()
    windows = len(rates) // int(_WINDOW_S)
    if windows < 2:
        raise ConfigError(f"trace {trace.name} lasts {trace.length_s:g} s; 10 s at least")
    medians = np.median(rates[: windows * int(_WINDOW_S)].reshape(windows, -1), axis=1)
    before, after = np.maximum(medians[:-1], 1.0), np.maximum(medians[1:], 1.0)
    changes = np.abs(np.log2(after / before)) > 1
    low, middle, high = np.quantile(rates, (0.05, 0.5, 0.95)) / MBIT
    return TraceStatistics(
        len(rates),
        float(rates.mean() / MBIT),
        float(low),
        float(middle),
        float(high),
        float(rates.std() / rates.mean()),
        float(60 * changes.sum() / (windows * _WINDOW_S)),
        float((rates < _FADE_BYTES_PER_S).mean()),
    )
