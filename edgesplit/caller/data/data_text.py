"""Which data a short text means, found without reading them and without torch."""

from pathlib import Path

from edgesplit.core.given import is_name
from edgesplit.core.printable import printable
from edgesplit.errors import InputError

PACKAGED = ("digits", "photos")
CAMERA, FOLDER, VIDEO = "camera", "a folder", "a video"
# Data in folders, and what is in the folder.
IN_FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "imagenet": "val, with a folder per class",
}
_KNOWN = (
    "digits, photos, the folder of an ImageFolder tree, cifar10:PATH, cifar100:PATH, "
    "imagenet:PATH, a video file, or camera:0"
)


def data_named(text: str) -> tuple[str, str]:
    """(what it is, where): a name of PACKAGED or IN_FOLDERS, or CAMERA, FOLDER, VIDEO.

    Raises InputError for what cannot be any.
    """
    if not is_name(text):
        raise InputError(f"data are named by text: {_KNOWN}; given {text!r}")
    if text in PACKAGED:
        return text, ""
    kind, colon, rest = text.partition(":")
    if colon and kind == CAMERA:
        return CAMERA, rest
    if colon and kind in IN_FOLDERS:
        return kind, _folder(rest, text)
    return _by_path(text), text


def _by_path(text: str) -> str:
    path = Path(text)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise InputError(f"no data '{printable(text)}': {error}; expected {_KNOWN}") from error
    if is_folder:
        return FOLDER
    if is_file:
        return VIDEO
    if text in IN_FOLDERS:
        raise InputError(
            f"no data {text!r}: write {text}:PATH, where PATH is the folder that has "
            f"{IN_FOLDERS[text]}, as torchvision leaves it; nothing is downloaded"
        )
    if text == CAMERA:
        raise InputError("no data 'camera': write camera:0, with the camera's number")
    raise InputError(
        f"no data '{printable(text)}': there is no such file or folder; expected {_KNOWN}"
    )


def _folder(path: str, text: str) -> str:
    """Raises InputError."""
    try:
        if path and Path(path).is_dir():
            return path
    except (OSError, ValueError) as error:
        raise InputError(f"no data '{printable(text)}': {error}") from error
    kind = text.partition(":")[0]
    raise InputError(f"no data '{printable(text)}': expected {kind}:PATH with an existing folder")
