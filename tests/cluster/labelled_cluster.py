"""A Ray cluster on this machine with a node per tier, which tests join by address."""

import contextlib
import tempfile
import warnings

import pytest
import ray
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextlib.contextmanager
def labelled_cluster(head, *others, caches=None):
    """Nodes for these tiers, the head's first; ended with all of theirs, as is Ray's folder.

    caches: a folder in which each tier keeps programs apart from the others', as hosts do; None:
    all where this process does.
    """

    def node(tier):
        env = {} if caches is None else {"EDGESPLIT_CACHE": str(caches / tier)}
        return {**NODE, "labels": {"tier": tier}, "env_vars": env}

    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        # Ray's test cluster is careless with files and processes of its own.
        warnings.simplefilter("ignore")
        running = Cluster(initialize_head=True, head_node_args=node(head))
        try:
            for tier in others:
                running.add_node(**node(tier))
            running.wait_for_nodes()
            yield running
        finally:
            ray.shutdown()
            running.shutdown()
