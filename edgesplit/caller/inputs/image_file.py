"""A picture's file as a model's input, in place of the tensor that is made of it."""

from functools import cached_property

import torch

from edgesplit.core.payload_codec import PICTURE
from edgesplit.node.picture.coded_picture import PictureHeader, write
from edgesplit.node.picture.picture_file import decoded_bytes, usual_limits
from edgesplit.node.picture.preparation import Preparation
from edgesplit.node.transport import tensors
from edgesplit.node.transport.coded_tensor import CodedTensor


class ImageFile:
    """The file's bytes, and how they become the input; as read_image() makes it.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (64, 48)).save(file, "PNG")
        >>> read_image(file.getvalue()).tensor().shape
        torch.Size([1, 3, 48, 64])
    """

    def __init__(
        self, data: bytes, name: str, header: PictureHeader, preparation: Preparation
    ) -> None:
        self._data, self._name, self._header = data, name, header
        self.preparation = preparation

    def __repr__(self) -> str:
        return f"<ImageFile {self._name}, {len(self._data):,} bytes>"

    def prepared(self, preparation: Preparation) -> "ImageFile":
        """The same file, prepared in another way."""
        return ImageFile(self._data, self._name, self._header, preparation)

    def tensor(self) -> torch.Tensor:
        """What it stands for, decoded anew each time. Raises InputError for a broken file."""
        make, limits = self.preparation.prepared, usual_limits()
        return torch.from_numpy(decoded_bytes(self._data, self._name, make, limits))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of that tensor. It is decoded where the file's beginning does not say its size."""
        size = self._header.size
        if size is None and self.preparation.size is None:
            return tuple(self.tensor().shape)
        return self.preparation.shape(size or (0, 0))

    @property
    def dtype(self) -> torch.dtype:
        """Of that tensor."""
        return tensors.dtype_of(self.preparation.dtype)

    def coded(self) -> CodedTensor | None:
        """The file in place of that tensor; None where the tensor has to travel.

        So it is where it is no JPEG or PNG, has more pixels than tiers decode, or would gain
        nothing.
        """
        if not self._header.can_travel:
            return None
        form = torch.empty(self.shape, dtype=self.dtype)
        made = write(self._data, self.preparation)
        if made.nbytes >= form.nbytes:
            return None
        strides = form.stride()
        return CodedTensor(
            PICTURE, self.preparation.dtype, self.shape, strides, made, tensors.unpack
        )
