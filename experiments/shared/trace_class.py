"""Bandwidth traces made here: links on the move as a Markov chain of six rates, and shapes.

Each second the link keeps its state, or with the chance `leave` draws one by the shares; the rate
scatters around the state's. So the shares are those of the states over time, whatever `leave` is,
and a state lasts 1/leave seconds or longer. Only these figures are ours: no recording is copied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesplit.errors import ConfigError
from experiments.shared.trace import MBIT, Trace
from experiments.shared.trace_file import read_trace


@dataclass(frozen=True)
class LinkClass:
    """Six rates in Mbit/s with their shares of the time; sigma: of the lognormal factor on them.

    like: what its statistics are to resemble.
    """

    rates: tuple[float, float, float, float, float, float]
    shares: tuple[float, float, float, float, float, float]
    leave: float
    sigma: float
    like: str


_NYU = "LTE in New York (NYU-METS, seven recordings of 19,025 s)"
LINK_CLASSES = {
    "subway": LinkClass(
        (0.02, 1.2, 4.0, 7.5, 12.0, 19.0),
        (0.03, 0.14, 0.22, 0.26, 0.22, 0.13),
        0.1,
        0.25,
        f"{_NYU}: the lines 7 and Q",
    ),
    "bus": LinkClass(
        (0.03, 0.8, 2.4, 4.0, 6.0, 10.0),
        (0.015, 0.06, 0.2, 0.33, 0.27, 0.125),
        0.07,
        0.25,
        f"{_NYU}: the buses 57 and 62, halfway between them",
    ),
    "drive": LinkClass(
        (0.02, 0.7, 2.0, 4.0, 7.0, 11.5),
        (0.1, 0.15, 0.2, 0.25, 0.19, 0.11),
        0.13,
        0.3,
        f"{_NYU}: the Long Island Rail Road, the quickest vehicle there",
    ),
    "wifi": LinkClass(
        (30.0, 36.0, 39.0, 41.0, 44.0, 48.0),
        (0.05, 0.15, 0.3, 0.3, 0.15, 0.05),
        0.2,
        0.03,
        "a calm wireless network at home; assumed",
    ),
    "satellite": LinkClass(
        (0.05, 4.0, 7.0, 10.0, 13.0, 17.0),
        (0.01, 0.09, 0.2, 0.35, 0.25, 0.1),
        1 / 15,
        0.15,
        "an uplink to low orbits, whose satellite changes every 15 s; assumed",
    ),
}
STEP, SAWTOOTH = "step", "sawtooth"
_HIGH, _LOW = 20.0, 1.0  # Mbit/s
_PHASE_S = 30  # of a step up or down, or of a tooth
TRACE_NAMES = (*LINK_CLASSES, STEP, SAWTOOTH)


def generated(name: str, seconds: int, seed: int) -> Trace:
    """A trace of that class, a rate a second: the same for the same seed.

    Raises ConfigError for an unknown class, or less than a second.
    """
    if name not in LINK_CLASSES:
        raise ConfigError(f"no class {name!r}; there are {', '.join(LINK_CLASSES)}")
    if seconds < 1:
        raise ConfigError(f"a trace lasts a second or longer, given {seconds}")
    kind, generator = LINK_CLASSES[name], np.random.default_rng(seed)
    drawn = generator.choice(len(kind.rates), size=seconds, p=kind.shares)
    leaves = generator.random(seconds) < kind.leave
    leaves[0] = True
    # The state of a second is what was drawn when one was last left.
    since = np.maximum.accumulate(np.where(leaves, np.arange(seconds), 0))
    scatter = generator.lognormal(-(kind.sigma**2) / 2, kind.sigma, seconds)  # of mean 1
    rates = np.array(kind.rates)[drawn[since]] * scatter
    return _each_second(name, rates * MBIT, f"generated, class {name}, seed {seed}")


def step(seconds: int) -> Trace:
    """By turns 30 s at 20 Mbit/s and 30 s at 1 Mbit/s."""
    is_low = np.arange(seconds) // _PHASE_S % 2 == 1
    rates = np.where(is_low, _LOW, _HIGH)
    return _each_second(STEP, rates * MBIT, "20 and 1 Mbit/s, 30 s each")


def sawtooth(seconds: int) -> Trace:
    """From 20 Mbit/s down to 1 Mbit/s within 30 s, in equal ratios, and up at once."""
    within = np.arange(seconds) % _PHASE_S / (_PHASE_S - 1)
    rates = _HIGH * (_LOW / _HIGH) ** within
    return _each_second(SAWTOOTH, rates * MBIT, "20 to 1 Mbit/s every 30 s")


_SHAPES: Mapping[str, Callable[[int], Trace]] = {STEP: step, SAWTOOTH: sawtooth}


def trace_named(text: str, seconds: int, seed: int) -> Trace:
    """A class by its name, a shape, or else the file at that path. Raises ConfigError."""
    if text in LINK_CLASSES:
        return generated(text, seconds, seed)
    if text in _SHAPES:
        return _SHAPES[text](seconds)
    if not Path(text).exists():
        raise ConfigError(f"no trace {text!r}: neither a file nor one of {', '.join(TRACE_NAMES)}")
    return read_trace(Path(text))


def _each_second(name: str, rates: np.ndarray, provenance: str) -> Trace:
    starts_s = tuple(map(float, range(len(rates))))
    return Trace(name, starts_s, tuple(rates.tolist()), float(len(rates)), provenance)
