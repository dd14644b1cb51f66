"""How hot NVIDIA's GPUs of this host are, through NVML; nothing where there are none.

Their utilisation is not looked at: NVML does not tell a session's own work from others'.
"""

from collections.abc import Iterator
from typing import Any

from edgesplit.node.meter.sensor.nvml import opened_api

# nvml.h: the sensor, and the thresholds of throttling.
_SENSOR, _SLOWDOWN = 0, 1
# Reasons for which the clocks are lower than they could be (nvml.h): hardware slowdown, software
# thermal, hardware thermal, power brake. Idle clocks and a power cap are none of them.
_THROTTLED = 0x08 | 0x20 | 0x40 | 0x80


class GpuHeat:
    """All GPUs, opened at the first look. api: pynvml's, or what speaks like it."""

    def __init__(self, api: Any = None) -> None:
        self._api = api
        self._gpus: list[tuple[Any, float]] | None = None  # each with where it throttles

    def heat(self) -> Iterator[tuple[float, float]]:
        """(temperature, where it throttles) of each GPU, degrees Celsius."""
        for gpu, limit_c in self._found():
            try:
                yield float(self._api.nvmlDeviceGetTemperature(gpu, _SENSOR)), limit_c
            except self._api.NVMLError:
                continue

    def is_throttled(self) -> bool | None:
        """Whether any GPU is slowed down by heat or lack of power; None where none says so."""
        said = []
        for gpu, _ in self._found():
            try:
                said.append(int(self._api.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)))
            except self._api.NVMLError:
                continue
        return any(reasons & _THROTTLED for reasons in said) if said else None

    def _found(self) -> list[tuple[Any, float]]:
        if self._gpus is None:
            self._api = opened_api(self._api)
            self._gpus = list(self._known()) if self._api is not None else []
        return self._gpus

    def _known(self) -> Iterator[tuple[Any, float]]:
        for index in range(self._api.nvmlDeviceGetCount()):
            try:
                gpu = self._api.nvmlDeviceGetHandleByIndex(index)
                limit_c = float(self._api.nvmlDeviceGetTemperatureThreshold(gpu, _SLOWDOWN))
            except self._api.NVMLError:
                continue
            yield gpu, limit_c
