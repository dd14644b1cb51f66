"""How threads begin here, on a machine that may have none left to give."""

import errno
import threading
from collections.abc import Callable


def begin(run: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread that has begun to run it. Raises OSError where the system has none left."""
    thread = threading.Thread(target=run, name=f"edgesplit-{name}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # all that threading says of it
        raise OSError(errno.EAGAIN, f"no thread for {name}: {error}") from error
    return thread
