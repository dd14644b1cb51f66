"""Modules that a process imports before it loads a program: they register custom operators."""

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from edgesplit.errors import ConfigError


@dataclass(frozen=True)
class Imports:
    """Names of modules; path: where else to look for them, as in the caller's sys.path."""

    names: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    def find(self) -> None:
        """Look where the caller does, from now on, after where this process looks."""
        sys.path += [entry for entry in self.path if entry not in sys.path]

    def load(self, where: str) -> None:
        """Import them here. Raises ConfigError naming where, the module and the reason."""
        if not self.names:
            return
        self.find()
        importlib.invalidate_caches()
        for name in self.names:
            try:
                importlib.import_module(name)
            except Exception as error:  # a module runs anything when it is imported
                raise ConfigError(
                    f"{where} cannot import {name!r}, which Config(imports=...) names: "
                    f"{type(error).__name__}: {error}; install it there, or correct the name"
                ) from error


def checked_names(names: object) -> tuple[str, ...]:
    """Names of modules. Raises ConfigError for what is none."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"imports are names of modules, such as ('my_ops',), given {names!r}")
    found = tuple(names)
    for name in found:
        is_name = isinstance(name, str) and all(part.isidentifier() for part in name.split("."))
        if not is_name or name == "__main__":
            raise ConfigError(
                f"imports are names of modules that every tier can import, given {name!r}; put "
                "operators into a module of their own"
            )
    return found
