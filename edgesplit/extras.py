"""What the extras `full` and `data` bring, and what to say where one is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgesplit.errors import NotInstalledError

_FULL = frozenset(
    {"torch", "torchvision", "pandas", "rich", "matplotlib", "skimage", "PIL", "safetensors"}
)
_DATA = frozenset({"sklearn", "cv2"})


@contextmanager
def needs_full(what: str) -> Iterator[None]:
    """A block that imports packages of extras. Raises NotInstalledError where one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _FULL | _DATA:
            raise
        extra = "data" if package in _DATA else "full"
        raise NotInstalledError(
            f"{what} needs {package}, which is not installed here; pip install 'edgesplit[{extra}]'"
        ) from error
