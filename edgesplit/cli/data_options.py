"""Options of `run --data`: which examples, and what is done with pictures before the model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgesplit.cli.options import Colours, Finite

if TYPE_CHECKING:
    from edgesplit.cli.picture_feed import PictureFeed

_Command = TypeVar("_Command", bound=Callable[..., Any])
AS_LAYERS = ("none", "normalise", "all")
_SIDE = click.IntRange(1)
_OPTIONS = (
    click.option(
        "--data",
        metavar="TEXT",
        help="Run over a data set instead of pictures: digits, photos, the folder of an "
        "ImageFolder tree, cifar10:PATH, cifar100:PATH, imagenet:PATH, a video file or camera:0.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(1),
        help="With --data: so many examples, drawn by seed 0; of a video its first frames.",
    ),
    click.option(
        "--max-accuracy-loss",
        type=Finite(0, 1, min_open=True, max_open=True),
        metavar="SHARE",
        help="With --data: payloads may be rounded on their way where that is shown to cost no "
        "more than this share of right answers, such as 0.005; --data is what it is shown on.",
    ),
    click.option(
        "--as-layers",
        type=click.Choice(AS_LAYERS),
        help="With --data: what of preprocessing is part of the model, so that it is measured and "
        "can be cut: none; normalise, so that uint8 is sent; all, resizing too.  [default: none]",
    ),
    click.option(
        "--size", type=_SIDE, help="With --data: side of the model's input.  [default: 224]"
    ),
    click.option(
        "--resize",
        type=_SIDE,
        help="With --data: what the shorter side is resized to before the middle is cut out.  "
        "[default: 8/7 of --size]",
    ),
    click.option(
        "--mean",
        type=Colours(),
        help="With --data: mean of the colours, 0 to 1.  [default: ImageNet's]",
    ),
    click.option(
        "--std",
        type=Colours(),
        help="With --data: their standard deviation.  [default: ImageNet's]",
    ),
)
_OF_DATA = ("limit", "max_accuracy_loss", "as_layers", "size", "resize", "mean", "std")


def data_options(command: _Command) -> _Command:
    """--data and those that need it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_data_options(options: Mapping[str, Any], has_images: bool) -> None:
    """Raise click.UsageError for pictures and data together, for neither, and for strays.

    And InputError for data that are not there, sides and colours that are none; without torch.
    """
    if options["data"] is not None:
        if has_images:
            raise click.UsageError("give pictures or --data, not both")
        _check_data(options)
        return
    if not has_images:
        raise click.UsageError("give the pictures to classify, or --data TEXT")
    for name in _OF_DATA:
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --data")


def _check_data(options: Mapping[str, Any]) -> None:
    from edgesplit.caller.data.data_text import data_named

    data_named(options["data"])
    try:
        from edgesplit.node.picture.preparation import IMAGENET_PREPARATION, Preparation
    except ModuleNotFoundError:  # no Pillow: what needs torch says what is missing
        return
    Preparation(
        options["size"] or IMAGENET_PREPARATION.size,
        options["resize"],
        options["mean"] or IMAGENET_PREPARATION.mean,
        options["std"] or IMAGENET_PREPARATION.std,
    )


def picture_feed(options: Mapping[str, Any]) -> "PictureFeed":
    """How pictures reach the model. Raises InputError."""
    from edgesplit.caller.data.preprocessing import Preprocessing
    from edgesplit.cli.picture_feed import PictureFeed

    given = {name: options[name] for name in ("size", "resize", "mean", "std")}
    preprocessing = Preprocessing(**{k: v for k, v in given.items() if v is not None})
    return PictureFeed(preprocessing, options["as_layers"] or AS_LAYERS[0])
