"""What of this host changes its power draw or its speed, as it is now: kept beside figures."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_COMMAND_TIMEOUT_S = 2.0
UNKNOWN = "unknown"
_COMPUTING = ("edgesplit", "torch", "onnxruntime")


def host_id(root: Path = Path("/")) -> str:
    """Tells this host from others across restarts; two namespaces of one machine are one host."""
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        text = _text(root / name)
        if text:
            return text
    return platform.node()


def boot_id(root: Path = Path("/")) -> str:
    """The running kernel's own: the same in all its containers and namespaces."""
    return _text(root / "proc/sys/kernel/random/boot_id") or platform.node()


def host_state(root: Path = Path("/")) -> Mapping[str, str]:
    """Model, kernel, CPU governor, temperature, throttling, Wi-Fi power save; each as text."""
    return {
        "model": _model(root),
        "kernel": platform.release(),
        "governor": _each(root, "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
        "temperature_c": _temperature(root),
        "throttled": _said(["vcgencmd", "get_throttled"]),
        "wifi_power_save": _wifi_power_save(root),
    }


def computing_state(root: Path = Path("/")) -> Mapping[str, str]:
    """What layer times depend on beside the program: processors, their limits, versions.

    Without what needs a command to be run: this is asked while a session opens.
    """
    return {
        "host": host_id(root),
        "model": _model(root),
        "cpus": str(len(os.sched_getaffinity(0))),
        "cpu_limit": ", ".join(_cpu_limits(root)),
        "governor": _each(root, "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
        "gpus": _gpus(root),
        **{name: _version(name) for name in _COMPUTING},
    }


def _cpu_limits(root: Path) -> Iterator[str]:
    """Quotas of the cgroups that this process is in, from the innermost."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(name.lstrip("/"))
        for place in (group, *group.parents):
            folder = root / "sys/fs/cgroup" / ("cpu" if controllers else "") / place
            limit = _text(folder / "cpu.max") or _each(folder, "cpu.cfs_[qp]*_us")
            if limit != UNKNOWN:
                yield limit


def _gpus(root: Path) -> str:
    """NVIDIA's, with their driver; empty where there are none."""
    models = [
        line.partition(":")[2].strip()
        for file in sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
        for line in _text(file).splitlines()
        if line.startswith("Model:")
    ]
    return ", ".join([*models, *_text(root / "proc/driver/nvidia/version").splitlines()[:1]])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _model(root: Path) -> str:
    """A board's, else the processor's."""
    board = _text(root / "proc/device-tree/model").rstrip("\0")
    if board:
        return board
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _each(root: Path, pattern: str) -> str:
    """The different values of all files of that pattern."""
    found = dict.fromkeys(filter(None, map(_text, sorted(root.glob(pattern)))))
    return ", ".join(found) or UNKNOWN


def _temperature(root: Path) -> str:
    """The hottest thermal zone in degrees Celsius."""
    zones = [_text(file) for file in root.glob("sys/class/thermal/thermal_zone*/temp")]
    degrees = [int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()]
    return f"{max(degrees):.1f}" if degrees else UNKNOWN


def _wifi_power_save(root: Path) -> str:
    cards = [file.parent.name for file in root.glob("sys/class/net/*/wireless")]
    said = [_said(["iw", "dev", card, "get", "power_save"]) for card in sorted(cards)]
    return "; ".join(said) or "no Wi-Fi"


def _text(file: Path) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _said(command: list[str]) -> str:
    """What a command prints; `unknown` where there is none or it fails."""
    if shutil.which(command[0]) is None:
        return UNKNOWN
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return " ".join(done.stdout.split()) or UNKNOWN
