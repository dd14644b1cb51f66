"""A model over a data set or a video: an answer per example, one that fails keeps no other back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgesplit.caller.api import EdgeSplit
from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.example import Example
from edgesplit.caller.data.playback import Playback, Punctuality
from edgesplit.caller.data.video import VideoStream
from edgesplit.caller.inputs.image_file import ImageFile
from edgesplit.cli.answers import Picture, Prediction, answer
from edgesplit.cli.picture_feed import PictureFeed
from edgesplit.cli.unanswered import Unanswered
from edgesplit.core.printable import printable
from edgesplit.errors import InputError, PictureError, RequestError


@dataclass(frozen=True)
class DataAnswer:
    """What was said of one example. label: what it is; None: not known. kept_time: of a frame."""

    prediction: Prediction
    label: int | None
    kept_time: Punctuality | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether the top class is the label; None where there is none."""
        return None if self.label is None else self.prediction.class_index == self.label

    @property
    def latency_s(self) -> float:
        """Of the request; of a frame from when it was due."""
        return (self.kept_time or self.prediction.record).latency_s

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        row = self.prediction.as_dict() | {"label": self.label, "is_right": self.is_right}
        if self.kept_time is not None:
            row |= {"latency_s": self.latency_s, "is_late": self.kept_time.is_late}
        return row


def limited(data: DataSet | VideoStream, limit: int | None) -> DataSet | VideoStream:
    """So many examples of it: a sample of a data set, the beginning of a video."""
    if limit is None:
        return data
    return data.first(limit) if isinstance(data, VideoStream) else data.sample(limit)


def over_data_set(
    split: EdgeSplit, data: DataSet, feed: PictureFeed
) -> Iterator[DataAnswer | Unanswered]:
    """One outcome per example, in order. Raises InputError where model and data do not fit."""
    for index in data.indices:
        try:
            yield _outcome(split, data.read(index), feed)
        except PictureError as error:
            yield Unanswered(f"{data.name} {index}", str(error))


def over_video(
    split: EdgeSplit, playback: Playback, feed: PictureFeed
) -> Iterator[DataAnswer | Unanswered]:
    """One outcome per frame that was not dropped."""
    for frame in playback.frames():
        outcome = _outcome(split, frame.example, feed)
        kept_time = playback.was_answered(frame)
        if isinstance(outcome, DataAnswer):
            outcome = DataAnswer(outcome.prediction, outcome.label, kept_time)
        yield outcome


def first_input(data: DataSet | VideoStream, feed: PictureFeed) -> Any:
    """The model's input of the first example that can be read. Raises InputError."""
    if isinstance(data, VideoStream):
        for example in data.first(1):
            return feed.input(example.picture)
        raise InputError(f"'{printable(data.name)}' has no frames that can be read")
    problem: InputError | None = None
    for index in data.indices:
        try:
            example = data.read(index)
            if isinstance(example.picture, ImageFile):
                example.picture.tensor()  # whether it is whole
            return feed.input(example.picture)
        except PictureError as error:
            problem = error
    raise problem or InputError(f"'{printable(data.name)}' has no examples")


def check_labels(data: DataSet | VideoStream, module: nn.Module, x: Any) -> None:
    """Raise InputError where the data have classes that the model has not.

    x: an input of it. What else is wrong with the model is for the session to say.
    """
    if not (isinstance(data, DataSet) and data.classes):
        return
    try:
        with torch.no_grad():
            found = module(x.tensor() if isinstance(x, ImageFile) else x)
    except Exception:  # a model raises anything
        return
    is_classifier = isinstance(found, torch.Tensor) and found.ndim == 2
    if is_classifier and found.shape[1] < len(data.classes):
        raise InputError(
            f"'{printable(data.name)}' has {len(data.classes):,} classes, labels from 0 to "
            f"{len(data.classes) - 1:,}, but the model has {found.shape[1]:,} classes; use a model "
            "that was made for these data"
        )


def _outcome(split: EdgeSplit, example: Example, feed: PictureFeed) -> DataAnswer | Unanswered:
    name = example.origin
    try:
        prediction = answer(split, Picture(name, feed.input(example.picture)))
    except RequestError as error:
        return Unanswered(name, f"'{printable(name)}': {error}")
    if example.label is not None and example.label >= prediction.n_classes:
        raise InputError(
            f"'{printable(name)}' has the label {example.label}, but the model has "
            f"{prediction.n_classes} classes; use a model that was made for these data"
        )
    return DataAnswer(prediction, example.label)
