"""Writes a workload's ONNX graph in a process of its own, on the caller's node.

An export keeps Python busy for 1 to 20 s; in the caller's process, requests would wait for it.
"""

import os
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from edgesplit.cluster.answers import Get
from edgesplit.node.packed import PackedProgram
from edgesplit.node.packed_payload import PackedPayload

_NICENESS = 10
_EXPORT_TIMEOUT_S = 300.0


class GraphWriter:
    """A plain class; ray.remote wraps it where it is started."""

    def write(self, packed: PackedProgram, sample: PackedPayload) -> Any:
        """The OnnxGraph of the program for payloads like `sample` at cut 0.

        Raises RuntimeUnavailableError for what ONNX cannot express, or where a package is missing.
        """
        from edgesplit.node.profiler import payload_forms
        from edgesplit.node.runtime.onnx_export import export_graph
        from edgesplit.node.runtime.torch_range import Workload
        from edgesplit.node.runtime.value_shapes import require_fixed_shapes
        from edgesplit.node.shipping import unpack

        os.nice(_NICENESS)  # requests come first
        program, values = unpack(packed), sample.values()
        # A tier without torch could not tell.
        require_fixed_shapes(Workload(program, payload_forms(program, values)), "onnx")
        return export_graph(program, values)


def write_graph(packed: Any, sample: Any, get: Get) -> Any:
    """The workload's OnnxGraph; the process has ended.

    packed, sample: references to the packed program and payload. Raises as GraphWriter.write, and
    ClusterError.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    writer = ray.remote(GraphWriter).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        return get(writer.write.remote(packed, sample), "the ONNX graph", _EXPORT_TIMEOUT_S)
    finally:
        ray.kill(writer)
