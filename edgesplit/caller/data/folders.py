"""Data sets in folders of pictures, one folder per class: ImageFolder trees, ImageNet."""

from pathlib import Path
from typing import Any

from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.example import Example
from edgesplit.caller.inputs.images import read_image
from edgesplit.core.printable import printable
from edgesplit.errors import InputError
from edgesplit.node.program.torchvision_ops import import_torchvision

_SPLIT, _META = "val", "meta.bin"  # as torchvision.datasets.ImageNet leaves them
_IMAGENET_CLASSES = 1000


def image_folder(path: Path, name: str) -> DataSet:
    """Pictures at PATH/CLASS/...; labels count the folders in alphabetical order.

    Paths are listed at once, pictures read when they are asked for. Raises InputError.
    """
    return _tree(path, name, f"{_quoted(path)} is no ImageFolder tree")


def imagenet(path: Path, name: str) -> DataSet:
    """The validation set at PATH/val/WNID/..., with names of classes where PATH/meta.bin is.

    Raises InputError.
    """
    found = _tree(path / _SPLIT, name, f"no ImageNet in {_quoted(path)}")
    if len(found.classes) != _IMAGENET_CLASSES:
        raise InputError(
            f"no ImageNet in {_quoted(path)}: expected {_IMAGENET_CLASSES} folders in "
            f"{_quoted(path / _SPLIT)}, one per class (n01440764, ...), found "
            f"{len(found.classes)}; give the path alone to read it as an ImageFolder tree"
        )
    if not (path / _META).is_file():
        return found
    words = _class_words(path)
    names = tuple(words[wnid][0] if wnid in words else wnid for wnid in found.classes)
    return DataSet(name, found.read, found.indices, names)


def _tree(path: Path, name: str, problem: str) -> DataSet:
    """Raises InputError, which begins with the problem."""
    import_torchvision()
    from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

    expected = f"expected {_quoted(path)} to hold one folder per class, with pictures in each"
    try:
        classes, index_of = find_classes(path)
        samples: list[tuple[str, int]] = make_dataset(path, index_of, extensions=IMG_EXTENSIONS)
    except OSError as error:  # also torchvision's own, without a number, for an empty class
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(f"{problem}: {expected} ({printable(reason)})") from error

    def read(index: int) -> Example:
        file, label = samples[index]
        return Example(read_image(file), label, file)

    return DataSet(name, read, range(len(samples)), tuple(classes))


def _class_words(path: Path) -> dict[str, Any]:
    """Names by WordNet's identifier. Raises InputError for a file that is none of torchvision's."""
    from torchvision.datasets.imagenet import load_meta_file

    try:
        words, _ = load_meta_file(str(path), _META)
        return dict(words)
    except Exception as error:  # a damaged file fails in any way
        raise InputError(
            f"{_quoted(path / _META)} cannot be read: {printable(str(error))}; make it anew by "
            f"torchvision.datasets.ImageNet({str(path)!r}, split={_SPLIT!r}), or remove it"
        ) from error


def _quoted(path: Path) -> str:
    return f"'{printable(str(path))}'"
