"""A workload on a host with torch: eager torch and every other runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.batch_forms import two_of
from edgesplit.node.program.profiler import payload_forms, profile_layers
from edgesplit.node.program.program import Program, is_random
from edgesplit.node.program.run_slot import RunSlot
from edgesplit.node.program.segment import Segment
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.switches import require_usual
from edgesplit.node.program.value_shapes import require_fixed_shapes, value_dependent
from edgesplit.node.runtime import JointRuntime
from edgesplit.node.runtime.check import Trial
from edgesplit.node.runtime.noise import has_branches, noise_trials
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.table import known_runtime
from edgesplit.node.runtime.trial import dummy_payload
from edgesplit.node.transport.tensor_form import Forms


@dataclass(frozen=True, eq=False)
class TorchEngine:
    """See Engine. threads, flushes_denormals: of a runtime with threads of its own."""

    program: Program
    forms: tuple[Forms, ...]
    threads: int
    flushes_denormals: bool = False

    has_eager = True

    @property
    def weights(self) -> Sequence[Any]:
        """The program's tensors."""
        return self.program.weights

    @property
    def workload(self) -> ShapedProgram:
        """What torch's own runtimes are made of."""
        return ShapedProgram(self.program, self.forms)

    def eager(self, start: int, stop: int) -> Segment:
        """Layers [start, stop): 1-100 ms where it is new. Raises PlanError."""
        return self.program.segment(start, stop)

    def profile(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[float, ...]:
        """As node/program/profiler.py times them."""
        return profile_layers(self.program, values, run_slot)

    def noise(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[Trial, ...]:
        """As node/runtime/noise.py chooses it, by some ten runs in eager torch."""
        return noise_trials(self.program, values, run_slot)

    def forms_of_two(self, graph: OnnxGraph | None, run_slot: RunSlot) -> tuple[Forms, ...]:
        """By one run layer by layer."""
        if is_random(self.program):
            raise RuntimeUnavailableError("the model draws random numbers, for all at once")
        if has_branches(self.program.structure):
            raise RuntimeUnavailableError("branches in the model would be taken for all at once")
        if names := value_dependent(self.workload):
            raise RuntimeUnavailableError(
                f"shapes in this model depend on values ({', '.join(names)}), those of one request "
                "on all in the run"
            )
        payload = dummy_payload(tuple(form.two for form in two_of(self.forms[0])))
        try:
            return run_slot(partial(payload_forms, self.program, payload))  # type: ignore[no-any-return]
        except Exception as error:  # operators raise anything for sizes that they do not take
            raise RuntimeUnavailableError(
                f"the model was exported for these sizes only: {str(error)[:200]}"
            ) from error

    def runtime(self, name: str, graph: OnnxGraph | None) -> JointRuntime:
        """Raises RuntimeUnavailableError for an unknown one, or `onnx` without its graph.

        Also where it could give other results than on the example, or do no better than torch.
        """
        require_usual(self.program.switches, name)
        require_fixed_shapes(self.workload, name)
        return known_runtime(name).make(self, graph)
