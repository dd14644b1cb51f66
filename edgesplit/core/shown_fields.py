"""Classes of settings whose help() shows what a user may set, and none of the machinery."""

import inspect
from dataclasses import fields


class ShownFields(type):
    """Of a dataclass: its fields are all that is listed; its signature is of names and defaults.

    Only the class is shown so: an object of it has all its names.
    """

    def __dir__(cls) -> list[str]:
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]

    @property
    def __signature__(cls) -> inspect.Signature:
        _, *given = inspect.signature(vars(cls)["__init__"]).parameters.values()
        return inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in given])
