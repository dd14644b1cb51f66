"""Parts of a weight file that came before those in front of them."""

from collections.abc import Iterator

from edgesplit.errors import WireError
from edgesplit.node.program.packed import Bytes

_MOST = 16  # they lie in Ray's object store, which is small on an end device


class EarlyParts:
    """Of one file. Several are under way at once, and Ray hands them over in any order."""

    def __init__(self) -> None:
        self._parts: dict[int, Bytes] = {}

    def next_after(self, start: int, part: Bytes, size: int) -> Iterator[Bytes]:
        """What can be appended to a file of `size` bytes now that the part from `start` has come.

        The rest waits. Raises WireError where too many wait for one that does not come.
        """
        self._parts[start] = part
        for at in sorted(self._parts):
            if at > size:
                if len(self._parts) > _MOST:
                    self._parts.clear()
                    raise WireError("weights before these have not come; ask what is here")
                return
            piece = self._parts.pop(at)[size - at :]
            size += len(piece)
            if len(piece):
                yield piece
