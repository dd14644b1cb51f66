"""Data by a short text: which reader a text means."""

from collections.abc import Callable
from pathlib import Path

from edgesplit.caller.data.cifar import cifar10, cifar100
from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.data_text import CAMERA, FOLDER, VIDEO, data_named
from edgesplit.caller.data.folders import image_folder, imagenet
from edgesplit.caller.data.packaged import digits, photos
from edgesplit.caller.data.video import VideoStream, camera, video_file
from edgesplit.extras import needs_full

_PACKAGED: dict[str, Callable[[], DataSet]] = {"digits": digits, "photos": photos}
_BY_PATH: dict[str, Callable[[Path, str], DataSet | VideoStream]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet": imagenet,
    FOLDER: image_folder,
    VIDEO: video_file,
}


def open_data(text: str) -> DataSet | VideoStream:
    """A data set, or a video as a stream of frames, by a short text. Nothing is downloaded.

    text: `digits` (scikit-learn's) or `photos` (scikit-image's); the folder of an ImageFolder tree,
    one folder per class; `cifar10:PATH`, `cifar100:PATH` or `imagenet:PATH`, as torchvision leaves
    them, of which the test or validation set is read; a video file; `camera:0`. A folder that is
    called digits is ./digits.

    Examples have `x` (uint8 of shape 1x3xHxW, as decoded), `label` (None where there is none) and
    `origin`; they are read when they are asked for. first(n) is the beginning, a data set's
    sample(n, seed) a part. Raises InputError for what cannot be opened, NotInstalledError where the
    extra `data` is needed.

    Example:
        >>> data = open_data("digits").sample(10, seed=0)
        >>> len(data), data[0].x.shape
        (10, torch.Size([1, 3, 8, 8]))
    """
    kind, where = data_named(text)
    with needs_full(f"data {text!r}"):
        if kind in _PACKAGED:
            return _PACKAGED[kind]()
        if kind == CAMERA:
            return camera(where, text)
        return _BY_PATH[kind](Path(where), text)
