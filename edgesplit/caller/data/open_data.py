"""Data by a short text: which reader a text means."""

from collections.abc import Callable
from pathlib import Path

from edgesplit.caller.data.cifar import cifar10, cifar100
from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.folders import image_folder, imagenet
from edgesplit.caller.data.packaged import digits, photos
from edgesplit.caller.data.video import VideoStream, camera, video_file
from edgesplit.core.given import is_name
from edgesplit.core.printable import printable
from edgesplit.errors import InputError
from edgesplit.extras import needs_full

_PACKAGED: dict[str, Callable[[], DataSet]] = {"digits": digits, "photos": photos}
_IN_FOLDERS: dict[str, Callable[[Path, str], DataSet]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet": imagenet,
}
_KNOWN = (
    "digits, photos, the folder of an ImageFolder tree, cifar10:PATH, cifar100:PATH, "
    "imagenet:PATH, a video file, or camera:0"
)


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
    if not is_name(text):
        raise InputError(f"data are named by text: {_KNOWN}; given {text!r}")
    with needs_full(f"data {text!r}"):
        return _opened(text)


def _opened(text: str) -> DataSet | VideoStream:
    """Raises InputError; ModuleNotFoundError for a package that is not there."""
    if text in _PACKAGED:
        return _PACKAGED[text]()
    kind, colon, rest = text.partition(":")
    if colon and kind == "camera":
        return camera(rest, text)
    if colon and kind in _IN_FOLDERS:
        return _IN_FOLDERS[kind](_folder(rest, text), text)
    return _by_path(text)


def _by_path(text: str) -> DataSet | VideoStream:
    path = Path(text)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise InputError(f"no data '{printable(text)}': {error}; expected {_KNOWN}") from error
    if is_folder:
        return image_folder(path, text)
    if is_file:
        return video_file(path, text)
    raise InputError(
        f"no data '{printable(text)}': there is no such file or folder; expected {_KNOWN}"
    )


def _folder(path: str, text: str) -> Path:
    """Raises InputError."""
    try:
        if path and Path(path).is_dir():
            return Path(path)
    except (OSError, ValueError) as error:
        raise InputError(f"no data '{printable(text)}': {error}") from error
    kind = text.partition(":")[0]
    raise InputError(f"no data '{printable(text)}': expected {kind}:PATH with an existing folder")
