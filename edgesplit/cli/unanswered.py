"""Pictures without an answer, and which cannot be read at all: found without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.printable import encodable
from edgesplit.errors import PictureError


@dataclass(frozen=True)
class Unanswered:
    """A picture without an answer, and why."""

    image: str
    error: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"image": encodable(self.image), "error": self.error}


def none_readable(names: Sequence[str]) -> list[Unanswered]:
    """Why none of the pictures can be read; nothing where one can, as far as its beginning says.

    Nothing either where there is no Pillow: what needs torch says what is missing.
    """
    try:
        from edgesplit.node.picture.coded_picture import header_of
        from edgesplit.node.picture.picture_file import file_bytes
    except ModuleNotFoundError:
        return []
    found = list[Unanswered]()
    for name in names:
        try:
            header_of(*file_bytes(name))
        except PictureError as error:
            found.append(Unanswered(name, str(error)))
        else:
            return []
    return found
