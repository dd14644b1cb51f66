"""A model as a graph of vertices between two machines, split where it costs least: a minimum cut.

Vertices are in an order in which arcs lead onwards; vertex 0 is the input, which lies on the edge.
What has gone to the cloud does not come back. Seconds of three kinds add up: of the edge, of the
uploads, of the cloud.
"""

from dataclasses import dataclass
from math import inf

from edgesplit.core.policies.max_flow import Arc, FlowNetwork
from edgesplit.errors import PlanError

SplitSeconds = tuple[float, float, float]  # edge, upload, cloud


@dataclass(frozen=True)
class Dag:
    """edge_s, cloud_s: of each vertex on either machine. upload_s: of what it makes, sent once.

    arcs: (from, to), from < to. Raises PlanError where these do not fit together.

    Example:
        >>> branch = Dag((0, 5, 1), (0, 1, 1), (4, 3, 0), ((0, 1), (0, 2), (1, 2)))
        >>> sorted(branch.cheapest()), branch.seconds(branch.cheapest())
        ([0], (0, 4, 2))
    """

    edge_s: tuple[float, ...]
    cloud_s: tuple[float, ...]
    upload_s: tuple[float, ...]
    arcs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        n = len(self.edge_s)
        if n == 0 or (len(self.cloud_s), len(self.upload_s)) != (n, n):
            raise PlanError(
                f"a vertex has three times, given {n}, {len(self.cloud_s)} and {len(self.upload_s)}"
            )
        if wrong := [arc for arc in self.arcs if not 0 <= arc[0] < arc[1] < n]:
            raise PlanError(f"arcs lead from a vertex to a later one of {n}, given {wrong[0]}")

    def __len__(self) -> int:
        return len(self.edge_s)

    def seconds(self, on_edge: frozenset[int]) -> SplitSeconds:
        """Of the edge, the uploads and the cloud, with these vertices on the edge."""
        sent = {u for u, v in self.arcs if u in on_edge and v not in on_edge}
        cloud = set(range(len(self))) - on_edge
        edge_s = sum(self.edge_s[v] for v in on_edge)
        return edge_s, sum(self.upload_s[v] for v in sent), sum(self.cloud_s[v] for v in cloud)

    def cheapest(self, edge: float = 1.0, cloud: float = 1.0) -> frozenset[int]:
        """The vertices on the edge where edge * T_edge + T_upload + cloud * T_cloud is least.

        A minimum cut: an arc to the sink costs the edge's seconds, one from the source the cloud's,
        and a vertex that others follow its upload, counted once by a node in between where several
        do. Arcs that may not be cut forbid a way back.
        """
        n = len(self)
        source, sink = 2 * n, 2 * n + 1
        arcs: list[Arc] = [(source, 0, inf)]
        arcs += [(source, v, cloud * s) for v, s in enumerate(self.cloud_s) if v]
        arcs += [(v, sink, edge * s) for v, s in enumerate(self.edge_s)]
        arcs += [(v, u, inf) for u, v in self.arcs]
        arcs += self._uploads()
        kept = FlowNetwork(2 * n + 2, arcs).source_side(source, sink)
        return frozenset(v for v in kept if v < n)

    def _uploads(self) -> list[Arc]:
        """Vertex v's node in between is n + v."""
        n = len(self)
        after: list[list[int]] = [[] for _ in range(n)]
        for u, v in self.arcs:
            after[u].append(v)
        arcs = list[Arc]()
        for u, followers in enumerate(after):
            if len(followers) == 1:
                arcs.append((u, followers[0], self.upload_s[u]))
            elif followers:
                arcs.append((u, n + u, self.upload_s[u]))
                arcs += [(n + u, v, inf) for v in followers]
        return arcs
