"""Picture files as payloads: decoded to the bit as their caller would, and bounded."""

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import file_of, picture, pixels, with_late_orientation
from PIL import Image

from edgesplit.errors import HeadroomError, PictureError, WireError
from edgesplit.node.picture import coded_picture
from edgesplit.node.picture.coded_picture import HEAD_BYTES, LIMITS, header_of, read, write
from edgesplit.node.picture.picture_file import decoded
from edgesplit.node.picture.preparation import IMAGENET_PREPARATION, Preparation

PREPARATIONS = {
    "as decoded": Preparation(),
    "square": Preparation(64, 64),
    "cropped": Preparation(48, 60, interpolation="bicubic"),
    "normalised": Preparation(48, None, (0.1, 0.5, 0.9), (0.25, 0.5, 2.0)),
    "as imagenet": IMAGENET_PREPARATION,
}
GREY_16 = Image.fromarray(np.arange(9000, dtype=np.uint16).reshape(90, 100) * 7)
FILES = {
    "jpeg": picture(),
    "jpeg, lying": picture(orientation=6),
    "jpeg, progressive": picture(progressive=True, subsampling=0),
    "jpeg, ink": file_of(pixels().convert("CMYK")),
    "jpeg, grey": file_of(pixels().convert("L")),
    "jpeg, long": picture(2000, 90),
    "png": picture(kind="PNG"),
    "png, mirrored": picture(kind="PNG", orientation=2),
    "png, turned late": with_late_orientation(6),
    "png, palette": file_of(pixels().quantize(40), "PNG"),
    "png, alpha": file_of(pixels().convert("RGBA"), "PNG"),
    "png, 16 bits": file_of(GREY_16, "PNG"),
    "one pixel": picture(1, 1, "PNG"),
}


def as_called(data, preparation):
    """What the caller's own decoding gives."""
    with Image.open(io.BytesIO(data)) as image:
        return decoded(image, preparation.prepared)


@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("file", FILES)
def test_a_tier_decodes_to_the_same_bits(file, name):
    data, preparation = FILES[file], PREPARATIONS[name]
    expected = as_called(data, preparation)
    found = read(write(data, preparation), expected.shape, preparation.dtype)
    assert found.dtype == expected.dtype == preparation.dtype
    assert found.flags.c_contiguous
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("file", FILES)
def test_the_size_is_known_before_decoding_or_not_claimed(file):
    found, expected = header_of(FILES[file], file), as_called(FILES[file], Preparation()).shape
    assert found.can_travel
    assert (found.size is None) == (file == "png, turned late")
    if found.size is not None:
        assert Preparation().shape(found.size) == expected


def test_nothing_is_decoded_for_the_size(monkeypatch):
    def refuse(image):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    for name, data in FILES.items():
        header_of(data, name)


@pytest.mark.parametrize(
    "data",
    [picture(kind="WEBP"), picture(kind="TIFF"), picture(kind="GIF"), picture()[:-400],
     picture(kind="PNG")[:-400], picture() + b"more"],
)  # fmt: skip
def test_what_others_might_decode_otherwise_does_not_travel(data):
    assert not header_of(data, "a file").can_travel


def test_what_is_no_picture_is_said():
    with pytest.raises(PictureError, match="'x' cannot be read as a picture"):
        header_of(b"no picture", "'x'")


def chunk(kind, data):
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def bomb(width, height):
    """A PNG of a few kilobytes and so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    body = rows.compress(bytes(1 + (width + 7) // 8) * height) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded():
    data = bomb(8192, 2049)
    assert len(data) < 10_000
    assert not header_of(data, "a bomb").can_travel
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match=r"8192 x 2049 = .* over the limit of 16,777,216"):
            read(write(data, Preparation(64)), (1, 3, 64, 64), "uint8")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert LIMITS.pixels == 1 << 24


def test_a_large_picture_takes_the_memory_that_there_is(monkeypatch):
    def none_left(n_bytes, what):
        raise HeadroomError(f"{n_bytes} for {what}")

    monkeypatch.setattr(coded_picture, "require_headroom", none_left)
    read(write(picture(), Preparation(64)), (1, 3, 64, 64), "uint8")
    with pytest.raises(HeadroomError, match="48000000 for decoding a picture"):
        read(write(bomb(2000, 2000), Preparation(64)), (1, 3, 64, 64), "uint8")


SQUARE = Preparation(64, 64)
GOOD = write(picture(), SQUARE)


def changed(at, value):
    made = GOOD.copy()
    made[at] = value
    return made


NAN = write(picture(), PREPARATIONS["normalised"]).copy()
NAN[6:14] = np.frombuffer(struct.pack("<d", float("nan")), np.uint8)


@pytest.mark.parametrize(
    ("coded", "shape", "dtype", "told"),
    [
        (GOOD, (1, 3, 64, 63), "uint8", "is not uint8 of shape"),
        (GOOD, (1, 3, 64, 64), "float32", "is not float32 of shape"),
        (write(picture(), Preparation()), (1, 3, 64, 64), "uint8", r"has shape \(1, 3, 90, 120\)"),
        (GOOD[: HEAD_BYTES - 1], (1, 3, 64, 64), "uint8", "are no picture"),
        (GOOD[:HEAD_BYTES], (1, 3, 64, 64), "uint8", "cannot be read as a picture"),
        (GOOD[:-900], (1, 3, 64, 64), "uint8", "cannot be read as a picture"),
        (changed(4, 2), (1, 3, 64, 64), "uint8", "no preparation"),
        (changed(5, 2), (1, 3, 64, 64), "uint8", "no preparation"),
        (changed(2, 1), (1, 3, 64, 64), "uint8", "resize must be 64 pixels"),
        (changed(1, 0xFF), (1, 3, 64, 64), "uint8", "size must be a whole number"),
        (NAN, (1, 3, 48, 48), "float32", "mean must be 3 numbers"),
        (write(picture(kind="TIFF"), SQUARE), (1, 3, 64, 64), "uint8", "none of JPEG, PNG"),
        (write(b"%!PS-Adobe-3.0 EPSF-3.0", SQUARE), (1, 3, 64, 64), "uint8", "none of JPEG, PNG"),
    ],
)
def test_what_no_caller_writes_is_refused(coded, shape, dtype, told):
    with pytest.raises(WireError, match=told):
        read(coded, shape, dtype)


@given(st.sampled_from(sorted(FILES)), st.sampled_from(sorted(PREPARATIONS)), st.data())
@settings(max_examples=400, deadline=None)
def test_spoilt_bytes_raise_only_wire_errors_and_give_the_declared_form(file, name, data):
    preparation = PREPARATIONS[name]
    expected = as_called(FILES[file], preparation)
    body = bytearray(write(FILES[file], preparation).tobytes())
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.one_of(st.just(len(body)), st.integers(1, len(body))))]
    coded = np.frombuffer(bytes(body), np.uint8)
    with contextlib.suppress(WireError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read(coded, expected.shape, preparation.dtype)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
