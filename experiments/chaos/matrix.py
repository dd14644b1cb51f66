"""The fault matrix of the testbed as values: which fault, at which moment, under which plan.

Not in it: a power cut of `end`, which takes the calling process away, and a clock that is off,
which namespaces cannot give one host alone (docs/measuring.md).
"""

from dataclasses import dataclass

import numpy as np

from experiments.chaos.faults import Fault

TWO, THREE, SCORE = "end:0-2 | edge:2-8", "end:0-2 | edge:2-5 | cloud:5-8", "score"
IDLE, REQUEST, PREPARATION, ACTIVATION = "idle", "request", "preparation", "activation"
TIERS = ("end", "edge", "cloud")
LINKS = ("end-edge", "edge-cloud", "end-cloud")
DARK_S, LINK_S, FULL_S = 10.0, 8.0, 6.0
FREEZES_S = (1.0, 5.0, 30.0)
# After these Ray's cluster is another one, or the calling process is gone: the last of a session.
ENDING = {("kill-raylet", "end"), ("kill-raylet", "cloud"), ("kill-head", "cloud"),
          ("power-cut", "cloud")}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row of the matrix; faults: one, or two that overlap."""

    faults: tuple[Fault, ...]
    moment: str
    policy: str

    @property
    def is_ending(self) -> bool:
        """Whether the session may not go on after it."""
        return any((fault.kind, fault.target) in ENDING for fault in self.faults)

    def __str__(self) -> str:
        return f"{' + '.join(map(str, self.faults))}, {self.moment}, {self.policy}"


def kills() -> list[Fault]:
    """SIGKILL of each tier's actor and of the scheduler."""
    return [Fault("kill", who) for who in (*TIERS, "scheduler")]


def lasting() -> list[Fault]:
    """Every fault that ends by itself or is undone, and leaves Ray's head alone."""
    return [
        *(Fault("freeze", tier, seconds) for tier in TIERS for seconds in FREEZES_S),
        *(Fault(kind, link, LINK_S) for kind in ("cut", "throttle", "flap") for link in LINKS),
        *(Fault("fill-disk", host, FULL_S) for host in TIERS),
        Fault("kill-raylet", "edge"),
        Fault("power-cut", "edge", DARK_S),
    ]


def matrix() -> list[Case]:
    """Every fault during a request; the telling ones also at other moments and in other plans."""
    edge_gone = Fault("power-cut", "edge", DARK_S)
    freeze, cut = Fault("freeze", "edge", 5.0), Fault("cut", "end-edge", LINK_S)
    some = [*kills(), freeze, cut]
    switching = [*kills(), Fault("freeze", "cloud", 5.0), Fault("cut", "edge-cloud", LINK_S)]
    direct = [Fault(kind, "end-cloud", LINK_S) for kind in ("cut", "throttle", "flap")]
    return [
        *_cases([*kills(), *lasting()], REQUEST, THREE),
        *_cases([*some, edge_gone], IDLE, THREE),
        *_cases(some, PREPARATION, THREE),
        Case((Fault("fill-disk", "edge", FULL_S), Fault("kill", "edge")), REQUEST, THREE),
        *_cases([*some, edge_gone], REQUEST, TWO),
        *_cases([Fault("kill", "cloud"), *direct], REQUEST, SCORE),
        *_cases(switching, ACTIVATION, SCORE),
        *_cases([Fault("kill-raylet", "cloud"), Fault("kill-head", "cloud")], REQUEST, THREE),
        *_cases([Fault("power-cut", "cloud", DARK_S)], REQUEST, THREE),
        *_cases([Fault("kill-raylet", "end")], REQUEST, THREE),
    ]


def pair(rng: np.random.Generator) -> Case:
    """Two different faults that overlap, during a request, drawn; neither takes Ray's head."""
    known = [*kills(), *(fault for fault in lasting() if fault.seconds <= DARK_S)]
    first, second = (known[int(k)] for k in rng.choice(len(known), 2, replace=False))
    return Case((first, second), REQUEST, THREE)


def _cases(faults: list[Fault], moment: str, policy: str) -> list[Case]:
    return [Case((fault,), moment, policy) for fault in faults]
