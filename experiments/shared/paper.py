"""The figures that arXiv 2605.09623 reports, to stand beside ours.

Its testbed is a Raspberry Pi 5, a laptop and a GPU PC; 500 inferences of 1x3x224x224, repeated 10
times. Its energy is that of its devices by E = 12 W x t for the Pi, so our end energy is the
nearest to it; neither is metered.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """Mean and standard deviation, in seconds or joules."""

    mean: float
    std: float


@dataclass(frozen=True)
class PaperRow:
    """One model on the paper's static split and on its adaptive one."""

    static_latency_s: Reported
    adaptive_latency_s: Reported
    static_energy_j: Reported
    adaptive_energy_j: Reported

    @property
    def latency_change(self) -> float:
        """Of adaptive against static: -0.1 is a tenth less."""
        return self.adaptive_latency_s.mean / self.static_latency_s.mean - 1

    @property
    def energy_change(self) -> float:
        """Of adaptive against static: -0.1 is a tenth less."""
        return self.adaptive_energy_j.mean / self.static_energy_j.mean - 1


PAPER = {
    "vgg16": PaperRow(
        Reported(0.52514, 0.01131),
        Reported(0.49186, 0.01700),
        Reported(5.693, 0.158),
        Reported(3.654, 0.202),
    ),
    "alexnet": PaperRow(
        Reported(0.07815, 0.01181),
        Reported(0.06023, 0.00465),
        Reported(0.675, 0.091),
        Reported(0.434, 0.082),
    ),
    "mobilenet_v2": PaperRow(
        Reported(0.09846, 0.00165),
        Reported(0.08448, 0.00205),
        Reported(0.919, 0.025),
        Reported(0.670, 0.063),
    ),
}

# While VGG-16's wide link went from 40 MB/s to 5 Mbit/s and back, re-evaluated every 60 s.
THROTTLE = {"payload_bytes_before": 1.6e6, "payload_bytes_after": 98e3, "window_s": 60.0}
