"""Pictures' files for tests: drawn by seed, in the formats and with the tags that people have."""

import io

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def pixels(width=120, height=90, seed=0):
    """Smooth colours, which compress as photographs do."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def file_of(image, kind="JPEG", orientation=None, **options):
    """The bytes of its file."""
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width=120, height=90, kind="JPEG", seed=0, **options):
    """The same of drawn pixels."""
    return file_of(pixels(width, height, seed), kind, **options)


def with_late_orientation(orientation=6, width=120, height=90):
    """A PNG that says how it is turned behind its pixels."""
    plain, tagged = (picture(width, height, "PNG", orientation=o) for o in (None, orientation))
    at = tagged.index(b"eXIf") - 4
    length = int.from_bytes(tagged[at : at + 4], "big") + 12
    end = plain.rindex(b"IEND") - 4
    return plain[:end] + tagged[at : at + length] + plain[end:]
