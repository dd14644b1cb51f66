"""The one place that imports torchvision.

torchvision from PyPI is a CUDA build. Beside a CPU-only torch its operators do not load, and the
import itself fails with "operator torchvision::nms does not exist", although no classifier uses
them. Declaring the two operators it looks for is enough (pytorch/vision#9077).
"""

import importlib
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """torchvision, also beside a CPU-only torch, where its detection operators stay unusable.

    Tried as it is first: a matching CPU build of torchvision brings the operators itself.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
            raise
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", _SCHEMA)
    return importlib.import_module("torchvision")
