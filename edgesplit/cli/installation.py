"""What is installed on this host, as the doctor asks: packages, torch, runtimes.

A host with torch needs the extra `full`, one without needs `device`.
"""

from importlib.metadata import PackageNotFoundError, requires, version

from edgesplit.deploy.host_checks import Finding
from edgesplit.node.runtime.table import RUNTIMES, without_torch
from edgesplit.node.transport.tensor_kind import has_torch


def packages() -> Finding:
    """Whether every package that this kind of host needs is there in a version that will do."""
    from packaging.requirements import Requirement

    extra = "full" if has_torch() else "device"
    wrong, right = [], []
    for text in requires("edgesplit") or []:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": extra}):
            continue
        try:
            have = version(need.name)
        except PackageNotFoundError:
            wrong.append(f"{need.name} is not installed ({need.specifier} needed)")
            continue
        if need.specifier.contains(have, prereleases=True):
            right.append(f"{need.name} {have}")
        else:
            wrong.append(f"{need.name} {have} is not {need.specifier}")
    return not wrong, "; ".join(wrong) or ", ".join(right)


def torch_here() -> Finding:
    """Whether torch works with torchvision, or the host does not need it."""
    if not has_torch():
        missing = {name: RUNTIMES[name].missing() for name in without_torch()}
        here = [name for name, why in missing.items() if not why]
        if here:
            return True, f"not installed; this host can serve tiers in {', '.join(here)}"
        return False, f"not installed; no tier can be served: {'; '.join(missing.values())}"
    import torch

    from edgesplit.node.program.torchvision_ops import import_torchvision

    vision = import_torchvision().__version__
    kind = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return True, f"torch {torch.__version__} ({kind}) and torchvision {vision} load together"


def runtime_here(name: str) -> Finding:
    """Whether segments can be run in that runtime on this host."""
    why = RUNTIMES[name].missing()
    return not why, why or "can be used"
