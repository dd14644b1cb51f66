"""What a classifier says of pictures, and what that took: for `edgesplit run` and `plan`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit.api import EdgeSplit
from edgesplit.core.record import Record
from edgesplit.errors import InputError
from edgesplit.node.images import load_image


@dataclass(frozen=True)
class Answer:
    """What a classifier said of one picture. probability: of the top class, softmax."""

    image: str
    class_index: int
    probability: float
    record: Record

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; seconds and joules."""
        return {
            "image": self.image,
            "class_index": self.class_index,
            "probability": self.probability,
            "latency_s": self.record.latency_s,
            "end_energy": self.record.end_energy.as_dict(),
            "total_energy": self.record.total_energy.as_dict(),
            "plan": str(self.record.plan),
        }


def answers_table(answers: Sequence[Answer]) -> str:
    """A line per picture."""
    width = max(len("image"), *(len(answer.image) for answer in answers))
    head = [f"{name:>11}" for name in ("class", "top-1", "latency")]
    head += [f"{name:>18}" for name in ("end energy", "all tiers")]
    lines = [f"{'image':{width}} {' '.join(head)}  plan"]
    for answer in answers:
        record = answer.record
        lines.append(
            f"{answer.image:{width}} {answer.class_index:>11} {answer.probability:>11.1%} "
            f"{record.latency_s * 1e3:>8.1f} ms {record.end_energy!s:>18} "
            f"{record.total_energy!s:>18}  {record.plan}"
        )
    return "\n".join(lines)


def example_input(image: str | None, shape: str, batch: int) -> torch.Tensor:
    """The input to plan for: the picture, or seeded random numbers of that shape.

    Raises InputError for a picture that cannot be read or a shape that is none.
    """
    if image is not None:
        return torch.cat([load_image(image)] * batch)
    try:
        sizes = [int(size) for size in shape.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise InputError(
            f"--input-shape must be whole numbers above 0, as in 1,3,224,224, given {shape!r}"
        )
    try:
        x = torch.randn(sizes, generator=torch.Generator().manual_seed(0))
        return torch.cat([x] * batch)
    except RuntimeError as error:
        raise InputError(f"no input of {batch} x {shape}: {str(error).splitlines()[0]}") from error


def classify(split: EdgeSplit, image: str, x: torch.Tensor) -> Answer:
    """The answer for one picture. Raises InputError where the model is no classifier."""
    found = split.infer(x)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise InputError(
            f"`run` is for classifiers, whose answer has the shape (1, classes); this model "
            f"answers with {type(found).__name__}. Use EdgeSplit(model).infer(x) from Python"
        )
    probability, index = found.softmax(dim=1)[0].max(dim=0)
    record = split.last_record()
    assert record is not None, "a request has just come back"
    return Answer(image, int(index), float(probability), record)
