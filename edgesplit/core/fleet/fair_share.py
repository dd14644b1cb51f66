"""Whose turn it is to compute: sessions in turn, by measured seconds and weight.

Deficit round robin (Shreedhar and Varghese 1996), charged afterwards, since nobody knows beforehand
what a task takes. A deadline goes before the turn where both can be kept.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.given import is_finite
from edgesplit.errors import ConfigError

QUANTUM_S = 0.02  # about a task: sessions of short ones have several in a turn
_LIGHTEST, _HEAVIEST = 1e-3, 1e3


@dataclass(frozen=True)
class Head:
    """The next task of a session that waits: when it must begin at the latest, what it may take."""

    latest_s: float = math.inf
    expected_s: float = 0.0


class FairShare:
    """Turns of whoever has joined. Not for several threads at once.

    Example:
        >>> share = FairShare()
        >>> share.join("a"), share.join("b")
        (None, None)
        >>> first = share.turn({"a": Head(), "b": Head()}, now_s=0.0)
        >>> share.charge(first, 1.0, others_wait=True)
        >>> (first, share.turn({"a": Head(), "b": Head()}, now_s=1.0))
        ('a', 'b')
    """

    def __init__(self, quantum_s: float = QUANTUM_S) -> None:
        self._quantum_s = quantum_s
        self._weights: dict[str, float] = {}
        self._credit_s: dict[str, float] = {}
        self._round: list[str] = []  # whose turn it is stands first

    def join(self, name: str, weight: float = 1.0) -> None:
        """One more session; weight: its share beside others'. Raises ConfigError."""
        if not (is_finite(weight) and _LIGHTEST <= weight <= _HEAVIEST):
            raise ConfigError(
                f"a session's weight must be from {_LIGHTEST:g} to {_HEAVIEST:g}, given {weight!r}"
            )
        self.leave(name)
        self._weights[name], self._credit_s[name] = weight, 0.0
        self._round.append(name)

    def leave(self, name: str) -> None:
        """One less; nothing where it is none."""
        if self._weights.pop(name, None) is not None:
            del self._credit_s[name]
            self._round.remove(name)

    def turn(self, waiting: Mapping[str, Head], now_s: float) -> str:
        """Who computes next, of those that wait: at least one, all joined."""
        if len(waiting) == 1:
            return next(iter(waiting))
        for name in self._round:
            if name not in waiting:  # what was not used is not saved up
                self._credit_s[name] = min(0.0, self._credit_s[name])
        fair = self._fair(waiting)
        urgent = min(waiting, key=lambda name: waiting[name].latest_s)
        return urgent if self._goes_first(urgent, fair, waiting, now_s) else fair

    def charge(self, name: str, seconds: float, others_wait: bool) -> None:
        """It has computed so long. What nobody else waited for costs nothing."""
        if name not in self._weights:
            return
        self._credit_s[name] = self._credit_s[name] - seconds if others_wait else 0.0

    def _fair(self, waiting: Mapping[str, Head]) -> str:
        able = [name for name in waiting if self._credit_s[name] > 0]
        if not able:
            rounds = min(self._rounds(name) for name in waiting)
            for name in waiting:
                self._credit_s[name] += rounds * self._quantum(name)
            able = [name for name in waiting if self._credit_s[name] > 0]
        if not able:  # rounding has left the first of them at 0
            able = [max(waiting, key=lambda name: self._credit_s[name])]
        chosen = next(name for name in self._round if name in able)
        at = self._round.index(chosen)
        self._round = self._round[at:] + self._round[:at]
        return chosen

    def _rounds(self, name: str) -> int:
        """Until it has credit."""
        return math.floor(-self._credit_s[name] / self._quantum(name)) + 1

    def _quantum(self, name: str) -> float:
        return self._weights[name] * self._quantum_s

    def _goes_first(
        self, urgent: str, fair: str, waiting: Mapping[str, Head], now_s: float
    ) -> bool:
        """Whether it would come too late after the other, which can wait for it.

        One that has had more than its share has no claim: else short deadlines would be a way to
        have more.
        """
        mine, other = waiting[urgent], waiting[fair]
        is_too_late = now_s <= mine.latest_s < now_s + other.expected_s
        return (
            is_too_late
            and other.latest_s >= now_s + mine.expected_s
            and self._credit_s[urgent] > -self._quantum(urgent)
        )
