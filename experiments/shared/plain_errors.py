"""The project's errors as one paragraph on the command line. Imports no Ray."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgesplit.errors import EdgeSplitError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def plain_errors(function: _Command) -> _Command:
    """Let click tell the project's errors, without a traceback."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except EdgeSplitError as error:
            raise click.ClickException(str(error)) from error

    return wrapped  # type: ignore[return-value]
