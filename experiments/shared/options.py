"""Command-line options that experiments on a scene share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from experiments.shared.out import resumed_out_option
from experiments.shared.scene import SCENES

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    resumed_out_option,
    click.option("--fresh", is_flag=True, help="Start over, whatever the folder holds."),
    click.option(
        "--scene",
        type=click.Choice(SCENES),
        default="embedded",
        show_default=True,
        help="Where tiers and links are; cluster: a Ray cluster with a node per tier.",
    ),
    click.option("--address", help="With --scene cluster: the head, host:port; else RAY_ADDRESS."),
)


def scene_options(command: _Command) -> _Command:
    """--out, --fresh, --scene and --address."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
