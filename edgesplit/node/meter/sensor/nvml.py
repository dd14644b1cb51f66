"""NVIDIA GPUs through NVML: the energy counter where there is one, else power.

The host is not in these joules. No NVML error leaves this file: `_TOLD` says what each means.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgesplit.core.energy.reading import Counter, Counters, Reading
from edgesplit.core.energy.sensor import Kind, SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import Found, tried

POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT (nvml.h)
UPDATE_S = 0.1  # measured on an H200; 20 to 100 ms is reported of others
REL_ACCURACY = 0.05  # nvml.h states it for Fermi and Kepler, and nothing for newer ones
EXCLUDES = ("the host: processor, memory, disks, fans", "losses of the power supply")
KNOWN = (
    "±5 % is what nvml.h states for Fermi and Kepler, taken for all; A100 and H100 sample 25 % of "
    "the run time (arXiv 2312.02741); update every 100 ms, measured on an H200 (driver 580.159); "
    "others report 20 to 100 ms of other GPUs [unverified]"
)
AVERAGED = (
    "on Ampere (but GA100) and newer it is the mean of the last second, before that instantaneous "
    "(nvml.h); taken as 1 s for all"
)

# NVML's return codes (nvml.h): what each means here, and what mends it.
_TOLD = {
    3: ("the GPU has no such sensor (Not Supported)", ""),
    4: (
        "this user may not read the GPU (No Permission)",
        "see its group with `stat -c %G /dev/nvidiactl`, then `sudo usermod -aG GROUP $USER` and "
        "log in again; in a container `docker run --gpus all`",
    ),
    9: ("the NVIDIA driver is not loaded (Driver Not Loaded)", "sudo modprobe nvidia"),
    12: (
        "there is no NVIDIA driver: libnvidia-ml.so.1 was not found (Library Not Found)",
        "on a host with an NVIDIA GPU `sudo ubuntu-drivers install`; in a container "
        "`docker run --gpus all`",
    ),
    15: ("the GPU has fallen off its bus (GPU Is Lost)", "sudo reboot"),
    18: ("library and driver differ, as after an upgrade (Version Mismatch)", "sudo reboot"),
    999: (
        "the driver failed (Unknown)",
        "see `sudo dmesg | grep -iE 'nvrm|xid'`, then sudo reboot",
    ),
}
# Codes with which a GPU or its driver says that it lacks a sensor: Invalid Argument, Not
# Supported, Function Not Found. A field that an older driver does not know gives the first.
_LACKING = frozenset({2, 3, 13})


@contextmanager
def _told(api: Any, what: str) -> Iterator[None]:
    """Turn an NVML error into a MeterError about `what`."""
    try:
        yield
    except api.NVMLError as error:
        reason, fix = _TOLD.get(error.value, (str(error), ""))
        raise MeterError(f"{what}: {reason}", fix) from error


@dataclass(frozen=True)
class _Way:
    """One way of asking a GPU; ask(api, handle) gives joules of a counter, else watts."""

    call: str
    kind: Kind
    averaging_s: float
    ask: Callable[[Any, Any], float]


def _instant_w(api: Any, gpu: Any) -> float:
    [field] = api.nvmlDeviceGetFieldValues(gpu, [POWER_INSTANT])
    if field.nvmlReturn != 0:  # each field has a return code of its own
        raise api.NVMLError(field.nvmlReturn)
    return float(field.value.uiVal) / 1e3


_COUNTER = _Way(
    "nvmlDeviceGetTotalEnergyConsumption",
    "counter",
    0.0,
    lambda api, gpu: api.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
)
_INSTANT = _Way("field NVML_FI_DEV_POWER_INSTANT", "power", 0.0, _instant_w)
_USAGE = _Way(
    "nvmlDeviceGetPowerUsage", "power", 1.0, lambda api, gpu: api.nvmlDeviceGetPowerUsage(gpu) / 1e3
)


class _Gpus:
    """The GPUs asked for, all where indices is None, while the driver's library is open."""

    def __init__(self, indices: tuple[int, ...] | None, api: Any) -> None:
        self._indices = indices
        self._api = api
        self._handles: dict[str, Any] = {}
        self._is_open = False

    def open(self) -> None:
        self.close()
        api = self._api = self._api or _pynvml()
        with _told(api, "NVML"):
            api.nvmlInit()
        self._is_open = True
        with _told(api, "NVML"):
            count = api.nvmlDeviceGetCount()
        for index in _checked(self._indices, count):
            with _told(api, f"gpu-{index}"):
                self._handles[f"gpu-{index}"] = api.nvmlDeviceGetHandleByIndex(index)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._handles = {}
        with _told(self._api, "NVML"):
            self._api.nvmlShutdown()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._handles)

    def has(self, name: str, way: _Way) -> bool:
        """Whether the GPU answers this way. Raises MeterError where it fails otherwise."""
        with _told(self._api, name):
            try:
                way.ask(self._api, self._handles[name])
            except self._api.NVMLError as error:
                if error.value in _LACKING:
                    return False
                raise
        return True

    def read(self, ways: Mapping[str, _Way]) -> dict[str, float]:
        """Joules or watts per GPU. Raises MeterError, also where none is open."""
        if not self._is_open:
            raise MeterError("NVML is not open", "call open() before read()")
        figures = {}
        for name, way in ways.items():
            with _told(self._api, name):
                figures[name] = way.ask(self._api, self._handles[name])
        return figures


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise MeterError("the module pynvml is missing", "pip install nvidia-ml-py") from error
    return pynvml


def opened_api(api: Any = None) -> Any:
    """The driver's library, opened for good; None where there is no GPU or no driver."""
    try:
        api = api or _pynvml()
        with _told(api, "NVML"):
            api.nvmlInit()
            return api if api.nvmlDeviceGetCount() else None
    except MeterError:
        return None


def _checked(indices: tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    """The indices to read, of `count` GPUs."""
    if count == 0:
        raise MeterError("the NVIDIA driver sees no GPU", "see `nvidia-smi -L`")
    chosen = tuple(range(count)) if indices is None else indices
    if not chosen or any(not 0 <= index < count for index in chosen):
        raise MeterError(f"GPUs {chosen} were asked for, there are 0 to {count - 1}")
    return chosen


def synchronise_cuda() -> None:
    """Wait for the work of PyTorch's current GPU, if this process has begun any.

    It neither imports torch nor starts CUDA: either would cost the energy that is to be measured.
    """
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.synchronize()


class NvmlSensor:
    """NVIDIA GPUs, summed; indices are NVML's, which CUDA_VISIBLE_DEVICES leaves as they are.

    Each GPU's energy counter where all have one (Volta and newer) and `counts` is true. Else watts
    of each: those of the moment, or where a GPU has none, the mean over a second. read() first
    calls `synchronise`; a background sampler that should not wait for the GPU is given one that
    does nothing.
    """

    def __init__(
        self,
        indices: tuple[int, ...] | None = None,
        api: Any = None,
        synchronise: Callable[[], None] = synchronise_cuda,
        clock: Callable[[], float] = time.perf_counter,
        counts: bool = True,
    ) -> None:
        self._counts = counts
        self._gpus = _Gpus(indices, api)
        self._synchronise = synchronise
        self._clock = clock
        self._ways: dict[str, _Way] = {}
        self._counters: Counters | None = None

    @property
    def info(self) -> SensorInfo:
        """What it is; before open() what it is of GPUs with a counter."""
        return _info(tuple(self._ways.values()) or (_COUNTER,))

    def open(self) -> None:
        """Open NVML, choose the way of each GPU and read once. Raises MeterError."""
        try:
            self._gpus.open()
            self._ways = self._choose()
            counters = Counters(dict.fromkeys(self._ways, Counter(math.inf)))
            self._counters = counters if _COUNTER in self._ways.values() else None
            self.read()
        except MeterError:
            self.close()
            raise

    def read(self) -> Reading:
        """Joules since open(), or watts; a break where a counter ran backwards (driver reload)."""
        self._synchronise()
        at_s = self._clock()
        figures = self._gpus.read(self._ways)
        if self._counters is None:
            return Reading(at_s, watts=sum(figures.values()), parts=figures)
        self._counters = self._counters.advance(figures, at_s)
        return self._counters.reading(at_s)

    def close(self) -> None:
        """Shut NVML down, if it was opened."""
        self._gpus.close()

    def _choose(self) -> dict[str, _Way]:
        """The way of each GPU: joules of all, or watts of all."""
        gpus = self._gpus
        if self._counts and all(gpus.has(name, _COUNTER) for name in gpus.names):
            return dict.fromkeys(gpus.names, _COUNTER)
        return {name: _INSTANT if gpus.has(name, _INSTANT) else _USAGE for name in gpus.names}


def discover(api: Any = None) -> list[Found]:
    """The GPUs of this host, tried once."""
    return [tried(NvmlSensor(api=api))]


def from_argument(text: str) -> NvmlSensor:
    """The GPUs of those numbers, as in `0,1`. Raises MeterError."""
    numbers = [number for number in text.split(",") if number]
    for number in numbers:
        if not number.isdecimal():
            raise MeterError(
                f"meter 'nvml:{text}': {number!r} is no number of a GPU", "such as nvml:0,1"
            )
    return NvmlSensor(tuple(map(int, numbers)) or None)


def _info(ways: tuple[_Way, ...]) -> SensorInfo:
    """What GPUs read in these ways amount to."""
    calls = " and ".join(dict.fromkeys(way.call for way in ways))
    averaging_s = max(way.averaging_s for way in ways)
    provenance = f"{calls}; {AVERAGED}; {KNOWN}" if averaging_s else f"{calls}; {KNOWN}"
    return SensorInfo(
        "nvml", "gpu", ways[0].kind, UPDATE_S, averaging_s, 1e-3, REL_ACCURACY, EXCLUDES, provenance
    )
