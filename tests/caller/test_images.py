"""Pictures as people have them: each is seen as it looks, and none takes more than allowed."""

import contextlib
import os
import resource
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from edgesplit.caller.inputs.images import load_image
from edgesplit.errors import InputError
from edgesplit.node.program.torchvision_ops import import_torchvision

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (240, 320, 3), dtype=np.uint8)
GREYS = COLOURS[:, :, 0]
# How the stored picture has to be turned for the eye, as a change of the upright one.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(pixels=COLOURS):
    return Image.fromarray(pixels)


def usual(image):
    """What torchvision makes of a picture in RGB."""
    import_torchvision()
    from torchvision.transforms import _presets

    return _presets.ImageClassification(crop_size=224)(image.convert("RGB"))[None]


def saved(folder, image, name, **options):
    image.save(folder / name, **options)
    return load_image(folder / name)


# Resize, then crop


@pytest.mark.parametrize(
    "size",
    [(300, 400), (640, 256), (100, 50), (1, 1), (224, 224), (257, 511), (4000, 3000), (33, 500),
     (1600, 100), (3, 47)],
)  # fmt: skip
def test_a_picture_is_prepared_to_the_bit_as_torchvision_does(size):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert torch.equal(load_image(picture(pixels)), usual(picture(pixels)))


def test_of_a_thin_picture_the_same_middle_is_seen():
    rows = np.zeros((4001, 8, 3), np.uint8)
    rows[1990:2011] = COLOURS[:21, :8]
    for thin in (rows, rows.transpose(1, 0, 2)):
        found, expected = load_image(picture(thin)), usual(picture(thin))
        assert (found - expected).abs().max() < 0.1  # of 4.8 from black to white
        assert expected.std() > 0.5


def test_thin_and_huge_pictures_take_little_memory(tmp_path):
    Image.new("RGB", (1, 65_000), "red").save(tmp_path / "thin.png")
    Image.new("RGB", (65_000, 1), "red").save(tmp_path / "flat.png")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    code = (
        "import sys, resource\n"
        "from edgesplit.errors import InputError\n"
        "from edgesplit.caller.inputs.images import load_image\n"
        "load_image('thin.png')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert load_image('thin.png').shape == load_image('flat.png').shape == (1, 3, 224, 224)\n"
        "try:\n    load_image('huge.png')\nexcept InputError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    limited = [sys.executable, "-c", code]
    ran = subprocess.run(
        limited,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)),
    )
    assert ran.returncode == 0, ran.stderr
    told, grown_kib = ran.stdout.splitlines()
    assert "--max-pixels" in told
    assert int(grown_kib) < 100 << 10


# As people see it


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_by_its_orientation(tmp_path, orientation, suffix):
    upright, turn = picture(), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {
        "png": {},
        "tif": {},
        "jpg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
    }[suffix]
    found = saved(tmp_path, stored, f"a.{suffix}", exif=exif, **options)
    if suffix == "jpg":  # lossy: nearly the same, and no other turn is
        assert (found - usual(upright)).abs().mean() < 0.1
    else:
        assert torch.equal(found, usual(upright))


def test_a_given_image_is_turned_too_and_stays_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture().transpose(STORED_AS[6])
    image.info["exif"] = exif.tobytes()
    assert torch.equal(load_image(image), usual(picture()))
    assert image.size == (240, 320)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"x"])
def test_broken_metadata_turn_nothing(tmp_path, exif):
    assert torch.equal(saved(tmp_path, picture(), "a.png", exif=exif), usual(picture()))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_grey_of_16_bits_is_as_its_upper_eight(tmp_path, suffix):
    deep = RNG.integers(0, 1 << 16, (240, 320)).astype(np.uint16)
    found = saved(tmp_path, picture(deep), f"a.{suffix}")
    assert torch.equal(found, usual(picture((deep >> 8).astype(np.uint8))))


def png(width, height, depth, kind, rows, *chunks):
    """A PNG by hand: Pillow writes no colours of 16 bits. rows: bytes of each, without filter."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunk(*one) for one in chunks)
        + body
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_and_alpha_of_16_bits(tmp_path, kind, channels):
    deep = RNG.integers(0, 1 << 16, (240, 320, channels)).astype(np.uint16)
    if channels in (2, 4):
        deep[:, :, -1] = 0xFFFF
    (tmp_path / "a.png").write_bytes(
        png(320, 240, 16, kind, [r.tobytes() for r in deep.astype(">u2")])
    )
    shallow = (deep >> 8).astype(np.uint8)
    seen = shallow[:, :, 0] if channels == 2 else shallow[:, :, :3]
    assert torch.equal(load_image(tmp_path / "a.png"), usual(picture(seen)))


def tiff(pixels, bits, photometric):
    """A TIFF of one strip of grey, little-endian, by hand. pixels: the strip's bytes."""
    tags = [(256, 3, 320), (257, 3, 240), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 3, 240), (279, 4, len(pixels))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = 8 + len(pixels)
    head = b"II*\0" + struct.pack("<I", start)
    return head + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def test_a_tiff_says_how_many_bits_are_used_and_what_is_white(tmp_path):
    deep = (GREYS.astype(np.uint16) << 8) | 0x80
    (tmp_path / "negative.tif").write_bytes(tiff((0xFFFF - deep).astype("<u2").tobytes(), 16, 0))
    assert torch.equal(load_image(tmp_path / "negative.tif"), usual(picture(GREYS)))
    twelve = (GREYS.astype(np.uint16) << 4).reshape(-1, 2)
    first, second = twelve[:, 0], twelve[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    (tmp_path / "twelve.tif").write_bytes(tiff(packed.astype(np.uint8).tobytes(), 12, 1))
    assert torch.equal(load_image(tmp_path / "twelve.tif"), usual(picture(GREYS)))


def test_floating_point_is_from_black_to_white(tmp_path):
    found = saved(tmp_path, picture(GREYS.astype(np.float32) / 255), "a.tif")
    assert torch.equal(found, usual(picture(GREYS)))


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((9, 9), 70_000, np.int32),
        np.full((9, 9), -1, np.int32),
        np.full((9, 9), 200.0, np.float32),
        np.full((9, 9), np.nan, np.float32),
    ],
)
def test_values_whose_white_is_not_known_are_refused(pixels):
    with pytest.raises(InputError, match="save it with 8 or 16 bits"):
        load_image(picture(pixels))


def test_what_is_transparent_is_white(tmp_path):
    alpha = RNG.integers(0, 256, (240, 320), dtype=np.uint8)
    alpha[:40], alpha[40:80] = 0, 255
    page = Image.new("RGBA", (320, 240), "white")
    page.alpha_composite(picture(np.dstack([COLOURS, alpha])))
    assert torch.equal(saved(tmp_path, picture(np.dstack([COLOURS, alpha])), "a.png"), usual(page))
    page = Image.new("RGBA", (320, 240), "white")
    page.alpha_composite(picture(np.dstack([GREYS, GREYS, GREYS, alpha])))
    grey = Image.merge("LA", (picture(GREYS), picture(alpha)))
    assert torch.equal(saved(tmp_path, grey, "b.png"), usual(page))
    assert torch.equal(saved(tmp_path, grey, "c.tif"), usual(page))


@pytest.mark.parametrize("kind", ["L", "RGB", "P", "P with shares", "I;16", "1"])
def test_one_colour_that_stands_for_nothing_is_white(tmp_path, kind):
    clear = np.zeros((240, 320), bool)
    clear[50:150, 60:200] = True
    greys = np.where(clear, 7, np.maximum(GREYS, 8)).astype(np.uint8)
    image, value = picture(greys), 7
    if kind == "RGB":
        image, value = picture(np.dstack([greys] * 3)), (7, 7, 7)
    elif kind == "I;16":
        image, value = picture(greys.astype(np.uint16) << 8), 7 << 8
    elif kind == "1":
        image, value = picture(~clear), 0
        greys = np.full_like(greys, 255)
    elif kind.startswith("P"):
        image = picture(greys)
        image.putpalette(bytes(c for i in range(256) for c in (i, i, i)))
        value = 7 if kind == "P" else bytes(0 if i == 7 else 255 for i in range(256))
    found = saved(tmp_path, image, "a.png", transparency=value)
    assert torch.equal(found, usual(picture(np.where(clear, 255, greys).astype(np.uint8))))


def test_palettes_bits_ink_and_other_spaces(tmp_path):
    few = picture().quantize(64)
    for name in ("a.png", "a.gif", "a.bmp", "a.tif"):
        assert torch.equal(saved(tmp_path, few, name), usual(few)), name
    bits = picture(GREYS).convert("1")
    for name in ("b.png", "b.gif", "b.bmp", "b.tif", "b.pbm"):
        assert torch.equal(saved(tmp_path, bits, name), usual(bits)), name
    smooth = picture().resize((20, 15)).resize((320, 240))
    ink = saved(tmp_path, smooth.convert("CMYK"), "c.jpg", quality=100)
    assert (ink - usual(smooth)).abs().mean() < 0.05
    assert torch.equal(saved(tmp_path, smooth.convert("CMYK"), "c.tif"), usual(smooth))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_seen(tmp_path, suffix):
    first, second = picture().quantize(64), picture(255 - COLOURS).quantize(64)
    options = {"lossless": True} if suffix == "webp" else {}
    found = saved(tmp_path, first, f"a.{suffix}", save_all=True, append_images=[second], **options)
    assert torch.equal(found, usual(first))


def test_later_frames_may_be_broken(tmp_path):
    first = picture().quantize(64)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[picture().quantize(8)] * 2)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[:-2000])
    assert torch.equal(load_image(tmp_path / "a.gif"), usual(first))
    (tmp_path / "a.gif").write_bytes(data[:2000])
    with pytest.raises(InputError, match=r"a\.gif"):
        load_image(tmp_path / "a.gif")


def test_a_colour_profile_is_not_applied(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert torch.equal(saved(tmp_path, picture(), "a.png", icc_profile=profile), usual(picture()))


# What is no picture, or too much of one


def test_what_cannot_be_read_is_said_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    picture().save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:90_000])
    picture().save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9_000])
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["text.png", "empty.png", "half.png", "half.jpg", "loop.png", "page.eps", "pipe.png",
             ".", "none.png", "a\0b.png", "x" * 300, "/dev/zero", "whole.png/x"]  # fmt: skip
    for name in names:
        with pytest.raises(InputError, match="picture") as caught:
            load_image(name)
        assert f"'{name}'".replace("\0", "\\x00") in str(caught.value), name
    for given in (None, 3, b"whole.png", ["whole.png"], COLOURS):
        with pytest.raises(InputError, match="a picture is a path or"):
            load_image(given)
    with pytest.raises(InputError, match="0 x 5 pixels"):
        load_image(Image.new("RGB", (0, 5)))


def test_a_name_stays_on_its_line(tmp_path):
    name = tmp_path / os.fsdecode(b"bad\xff\n\x1b[31m\xe2\x80\xae.png")
    with pytest.raises(InputError, match=r"bad\\xff\\n\\x1b\[31m\\u202e\.png"):
        load_image(name)
    name.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        load_image(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [(10, 11), (15, 15), (100, 1)])
def test_pixels_are_counted_before_they_are_decoded(tmp_path, monkeypatch, size):
    picture()  # of 110, 225 and 100 pixels: over, more than twice over, and at the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", size).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        if size == (100, 1):
            assert load_image(tmp_path / "a.png").shape == (1, 3, 224, 224)
            return
        with pytest.raises(InputError, match="limit") as caught:
            load_image(tmp_path / "a.png")
    assert "raise PIL.Image.MAX_IMAGE_PIXELS" in str(caught.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(tmp_path / "a.png").shape == (1, 3, 224, 224)


def test_bytes_are_counted_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("ab") as file:
        file.truncate(1_000)
    with pytest.raises(InputError, match="1,000 bytes, over the limit of 8 bytes for each of 100"):
        load_image(tmp_path / "a.png")


def test_whatever_is_broken_is_an_error_of_ours(tmp_path):
    """Seeded damage to files of every format."""
    rng = np.random.default_rng(5)
    small = picture(COLOURS[:40, :50])
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "jp2", "ico"):
        small.save(tmp_path / f"a.{suffix}")
        whole = np.frombuffer((tmp_path / f"a.{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            data = whole.copy()
            places = rng.integers(0, min(len(data), 400), 4)
            data[places] = rng.integers(0, 256, 4)
            (tmp_path / "b").write_bytes(data.tobytes()[: rng.integers(1, 2 * len(data))])
            with warnings.catch_warnings(), contextlib.suppress(InputError):
                warnings.simplefilter("ignore")
                assert load_image(tmp_path / "b").shape == (1, 3, 224, 224)
