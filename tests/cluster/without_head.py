"""A program whose cluster loses its head: run by test_head_loss.py in a process of its own.

Ray's own nodes give up 8 s after the head; the program must not.
"""

import os
import signal
import sys
import time

import torch
from conftest import small_net
from ray.cluster_utils import Cluster

from edgesplit import Config, EdgeSplit

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
PLAN = "end:0-3 | cloud:3-8"
AFTER_S = 16.0


def main():
    os.environ.update(RAY_gcs_rpc_server_reconnect_timeout_s="8")
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "labels": {"tier": "end"}})
    cluster.add_node(**NODE, labels={"tier": "cloud"})
    cluster.wait_for_nodes()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    config = Config(tiers=("end", "cloud"), threads=1, runtimes=("torch",))
    with EdgeSplit(small_net(), policy=PLAN, address=cluster.address, config=config) as split:
        expected = split.infer(x)
        os.kill(cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)
        until_s, right = time.monotonic() + AFTER_S, 0
        while time.monotonic() < until_s:
            assert torch.equal(split.infer(x), expected)
            right += 1
            time.sleep(0.05)
        print(f"right {right} by {sorted(set(split.records()['finished_by']))}", flush=True)
    print("closed", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main()
