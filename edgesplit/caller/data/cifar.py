"""CIFAR-10 and CIFAR-100 from a folder, by torchvision's readers; nothing is downloaded."""

from pathlib import Path
from typing import Any

import torch

from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.example import Example
from edgesplit.core.printable import printable
from edgesplit.errors import InputError
from edgesplit.node.program.torchvision_ops import import_torchvision


def cifar10(path: Path, name: str) -> DataSet:
    """The 10,000 pictures of its test set, 32x32, in ten classes. Raises InputError."""
    return _cifar("CIFAR10", path, name)


def cifar100(path: Path, name: str) -> DataSet:
    """The 10,000 pictures of its test set, 32x32, in a hundred classes. Raises InputError."""
    return _cifar("CIFAR100", path, name)


def _cifar(kind: str, path: Path, name: str) -> DataSet:
    """torchvision compares checksums before it unpickles a file. All pictures take 31 MB."""
    import_torchvision()
    from torchvision import datasets

    reader: Any = getattr(datasets, kind)
    root = path.parent if path.name == reader.base_folder else path
    try:
        found = reader(root, train=False, download=False)
    except (RuntimeError, OSError, KeyError, ValueError, EOFError) as error:
        expected = ", ".join(file for file, _ in (*reader.test_list, *reader.train_list))
        folder = printable(str(root / reader.base_folder))
        raise InputError(
            f"no {kind} in '{printable(str(path))}': expected '{folder}' with the files "
            f"{expected} and {reader.meta['filename']}, with the checksums that torchvision "
            f"knows; torchvision.datasets.{kind}(PATH, download=True) puts them there"
        ) from error

    def read(index: int) -> Example:
        pixels = torch.from_numpy(found.data[index]).permute(2, 0, 1).unsqueeze(0).contiguous()
        return Example(pixels, int(found.targets[index]), f"{name} {index}")

    return DataSet(name, read, range(len(found.data)), tuple(found.classes))
