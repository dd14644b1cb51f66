"""A user's own model, weights and data in place of an experiment's own, as options of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from edgesplit import Preprocessing
from edgesplit.cli.options import Colours
from experiments.shared.trained import TrainedModel, loaded

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NEEDED = ("model", "data", "weights")
_OPTIONS = (
    click.option(
        "--model",
        metavar="NAME",
        help="A model of your own, of torchvision or package.module:callable, instead of those of "
        "the experiment; with --data and --weights.",
    ),
    click.option(
        "--data",
        metavar="TEXT",
        help="Labelled data for it: the folder of an ImageFolder tree, cifar10:PATH, "
        "cifar100:PATH, imagenet:PATH.",
    ),
    click.option("--weights", metavar="FILE", help="Its state dict."),
    click.option(
        "--examples", type=click.IntRange(1), help="So many, drawn by seed 0.  [default: 1000]"
    ),
    click.option("--size", type=click.IntRange(1), help="Side of its input.  [default: 224]"),
    click.option("--resize", type=click.IntRange(1), help="Before cropping.  [default: 8/7 size]"),
    click.option("--mean", type=Colours(), help="Of the colours.  [default: ImageNet's]"),
    click.option("--std", type=Colours(), help="Of the colours.  [default: ImageNet's]"),
)
_MORE = ("examples", "size", "resize", "mean", "std")


@dataclass(frozen=True)
class OwnData:
    """What was asked for. size, resize, mean, std: as Preprocessing takes them; None: its own."""

    model: str
    data: str
    weights: str
    examples: int = 1000
    size: int | None = None
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def load(self) -> TrainedModel:
        """The model and its examples. Raises EdgeSplitError, also for data without labels."""
        given = {name: getattr(self, name) for name in _MORE[1:]}
        preprocessing = Preprocessing(**{k: v for k, v in given.items() if v is not None})
        weights = Path(self.weights)
        return loaded(self.model, self.data, weights, preprocessing, self.examples)


def own_data_options(command: _Command) -> _Command:
    """--model, --data, --weights, and how examples become inputs; own_data() takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def own_data(options: Mapping[str, Any]) -> OwnData | None:
    """None where none of them is given. Raises click.UsageError for some without others."""
    given = {name: options[name] for name in (*_NEEDED, *_MORE) if options[name] is not None}
    if not given:
        return None
    if missing := [f"--{name}" for name in _NEEDED if name not in given]:
        raise click.UsageError(
            f"{', '.join(f'--{name}' for name in given)}: give {', '.join(missing)} too"
        )
    return OwnData(**given)


def settings_of(own: OwnData | None) -> dict[str, Any]:
    """For a journal: another run may not go on where this one was."""
    return {} if own is None else {"own": asdict(own)}
