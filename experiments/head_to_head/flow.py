"""A trace for one request at a time: how much gets through, and when so much has.

The same figures as Trace has for arrays, without arrays.
"""

from bisect import bisect_left, bisect_right

from experiments.shared.trace import Trace


class Flow:
    """Of a link in bytes, or of a tier in seconds of work as profiled."""

    def __init__(self, trace: Trace) -> None:
        self._edges_s = [*trace.starts_s, trace.length_s]
        self._rates, self._length_s = list(trace.bytes_per_s), trace.length_s
        self._through = [0.0]
        for rate, begin_s, end_s in zip(
            self._rates, self._edges_s[:-1], self._edges_s[1:], strict=True
        ):
            self._through.append(self._through[-1] + rate * (end_s - begin_s))

    def through(self, at_s: float) -> float:
        """What gets through from 0 s until then, if there is always something."""
        laps, rest_s = divmod(at_s, self._length_s)
        step = min(bisect_right(self._edges_s, rest_s), len(self._rates)) - 1
        within = self._through[step] + self._rates[step] * (rest_s - self._edges_s[step])
        return laps * self._through[-1] + within

    def done_s(self, at_s: float, amount: float) -> float:
        """When so much is through of which the first goes at `at_s`."""
        if amount <= 0:
            return at_s
        laps, rest = divmod(self.through(at_s) + amount, self._through[-1])
        if rest == 0 and laps > 0:  # at the end of a lap, or the last step of it that carries
            laps, rest = laps - 1, self._through[-1]
        step = max(bisect_left(self._through, rest), 1) - 1
        rate = self._rates[step]
        within = (rest - self._through[step]) / rate if rate > 0 else 0.0
        return max(at_s, laps * self._length_s + self._edges_s[step] + within)

    def mean(self, from_s: float, until_s: float) -> float:
        """The mean rate between two moments."""
        return (self.through(until_s) - self.through(from_s)) / (until_s - from_s)
