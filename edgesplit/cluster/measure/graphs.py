"""Writes a workload's ONNX graph in a process of its own, on the caller's node.

An export keeps Python busy for 1 to 20 s; in the caller's process, requests would wait for it.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from edgesplit.cluster.ray.answers import Get
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.packed import PackedProgram
from edgesplit.node.transport.packed_payload import PackedPayload

_NICENESS = 10
_EXPORT_TIMEOUT_S = 300.0


class GraphWriter:
    """A plain class; ray.remote wraps it where it is started."""

    def write(
        self,
        runtime: str,
        program: str | PackedProgram,
        example: PackedPayload,
        calibration: Sequence[PackedPayload],
        imports: Imports,
    ) -> Any:
        """The OnnxGraph, for that runtime, of the program for payloads like `example` at cut 0.

        program: packed, or its name on this host; None comes back where it is not there.
        calibration: payloads at cut 0 on which a lossy runtime's graph is quantised.
        Raises RuntimeUnavailableError for what ONNX cannot express, or where a package is missing.
        """
        from edgesplit.node.program.profiler import payload_forms
        from edgesplit.node.program.shaped_program import ShapedProgram
        from edgesplit.node.program.shipping import unpack
        from edgesplit.node.program.switches import require_usual
        from edgesplit.node.program.value_shapes import require_fixed_shapes
        from edgesplit.node.runtime.lossy import is_lossy
        from edgesplit.node.runtime.onnx_export import export_graph
        from edgesplit.node.runtime.onnx_quantise import quantised_graph

        os.nice(_NICENESS)  # requests come first
        imports.load("the process that writes ONNX graphs")
        packed = HostPrograms().use(program) if isinstance(program, str) else program
        if packed is None:
            return None
        unpacked, values = unpack(packed), example.values()
        # A tier without torch could not tell.
        require_usual(unpacked.switches, runtime)
        require_fixed_shapes(ShapedProgram(unpacked, payload_forms(unpacked, values)), runtime)
        if is_lossy(runtime):
            return quantised_graph(unpacked, values, [one.values() for one in calibration])
        return export_graph(unpacked, values)


def write_graph(runtime: str, sent: tuple[Any, Any, Any], names: Sequence[str], get: Get) -> Any:
    """The workload's OnnxGraph, for that runtime; the process has ended.

    sent: the program, by name or by reference, a reference to the payload, and one to those that a
    lossy runtime is calibrated on, or an empty tuple; None comes back where no program of that name
    is on this host. names: of modules to import.
    Raises as GraphWriter.write, and ClusterError.
    """
    imports = Imports(tuple(names), tuple(map(os.path.abspath, sys.path)))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    writer = ray.remote(GraphWriter).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        return get(
            writer.write.remote(runtime, *sent, imports), "the ONNX graph", _EXPORT_TIMEOUT_S
        )
    finally:
        ray.kill(writer)
