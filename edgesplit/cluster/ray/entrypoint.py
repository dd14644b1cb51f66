"""The command line that Ray keeps of each program in a cluster."""

import contextlib
from collections.abc import Iterator

from ray._private import utils

from edgesplit.core.printable import encodable


@contextlib.contextmanager
def text_entrypoint() -> Iterator[None]:
    """Within it Ray takes any command line: else one with a file name that is not UTF-8 fails."""
    given = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: encodable(given())
    try:
        yield
    finally:
        utils.get_entrypoint_name = given
