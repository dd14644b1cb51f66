"""What the extra `full` brings, and what to say where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgesplit.errors import NotInstalledError

_FULL = frozenset({"torch", "torchvision", "pandas", "rich", "matplotlib", "skimage", "PIL"})


@contextmanager
def needs_full(what: str) -> Iterator[None]:
    """A block that imports packages of the extra. Raises NotInstalledError where one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _FULL:
            raise
        raise NotInstalledError(
            f"{what} needs {package}, which is not installed here; pip install 'edgesplit[full]'"
        ) from error
