"""Models with real accuracy and no downloads: trained on digits in a minute, kept on disk.

Or one of the user's: its weights from a file, over examples of the user's own.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgesplit import Preprocessing, load_model, open_data
from edgesplit.caller.data.data_set import DataSet
from edgesplit.errors import ConfigError
from experiments.shared.digit_nets import SMALL_NETS

FOLDER = Path("out/trained")
_WHITE_ON_BLACK = (0.5, 0.5, 0.5)  # mean and deviation that map 0..1 to -1..1


@dataclass(frozen=True)
class Training:
    """All that the weights depend on, beside the versions of packages. model: one of SMALL_NETS."""

    model: str
    epochs: int
    peak_rate: float
    data: str = "digits"
    train_examples: int = 897
    size: int = 64
    batch: int = 32
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    seed: int = 0
    version: int = 1  # of the code below and of the nets

    @property
    def key(self) -> str:
        """Another one where anything differs."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def file(self, folder: Path) -> Path:
        """Where its weights are kept."""
        return folder / f"{self.model}-{self.key}.safetensors"


TRAININGS = {
    training.model: training
    for training in (
        Training("mobilenet_v2", epochs=15, peak_rate=3e-3),
        Training("alexnet", epochs=30, peak_rate=1e-3),
        Training("vgg16", epochs=10, peak_rate=3e-3),
    )
}


@dataclass(frozen=True, eq=False)
class LabelledInputs(Sequence[tuple[torch.Tensor, int]]):
    """Examples with labels as a model's inputs."""

    examples: DataSet
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            part = replace(self.examples, indices=self.examples.indices[position])
            return replace(self, examples=part)
        example = self.examples[position]
        assert example.label is not None, "opened with labels"
        return self.preprocessing(example.x), example.label


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A classifier in eval mode, and examples that it has not seen.

    examples: pictures as decoded, with labels. preprocessing: what makes the model's input of them.
    """

    name: str
    model: nn.Module
    examples: DataSet
    preprocessing: Preprocessing

    def inputs(self) -> Iterator[tuple[torch.Tensor, int]]:
        """Each example as (the model's input, its label)."""
        return iter(self.labelled())

    def labelled(self) -> "LabelledInputs":
        """The same by position, each read when it is asked for."""
        return LabelledInputs(self.examples, self.preprocessing)

    def accuracy(self) -> float:
        """Share of the examples whose top class is the label."""
        with torch.no_grad():
            right = sum(int(self.model(x).argmax()) == label for x, label in self.inputs())
        return right / len(self.examples)


def trained_on_digits(name: str, folder: Path = FOLDER) -> TrainedModel:
    """A small MobileNetV2, AlexNet or VGG-16 and the 900 digits that it was not trained on.

    Its weights are taken from `folder` where the same training left them; else it is trained, 12
    (AlexNet) to 50 seconds of one core, and they are left there. Raises ConfigError for another
    name.
    """
    if name not in TRAININGS:
        raise ConfigError(f"no training for {name!r}; there are {', '.join(TRAININGS)}")
    training = TRAININGS[name]
    whole = open_data(training.data)
    assert isinstance(whole, DataSet)
    seen = whole.sample(training.train_examples, training.seed)
    left = sorted(set(whole.indices) - set(seen.indices))
    model = _kept(training, folder) or _train(training, seen, folder)
    held_out = DataSet(whole.name, whole.read, left, whole.classes)
    return TrainedModel(name, model.eval(), held_out, _preprocessing(training))


def loaded(
    name: str, data: str, weights: Path, preprocessing: Preprocessing, most: int = 1000
) -> TrainedModel:
    """A model of the user's on data of the user's, such as `imagenet:PATH`; nothing is trained.

    name: as load_model takes it. weights: a state dict (torch.save's or .safetensors). most: so
    many examples, drawn by seed 0. Raises EdgeSplitError, ConfigError for data without labels.
    """
    model, opened = load_model(name, weights), open_data(data)
    if not isinstance(opened, DataSet) or opened[0].label is None:
        raise ConfigError(f"accuracy needs labels, and {data!r} has none; give a data set that has")
    return TrainedModel(name, model, opened.sample(most), preprocessing)


def _preprocessing(training: Training) -> Preprocessing:
    size = training.size
    return Preprocessing(size, size, _WHITE_ON_BLACK, _WHITE_ON_BLACK)


def _kept(training: Training, folder: Path) -> nn.Module | None:
    """The model with the weights that were left there; None where there are none that fit."""
    model = SMALL_NETS[training.model]()
    try:
        with safe_open(training.file(folder), framework="pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError):
        return None
    return model


def _train(training: Training, seen: DataSet, folder: Path) -> nn.Module:
    """One core: on a busy machine several threads in step take far longer than one."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        torch.set_num_threads(1)
        try:
            model = SMALL_NETS[training.model]()
            _fit(model, training, seen)
        finally:
            torch.set_num_threads(threads)
    _keep(model, training, folder)
    return model


def _fit(model: nn.Module, training: Training, seen: DataSet) -> None:
    """Steps over whole batches; the learning rate rises and falls once."""
    examples = list(seen)
    x = _preprocessing(training)(torch.cat([example.x for example in examples]))
    y = torch.tensor([example.label for example in examples])
    steps = training.epochs * (len(y) // training.batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=training.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.peak_rate, steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)
    model.train()
    for _ in range(training.epochs):
        whole = len(y) - len(y) % training.batch
        for some in torch.split(torch.randperm(len(y))[:whole], training.batch):
            optimizer.zero_grad()
            loss_of(model(x[some]), y[some]).backward()
            optimizer.step()
            rates.step()


def _keep(model: nn.Module, training: Training, folder: Path) -> None:
    """Whole or not at all: another process may read it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    file = training.file(folder)
    unfinished = file.with_suffix(".part")
    told = {"training": json.dumps(asdict(training))}
    save_file(model.state_dict(), unfinished, told)
    unfinished.replace(file)
