"""Picture files as inputs: what they stand for, how a call holds them, what is measured of them."""

import math
from dataclasses import replace

import pytest
import torch
from picture_files import file_of, picture, pixels, with_late_orientation

from edgesplit import IMAGENET_PREPARATION, Preparation, Preprocessing, decode_image, load_image
from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.accuracy.seen_pictures import SAMPLES, SeenPictures
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.inputs.images import read_image
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import PICTURE
from edgesplit.errors import InputError, PictureError
from edgesplit.node.codec.payload import decode
from edgesplit.node.transport.coded_tensor import CodedTensor

SQUARE = Preparation(64, 64)


def test_a_file_stands_for_what_is_decoded(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(orientation=6))
    as_decoded = read_image(tmp_path / "a.jpg")
    assert torch.equal(as_decoded.tensor(), decode_image(tmp_path / "a.jpg"))
    assert (as_decoded.shape, as_decoded.dtype) == ((1, 3, 120, 90), torch.uint8)
    ready = as_decoded.prepared(IMAGENET_PREPARATION)
    assert torch.equal(ready.tensor(), load_image(tmp_path / "a.jpg"))
    assert (ready.shape, ready.dtype) == ((1, 3, 224, 224), torch.float32)
    assert (
        repr(ready) == f"<ImageFile '{tmp_path / 'a.jpg'}', {len(picture(orientation=6)):,} bytes>"
    )


@pytest.mark.parametrize("preparation", [Preparation(), Preparation(160), IMAGENET_PREPARATION])
@pytest.mark.parametrize("data", [picture(), picture(kind="PNG"), with_late_orientation(6)])
def test_what_travels_is_decoded_to_the_tensor(data, preparation):
    file = read_image(data, preparation)
    (back,) = decode([file.coded()])
    assert torch.equal(back, file.tensor())
    assert back.stride() == file.tensor().stride()
    assert file.coded().codec == PICTURE


def noise():
    """A JPEG of more bytes than its pixels have once they are resized."""
    return picture(400, 300, seed=3, quality=100, subsampling=0)


@pytest.mark.parametrize(
    ("data", "preparation"),
    [(picture(kind="WEBP"), SQUARE), (picture()[:-300], SQUARE), (noise(), Preparation(8, 8))],
)
def test_what_cannot_travel_or_gains_nothing_is_decoded_here(data, preparation):
    assert read_image(data, preparation).coded() is None


def test_preprocessing_says_what_is_done_with_files():
    preprocessing = Preprocessing(32, 40, (0.5, 0.25, 0.1), (0.5, 0.2, 0.3))
    x = decode_image(pixels())
    whole = read_image(file_of(pixels(), "PNG"), preprocessing.preparation()).tensor()
    assert (whole - preprocessing(x)).abs().max() < 1.01 / 255 / 0.2
    square = read_image(file_of(pixels(), "PNG"), preprocessing.preparation(normalised=False))
    assert square.tensor().dtype == torch.uint8
    assert (square.tensor().int() - preprocessing.resized(x).int()).abs().max() <= 1
    assert Preprocessing().preparation() == IMAGENET_PREPARATION


@pytest.mark.parametrize("given", ["no such.jpg", b"no picture", b"", 3, None, ["a.jpg"]])
def test_what_is_no_picture_is_refused(given):
    with pytest.raises(InputError):
        read_image(given)


def test_another_preparation_is_refused():
    with pytest.raises(InputError, match="must be a Preparation"):
        read_image(picture(), Preprocessing())
    with pytest.raises(InputError, match="mean and std belong together"):
        Preparation(mean=(0.5, 0.5, 0.5))


# A call


def call(*args, **kwargs):
    return CallArguments(args, kwargs)


def test_files_of_one_form_are_one_signature_and_tensors_another():
    one, other = (call(read_image(picture(seed=seed), SQUARE)) for seed in (0, 1))
    x = call(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert one.key == other.key != x.key
    assert one.forms == x.forms
    assert one.has_files
    assert not x.has_files
    assert call(read_image(picture())).forms != one.forms


def test_a_call_holds_files_until_they_are_decoded():
    file, y = read_image(picture(), SQUARE), torch.ones(2)
    found = call(y, zoom=2, a=file)
    tensors = [leaf for leaf in found.decoded_leaves if isinstance(leaf, torch.Tensor)]
    assert torch.equal(tensors[0], y)
    assert torch.equal(tensors[1], file.tensor())
    kinds = [type(leaf) for leaf in found.sent_leaves]
    assert kinds == [torch.Tensor, CodedTensor, int]
    assert torch.equal(found.kwargs["a"], file.tensor())
    assert (found.args, found.kwargs["zoom"]) == ((y,), 2)


def test_a_file_that_cannot_travel_is_decoded_with_the_call():
    file = read_image(picture(kind="WEBP"), SQUARE)
    found = call(file)
    assert found.has_files
    assert torch.equal(found.sent_leaves[0], file.tensor())
    with pytest.raises(PictureError, match="truncated"):
        call(read_image(picture()[:-300], SQUARE))


def test_a_file_inside_of_something_is_refused():
    with pytest.raises(InputError, match="ImageFile"):
        call([read_image(picture())])


def test_examples_may_be_files():
    [(args, label)] = Examples([(read_image(picture(), SQUARE), 3)])
    assert (args[0].shape, label) == ((1, 3, 64, 64), 3)


# What is measured

GRAPH = Graph("g", ("a", "b"), (3 * 64 * 64, 50, 20), (7, 9))


def seen(*sizes):
    pictures, file = SeenPictures(), read_image(picture(), SQUARE).coded()
    for size in sizes:
        pictures.add([replace(file, buffer=torch.zeros(size, dtype=torch.uint8).numpy())])
    return pictures


def test_sizes_are_the_mean_of_what_came_with_their_spread():
    found = seen(1000, 2000, 3000).sizes(GRAPH)
    assert found.payload_bytes == (2000.0, math.inf, math.inf)
    assert found.spread_bytes == (pytest.approx(816.5, abs=0.1), 0.0, 0.0)
    assert seen(20_000).sizes(GRAPH).payload_bytes[0] == math.inf


def test_what_cannot_travel_counts_as_it_does_travel():
    pictures = seen(1000)
    pictures.add([torch.zeros(1, 3, 64, 64, dtype=torch.uint8)])
    assert pictures.sizes(GRAPH).payload_bytes[0] == (1000 + 3 * 64 * 64) / 2
    none = SeenPictures()
    none.add([torch.zeros(1, 3, 64, 64, dtype=torch.uint8)])
    assert not none.are_new


def test_figures_are_taken_at_once_then_of_more_files_then_of_other_ones():
    pictures = seen(1000)
    assert pictures.are_new
    pictures.sizes(GRAPH)
    file = read_image(picture(), SQUARE).coded()

    def add(size, count):
        for _ in range(count):
            pictures.add([replace(file, buffer=torch.zeros(size, dtype=torch.uint8).numpy())])

    add(1000, SAMPLES - 2)
    assert not pictures.are_new
    add(1000, 1)
    assert pictures.are_new
    pictures.sizes(GRAPH)
    assert not pictures.are_new
    add(2000, 1)
    assert pictures.are_new


def test_samples_are_some_of_the_latest():
    pictures = SeenPictures()
    for seed in range(SAMPLES + 3):
        pictures.add([read_image(picture(seed=seed), SQUARE).coded()])
    assert len({sample.digest for sample in pictures.samples()}) == SAMPLES
