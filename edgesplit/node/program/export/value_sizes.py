"""What to do about a forward whose sizes or branches depend on the values of an input."""

import traceback
from pathlib import Path

from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

_RECURRENT = ("torch/nn/modules/rnn.py", "torch/nn/utils/rnn.py")
_DETECTION = ("torchvision/models/detection/", "torchvision/ops/")
_WITHOUT_OPERATORS = ("Couldn't load custom C++ ops", "torchvision::")
_BOXES = (
    "A detection model picks boxes by their scores, so that sizes depend on values; split its "
    "backbone, EdgeSplit(model.backbone), and run the rest on what that returns"
)


def advice(error: BaseException) -> str:
    """How the model can be exported after all, where torch.export failed with that error."""
    files = [Path(frame.filename).as_posix() for frame in traceback.extract_tb(error.__traceback__)]
    # A recurrent layer on a padded sequence is captured as it is.
    if any(file.endswith(_RECURRENT) for file in files):
        return (
            "It packs sequences by their lengths (pack_padded_sequence), so that sizes depend on "
            "values; run the recurrent layer on the padded sequence and mask its results"
        )
    if any(part in file for part in _DETECTION for file in files):
        return _BOXES
    if isinstance(error, GuardOnDataDependentSymNode):
        return (
            "A size or a branch depends on the values of a tensor, such as one of lengths; pass "
            "it as a plain int, which is a part of the signature, or pad to the longest and mask"
        )
    return "Make forward a fixed sequence of tensor operations"


def why_operators_lack(error: BaseException) -> str:
    """What to say where the model failed for want of torchvision's operators; else nothing."""
    if not any(words in str(error) for words in _WITHOUT_OPERATORS):
        return ""
    return (
        "torchvision's own operators (nms, roi_align) are not here, since torchvision on PyPI is "
        f"built for CUDA and this torch is not; a build for the CPU brings them. {_BOXES}"
    )
