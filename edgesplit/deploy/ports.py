"""The one list of pinned ports: what the start commands ask for and firewalls must let through.

Flags are those of `ray start` in Ray 2.60 (ray/scripts/scripts.py).
"""

from dataclasses import dataclass

GCS_PORT = 6379
DATA_PORTS = range(6400, 6432)
HEAD, EVERY_NODE = "head", "every node"


@dataclass(frozen=True)
class Port:
    """Pinned TCP ports `first` to `last`, both included.

    where: "head" or "every node". flag: what of `ray start` pins it; the two flags for first and
    last where it is a range; None where Ray has no say or the default is kept.
    """

    name: str
    first: int
    last: int
    where: str
    purpose: str
    flag: str | None = None

    @property
    def numbers(self) -> range:
        """Every port of this entry."""
        return range(self.first, self.last + 1)

    @property
    def options(self) -> list[str]:
        """Words of `ray start` that pin it; none where no flag does."""
        flags = self.flag.split() if self.flag else []
        return [f"{flag}={n}" for flag, n in zip(flags, (self.first, self.last), strict=False)]


PORTS = (
    Port("SSH", 22, 22, EVERY_NODE, "`ray up` and the head start Ray through it"),
    Port("GCS", GCS_PORT, GCS_PORT, HEAD, "Ray's control plane; every node joins here", "--port"),
    Port("dashboard", 8265, 8265, HEAD, "loopback only: not to be opened", "--dashboard-port"),
    # Without a flag: `ray start` refuses it where the package ray[client] is not installed.
    Port("Ray client", 10001, 10001, HEAD, "remote drivers, where ray[client] is installed"),
    Port("node manager", 6380, 6380, EVERY_NODE, "starts actors", "--node-manager-port"),
    Port("object manager", 6381, 6381, EVERY_NODE, "ships weights", "--object-manager-port"),
    Port("dashboard agent", 6382, 6382, EVERY_NODE, "its grpc", "--dashboard-agent-grpc-port"),
    Port("runtime env agent", 6383, 6383, EVERY_NODE, "its http", "--runtime-env-agent-port"),
    Port("metrics export", 6384, 6384, EVERY_NODE, "for Prometheus", "--metrics-export-port"),
    Port(
        "dashboard agent listen",
        6385,
        6385,
        EVERY_NODE,
        "its http, where ray[default] is installed",
        "--dashboard-agent-listen-port",
    ),
    Port(
        "EdgeSplit data plane",
        DATA_PORTS.start,
        DATA_PORTS.stop - 1,
        EVERY_NODE,
        "payloads from tier to tier; one port per running EdgeSplit",
    ),
    Port(
        "Ray workers",
        10002,
        10100,
        EVERY_NODE,
        "calls to actors and drivers; one port per process",
        "--min-worker-port --max-worker-port",
    ),
)
