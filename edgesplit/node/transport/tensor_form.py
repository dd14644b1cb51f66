"""What the values of a payload look like, without their content and without torch.

The frame's own description of a tensor is wire.TensorSpec, which a header is decoded into; a form
is a value of the program's: compared, hashed, shipped ahead of any payload.
"""

import math
from dataclasses import dataclass

from edgesplit.node.transport.strides import places
from edgesplit.node.transport.wire import ITEM_BYTES

SCALAR_BYTES = 8
# torch's dtypes that no frame carries (other float8 variants, integers below a byte) take one byte.
_OTHER_ITEM_BYTES = 1


@dataclass(frozen=True)
class TensorForm:
    """A tensor of a payload without its content. dtype: torch's name; strides in elements."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * ITEM_BYTES.get(self.dtype, _OTHER_ITEM_BYTES)

    @property
    def sent_bytes(self) -> int:
        """Bytes of it that travel."""
        item_bytes = ITEM_BYTES.get(self.dtype, _OTHER_ITEM_BYTES)
        return places(self.shape, self.strides).count * item_bytes


Form = TensorForm | bool | int | float
Forms = tuple[Form, ...]  # of the payload at one cut


def payload_bytes(forms: Forms) -> int:
    """Bytes of a payload that travel: of its tensors, and 8 for each plain number."""
    return sum(form.sent_bytes if isinstance(form, TensorForm) else SCALAR_BYTES for form in forms)
