"""Runs on a host: joins its cluster and prints every node's name, labels and address, as JSON."""

import json

import ray

from edgesplit.cluster.ray.join import join
from edgesplit.cluster.ray.nodes import nodes_of


def main():
    join(None)
    rows = [row for row in ray.nodes() if row["Alive"]]
    labels = {row["NodeID"]: row["Labels"] for row in rows}
    print(
        json.dumps(
            {
                node.name: [labels[node.ray_id].get("node"), node.role, node.address]
                for node in nodes_of(rows)
            }
        )
    )


if __name__ == "__main__":
    main()
