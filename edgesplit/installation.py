"""What is installed on this host, as the doctor asks: packages, torch, runtimes.

A host with torch needs the extra `full`, one without needs `device`.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version

from edgesplit.node.runtime import onnx
from edgesplit.node.tensor_kind import has_torch

Finding = tuple[bool, str]
_NO_TORCH = "it needs torch, which is not installed here"


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
    """Whether torch works with torchvision, or the host can do without it."""
    if not has_torch():
        why = onnx.missing()
        rest = (
            f"no tier can be served: {why}" if why else "this host can serve tiers in ONNX Runtime"
        )
        return not why, f"not installed; {rest}"
    import torch

    from edgesplit.node.torchvision_ops import import_torchvision

    vision = import_torchvision().__version__
    kind = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return True, f"torch {torch.__version__} ({kind}) and torchvision {vision} load together"


def _compile_missing() -> str:
    if not has_torch():
        return _NO_TORCH
    from edgesplit.node.runtime import compiled

    return compiled.missing()


def _cuda_missing() -> str:
    if not has_torch():
        return _NO_TORCH
    from edgesplit.node.runtime import cuda

    return cuda.missing()


# Why each runtime that is not always there cannot be used on this host; empty if it can.
MISSING: dict[str, Callable[[], str]] = {
    "onnx": onnx.missing,
    "compile": _compile_missing,
    "cuda": _cuda_missing,
}


def runtime_here(name: str) -> Finding:
    """Whether segments can be run in that runtime on this host."""
    why = MISSING[name]()
    return not why, why or "can be used"
