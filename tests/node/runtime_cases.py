"""Programs with their payload at every cut, and the runtimes that are compared on them."""

from dataclasses import dataclass
from functools import cached_property

import sample_models as samples
import torch
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.node.program.export.model import export
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.program.program import Program
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.runtime.channels_last import ChannelsLastRuntime
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_export import export_graph


class Masked(nn.Module):
    """int64 and bool values cross cuts, and one that is expanded: several elements in one place."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 6)

    def forward(self, tokens):
        mask = tokens > 3
        wide = mask.unsqueeze(2).expand(-1, -1, 6)
        y = self.embedding(tokens + 1)
        return torch.where(wide, y, -y).transpose(1, 2) * 2, tokens.max(1).values


class Positions(nn.Module):
    """A size that crosses cuts, and a tensor that is made on the CPU from it."""

    def forward(self, x):
        size = x.shape[0]
        y = torch.relu(x) + torch.arange(size).unsqueeze(1)
        return (y * 2).sin() / size


class Laid(nn.Module):
    """Values that are slices, transposed or expanded: with gaps or several in one place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x):
        y = self.conv(x).permute(0, 2, 3, 1)
        a, b = (y * 2).chunk(2, dim=-1)
        joined = torch.cat([a.sin(), b.cos()], -1).permute(0, 3, 1, 2).relu() + 1
        return joined, a[:, ::2], self.conv(x).unsqueeze(1).expand(-1, 3, -1, -1, -1)


class Flat(nn.Module):
    """An image that becomes a row: a view, which holds for one layout only."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(128, 5)

    def forward(self, x):
        return self.linear(self.conv(x).relu().view(x.shape[0], -1))


@dataclass(frozen=True)
class Eager:
    """Eager torch in the place of a runtime: what the others are compared with."""

    program: Program
    name = "torch"

    def prepare(self, start, stop):
        return self.program.segment(start, stop)


MAKERS = {
    "UNet": lambda: (samples.UNet(), [torch.randn(1, 3, 16, 16)]),
    "DictResult": lambda: (samples.DictResult(), [torch.randn(2, 6)]),
    "SharedBuffer": lambda: (samples.SharedBuffer(), [torch.randn(1, 6)]),
    "InPlace": lambda: (samples.InPlace(), [torch.randn(1, 6)]),
    "Attention": lambda: (samples.Attention(), [torch.randn(1, 5, 16)]),
    "Control": lambda: (samples.Control(), [torch.randn(2, 6)]),
    "Several": lambda: (samples.Several(), [torch.randn(2, 6)]),
    "Recurrent": lambda: (samples.Recurrent(), [torch.randn(1, 5, 6)]),
    "Tied": lambda: (samples.Tied(), [torch.randint(0, 20, (1, 7))]),
    "Masked": lambda: (Masked(), [torch.randint(0, 8, (2, 5))]),
    "Positions": lambda: (Positions(), [torch.randn(3, 4)]),
    "Laid": lambda: (Laid(), [torch.randn(2, 4, 6, 6)]),
    "Flat": lambda: (Flat(), [torch.randn(2, 3, 6, 6)]),
    "Transformer": lambda: (
        nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
        [torch.randn(2, 7, 16), torch.randn(2, 5, 16)],
    ),
    "mobilenet_v2": lambda: (load_model("mobilenet_v2"), [torch.randn(1, 3, 32, 32)]),
}


@dataclass(frozen=True)
class Case:
    """A program and a payload at cut 0."""

    program: Program
    values: list

    @cached_property
    def payloads(self):
        """What eager torch gives at each cut."""
        payloads = [self.values]
        for step in self.program.steps():
            payloads.append(step(payloads[-1]))
        return payloads

    @cached_property
    def workload(self):
        return ShapedProgram(self.program, payload_forms(self.program, self.values))

    @cached_property
    def graph(self):
        return export_graph(self.program, self.values)

    @property
    def payload_bytes(self):
        return graph_of("case", self.program, self.workload.forms).payload_bytes

    @cached_property
    def runtimes(self):
        """Those that run on every host, by name."""
        runtimes = [
            Eager(self.program),
            ChannelsLastRuntime(self.workload),
            OnnxRuntime(self.graph, self.program.weights, threads=1),
        ]
        return {runtime.name: runtime for runtime in runtimes}


def case(name):
    """The case of that name, in eval mode, its weights and inputs seeded."""
    torch.manual_seed(0)
    return case_of(*MAKERS[name]())


def case_of(model, args):
    exported = export(model.eval(), args)
    return Case(exported.program, exported.flatten(args))
