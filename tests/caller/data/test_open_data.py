"""Data by a short text: every reader on small data, and errors that say what is expected."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.open_data import open_data
from edgesplit.caller.data.packaged import PHOTOS, photo_file
from edgesplit.errors import InputError
from edgesplit.node.program.torchvision_ops import import_torchvision

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """An ImageFolder tree of four photographs in two classes, and a broken file."""
    folder = tmp_path_factory.mktemp("tree")
    for count, name in enumerate(PHOTOS[:4]):
        home = folder / ("cats", "other")[count % 2]
        home.mkdir(exist_ok=True)
        with photo_file(name) as photo:
            photo.resize((64, 48)).convert("RGB").save(home / f"{name.partition('.')[0]}.png")
    (folder / "other" / "zz-broken.png").write_bytes(b"no picture")
    return folder


def test_digits():
    data = open_data("digits")
    assert (data.name, len(data), data.classes) == ("digits", 1797, tuple("0123456789"))
    example = data[5]
    assert (example.x.shape, example.x.dtype, example.label) == ((1, 3, 8, 8), torch.uint8, 5)
    assert (int(example.x.min()), int(example.x.max())) == (0, 255)
    assert example.origin == "digits 5"


def test_photos():
    examples = list(open_data("photos"))
    assert [example.origin for example in examples] == list(PHOTOS)
    assert examples[1].x.shape == (1, 3, 300, 451)
    assert {example.label for example in examples} == {None}


def test_a_tree_of_folders(tree):
    data = open_data(str(tree))
    assert (data.classes, len(data)) == (("cats", "other"), 5)
    examples = [data[position] for position in range(4)]
    assert [example.label for example in examples] == [0, 0, 1, 1]
    with Image.open(examples[0].origin) as image:
        assert np.array_equal(examples[0].x[0].permute(1, 2, 0), np.array(image))
    with pytest.raises(InputError, match=r"zz-broken\.png' cannot be read as a picture"):
        data[4]


def test_examples_are_read_when_they_are_asked_for():
    read = []
    data = DataSet("d", lambda index: read.append(index), range(1000))
    assert read == []
    next(iter(data.sample(5, seed=1)))
    assert len(read) == 1


def test_parts_of_a_data_set():
    data = DataSet("d", lambda index: index, range(100))
    assert list(data.first(3)) == [0, 1, 2]
    drawn = list(data.sample(10, seed=3))
    assert drawn == sorted(set(drawn)) == list(data.sample(10, seed=3))
    assert drawn != list(data.sample(10, seed=4))
    assert list(data.sample(10, seed=3).first(2)) == drawn[:2]
    assert len(data.first(1000)) == len(data.sample(1000)) == 100
    for nonsense in (0, -1, 2.0, None, True):
        with pytest.raises(InputError, match="the number of examples"):
            data.first(nonsense)
    with pytest.raises(InputError, match="seed"):
        data.sample(3, seed="a")


def write_cifar(folder, reader, monkeypatch):
    """Six pictures in torchvision's format, whose checksums it is told."""
    home, label = (
        folder / reader.base_folder,
        "labels" if "10-" in reader.base_folder else "fine_labels",
    )
    home.mkdir()
    pixels = RNG.integers(0, 256, (6, 3072), dtype=np.uint8)
    names = [f"class {index}" for index in range(10)]
    files = {
        reader.test_list[0][0]: {"data": pixels, label: [3, 1, 4, 1, 5, 9]},
        reader.meta["filename"]: {reader.meta["key"]: names},
    }
    sums = {}
    for name, content in files.items():
        (home / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((home / name).read_bytes()).hexdigest()
    test = reader.test_list[0][0]
    monkeypatch.setattr(reader, "train_list", [])
    monkeypatch.setattr(reader, "test_list", [[test, sums[test]]])
    md5 = sums[reader.meta["filename"]]
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5})
    return pixels


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar(kind, tmp_path, monkeypatch):
    import_torchvision()
    from torchvision import datasets

    reader = getattr(datasets, kind.upper())
    pixels = write_cifar(tmp_path, reader, monkeypatch)
    for path in (tmp_path, tmp_path / reader.base_folder):
        data = open_data(f"{kind}:{path}")
        assert [example.label for example in data] == [3, 1, 4, 1, 5, 9]
        assert data.classes[9] == "class 9"
        assert torch.equal(data[2].x.flatten(), torch.from_numpy(pixels[2]))
        assert data[2].x.shape == (1, 3, 32, 32)
    (tmp_path / reader.base_folder / reader.test_list[0][0]).write_bytes(b"other bytes")
    with pytest.raises(InputError, match="checksums"):
        open_data(f"{kind}:{tmp_path}")


def test_imagenet(tmp_path):
    """A thousand folders with a picture in each; names of classes where torchvision left them."""
    small = Image.fromarray(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    wnids = [f"n{index:08d}" for index in range(1000)]
    for wnid in wnids:
        home = tmp_path / "val" / wnid
        home.mkdir(parents=True)
        small.save(home / "ILSVRC2012_val_00000001.JPEG")
    data = open_data(f"imagenet:{tmp_path}")
    assert (len(data), data.classes[7], data[7].label) == (1000, "n00000007", 7)
    torch.save(({wnid: (f"thing {wnid}", "x") for wnid in wnids}, []), tmp_path / "meta.bin")
    assert open_data(f"imagenet:{tmp_path}").classes[7] == "thing n00000007"
    (tmp_path / "meta.bin").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"meta\.bin' cannot be read"):
        open_data(f"imagenet:{tmp_path}")


def test_too_few_classes_for_imagenet(tree):
    (tree / "val").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="to hold one folder per class"):
        open_data(f"imagenet:{tree}")
    with pytest.raises(InputError, match="expected imagenet:PATH with an existing folder"):
        open_data("imagenet:")
    (tree / "val").rmdir()


def test_imagenet_has_a_thousand_classes(tmp_path, tree):
    (tmp_path / "val").symlink_to(tree)
    with pytest.raises(InputError, match=r"expected 1000 folders .* found 2"):
        open_data(f"imagenet:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data are named by text"),
        (None, "data are named by text"),
        ("digitz", "no such file or folder; expected digits, photos"),
        ("mnist:/tmp", "expected digits, photos"),
        ("cifar10:/none", "expected cifar10:PATH with an existing folder"),
        ("a\0b", "no data"),
        ("x" * 5000, "no data"),
        ("camera:", "as in camera:0"),
        ("camera:front", "as in camera:0"),
        ("camera:4711", "/dev/video4711"),
        (__file__, "cannot be read as a video"),
    ],
)
def test_what_cannot_be_opened(text, message):
    with pytest.raises(InputError, match=message):
        open_data(text)


def test_folders_that_hold_no_data(tmp_path):
    with pytest.raises(InputError, match=r"expected .* with the files test_batch, data_batch_1"):
        open_data(f"cifar10:{tmp_path}")
    with pytest.raises(InputError, match="is no ImageFolder tree: expected"):
        open_data(str(tmp_path))
    (tmp_path / "cats").mkdir()
    with pytest.raises(InputError, match="no valid file for the classes cats"):
        open_data(str(tmp_path))


def test_a_package_that_is_not_installed_is_named_with_its_extra():
    code = (
        "import sys\nsys.modules['sklearn'] = sys.modules['sklearn.datasets'] = None\n"
        "from edgesplit import open_data\n"
        "try:\n    open_data('digits')\nexcept Exception as error:\n"
        "    print(type(error).__name__, error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("NotInstalledError data 'digits' needs sklearn"), ran.stderr
    assert "pip install 'edgesplit[data]'" in ran.stdout


def test_a_data_set_shows_what_it_is():
    assert repr(open_data("digits").first(9)) == "<DataSet digits, 9 examples, 10 classes>"
    assert repr(open_data("photos")) == "<DataSet photos, 8 examples>"
