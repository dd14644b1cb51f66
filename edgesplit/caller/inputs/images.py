"""Pictures as a model's input: decoded here, or as files that are decoded where that pays."""

from os import PathLike

import torch
from PIL import Image

from edgesplit.caller.inputs.image_file import ImageFile
from edgesplit.errors import InputError
from edgesplit.node.picture.coded_picture import header_of
from edgesplit.node.picture.picture_file import decoded, file_bytes
from edgesplit.node.picture.preparation import IMAGENET_PREPARATION, Preparation

_AS_DECODED = Preparation()


def load_image(source: str | PathLike[str] | Image.Image) -> torch.Tensor:
    """A picture as torchvision's classifiers expect it: float32 of shape 1x3x224x224.

    source: a path or a PIL.Image.Image. The picture is read as people see it: upright by its
    orientation tag, the first frame of several, white where it is transparent. Colour profiles are
    not applied. Raises InputError for a file that is missing, broken or no picture, and for one of
    more pixels than PIL.Image.MAX_IMAGE_PIXELS, which is not decoded.

    Example:
        >>> from PIL import Image
        >>> load_image(Image.new("RGB", (640, 480))).shape
        torch.Size([1, 3, 224, 224])
    """
    return torch.from_numpy(decoded(source, IMAGENET_PREPARATION.prepared))


def decode_image(source: str | PathLike[str] | Image.Image) -> torch.Tensor:
    """A picture as decoded: uint8 of shape 1x3xHxW, red, green, blue, as people see it.

    What a model with Preprocessing takes. Otherwise as load_image, which says what is raised; of a
    picture that is over 16 times as long as wide the middle is taken.

    Example:
        >>> from PIL import Image
        >>> decode_image(Image.new("RGB", (640, 480))).shape
        torch.Size([1, 3, 480, 640])
    """
    return torch.from_numpy(decoded(source, _AS_DECODED.prepared))


def read_image(
    source: str | PathLike[str] | bytes, preparation: Preparation | None = None
) -> ImageFile:
    """A picture's file as an input, in place of the tensor that `preparation` makes of it.

    infer() takes it where the model takes that tensor, with the same result. What is sent is the
    tensor, or the JPEG's or PNG's own bytes, which the tier that needs the pixels decodes: plans
    choose.

    source: a path, or the bytes of a file. preparation: IMAGENET_PREPARATION: as load_image();
    None: as decode_image(), for a model with Preprocessing. Raises InputError as load_image(); what
    is broken behind a file's beginning shows once it is decoded.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (640, 480)).save(file, "JPEG")
        >>> read_image(file.getvalue(), Preparation(size=224)).shape
        (1, 3, 224, 224)
    """
    preparation = _AS_DECODED if preparation is None else preparation
    if not isinstance(preparation, Preparation):
        raise InputError(f"preparation must be a Preparation, given {preparation!r}")
    data, name = (source, "the picture") if isinstance(source, bytes) else file_bytes(source)
    return ImageFile(data, name, header_of(data, name), preparation)
