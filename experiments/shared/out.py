"""--out of an experiment: a folder that is made and tried before any work is done."""

from pathlib import Path

import click

from edgesplit.cli.out import made_folder
from edgesplit.errors import ConfigError


def _made(ctx: click.Context, param: click.Parameter, given: Path) -> Path:
    """The folder, there. Wrong usage where that cannot be."""
    try:
        return made_folder(given)
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from error


_FOLDER = click.Path(path_type=Path)
out_option = click.option(
    "--out", type=_FOLDER, callback=_made, required=True, help="Folder for results."
)
resumed_out_option = click.option(
    "--out",
    type=_FOLDER,
    callback=_made,
    required=True,
    help="Folder for the results. Run again with the same folder and options to continue.",
)
