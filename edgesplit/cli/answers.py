"""What a classifier says of pictures, and what that took: for `edgesplit run` and `plan`."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit.caller.api import EdgeSplit
from edgesplit.caller.inputs.image_file import ImageFile
from edgesplit.caller.inputs.images import load_image, read_image
from edgesplit.cli.unanswered import Unanswered
from edgesplit.core.printable import columns, encodable, printable
from edgesplit.core.record import Record
from edgesplit.errors import InputError, PictureError, RequestError
from edgesplit.node.picture.preparation import IMAGENET_PREPARATION
from edgesplit.node.transport.wire import DEFAULT_MAX_FRAME_BYTES

FLOAT32_BYTES = 4
EMULATED = "tiers and links are emulated"
MEANINGLESS = "weights are random (seed 0): the classes mean nothing"


@dataclass(frozen=True)
class Prediction:
    """What a classifier said of one picture. probability: of the top class, softmax."""

    image: str
    class_index: int
    probability: float
    record: Record
    n_classes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; seconds and joules."""
        return {
            "image": encodable(self.image),
            "error": None,
            "class_index": self.class_index,
            "probability": self.probability,
            "latency_s": self.record.latency_s,
            "end_energy": self.record.end_energy.as_dict(),
            "total_energy": self.record.total_energy.as_dict(),
            "plan": str(self.record.plan),
        }


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture by name, as the model's input."""

    name: str
    x: torch.Tensor | ImageFile


def read_pictures(names: Iterable[str]) -> Iterator[Picture | Unanswered]:
    """Each as it is wanted, so that thousands need no more memory than one."""
    for name in names:
        try:
            yield Picture(name, read_image(name, IMAGENET_PREPARATION))
        except InputError as error:
            yield Unanswered(name, str(error))


def checked(picture: Picture | Unanswered) -> Picture | Unanswered:
    """The same, decoded once: whether it is broken behind its beginning."""
    if isinstance(picture, Unanswered) or isinstance(picture.x, torch.Tensor):
        return picture
    try:
        picture.x.tensor()
    except PictureError as error:
        return Unanswered(picture.name, str(error))
    return picture


def classify(
    split: EdgeSplit, pictures: Iterable[Picture | Unanswered]
) -> Iterator[Prediction | Unanswered]:
    """One outcome per picture, in order; one that fails keeps no other from its answer.

    Raises InputError where the model is no classifier.
    """
    for picture in pictures:
        if isinstance(picture, Unanswered):
            yield picture
            continue
        try:
            yield answer(split, picture)
        except PictureError as error:  # broken behind its beginning
            yield Unanswered(picture.name, str(error))
        except RequestError as error:
            yield Unanswered(picture.name, f"'{printable(picture.name)}': {error}")


def answer(split: EdgeSplit, picture: Picture) -> Prediction:
    """What the model says of one picture. Raises as infer(), and InputError for no classifier."""
    found = split.infer(picture.x)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise InputError(
            f"`run` is for classifiers, whose answer has the shape (1, classes); this model "
            f"answers with {type(found).__name__}. Use EdgeSplit(model).infer(x) from Python"
        )
    probability, index = found.softmax(dim=1)[0].max(dim=0)
    record = split.last_record
    assert record is not None, "a request has just come back"
    return Prediction(picture.name, int(index), float(probability), record, found.shape[1])


def answers_table(answers: Sequence[Prediction]) -> str:
    """A line per picture."""
    names = [printable(answer.image) for answer in answers]
    width = max(map(columns, ("image", *names)))
    head = [f"{name:>11}" for name in ("class", "top-1", "latency")]
    head += [f"{name:>18}" for name in ("end energy", "all tiers")]
    lines = [f"{'image':{width}} {' '.join(head)}  plan"]
    for name, answer in zip(names, answers, strict=True):
        record = answer.record
        lines.append(
            f"{name}{' ' * (width - columns(name))} {answer.class_index:>11} "
            f"{answer.probability:>11.1%} {record.latency_s * 1e3:>8.1f} ms "
            f"{record.end_energy!s:>18} {record.total_energy!s:>18}  {record.plan}"
        )
    return "\n".join(lines)


def example_input(image: str | None, shape: str, batch: int) -> torch.Tensor:
    """The input to plan for: the picture, or seeded random numbers of that shape.

    Raises InputError for a picture that cannot be read or a shape that is none.
    """
    if image is not None:
        return _repeated(load_image(image), batch)
    try:
        sizes = [int(size) for size in shape.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise InputError(
            f"--input-shape must be whole numbers above 0, as in 1,3,224,224, given {shape!r}"
        )
    _check_size(sizes, batch)
    return _repeated(torch.randn(sizes, generator=torch.Generator().manual_seed(0)), batch)


def _repeated(x: torch.Tensor, batch: int) -> torch.Tensor:
    _check_size(x.shape, batch)
    return torch.cat([x] * batch)


def _check_size(sizes: Sequence[int], batch: int) -> None:
    """Raise InputError for an input that no message holds."""
    n_bytes = FLOAT32_BYTES * batch * math.prod(sizes)
    if n_bytes > DEFAULT_MAX_FRAME_BYTES:
        raise InputError(
            f"no input of {batch} x {','.join(map(str, sizes))}: float32 takes {n_bytes:,} bytes, "
            f"over the limit of {DEFAULT_MAX_FRAME_BYTES:,} per message; give a smaller "
            "--input-shape or --batch"
        )


def where(is_emulated: bool) -> str:
    """Where the seconds of a table are from."""
    return EMULATED if is_emulated else "times are measured on the cluster"
