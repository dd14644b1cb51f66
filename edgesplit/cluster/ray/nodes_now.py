"""The nodes that a process of the cluster sees now, without what would end that process.

ray.nodes() aborts a process whose head was replaced by another cluster's; this raises instead.
"""

from typing import Any

from ray._private import worker

from edgesplit.cluster.ray.nodes import Node, nodes_of

_ALIVE = 0  # of GcsNodeInfo.GcsNodeState


def nodes_now(timeout_s: float) -> tuple[Node, ...]:
    """Those that are alive, as the head knows them. Raises what Ray's client raises."""
    found = worker.global_worker.gcs_client.get_all_node_info(timeout=timeout_s)
    return nodes_of(_row(key.hex(), node) for key, node in found.items() if node.state == _ALIVE)


def _row(node_id: str, node: Any) -> dict[str, Any]:
    """As ray.nodes() has it."""
    return {
        "NodeID": node_id,
        "Labels": dict(node.labels),
        "Resources": dict(node.resources_total),
        "NodeManagerAddress": node.node_manager_address,
        "NodeManagerPort": node.node_manager_port,
    }
