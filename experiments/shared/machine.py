"""What measured figures depend on: processor, threads, versions."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "torchvision", "onnxruntime")


def machine_here(threads: int) -> dict[str, Any]:
    """The processor, the threads that were used, versions; None for what is not installed."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"cpu": _cpu(), "threads": threads, "python": platform.python_version(), **versions}


def _cpu() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
