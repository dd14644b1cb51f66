"""The testbed's wires: a bridge, a veth per host, shaped and cut per directed pair of hosts.

Shaping is htb on the sender's device with a class per destination, so that one link can be
throttled and the others not. A cut link loses its frames without a word, as a pulled cable does.
"""

import contextlib
import json
from dataclasses import dataclass

from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import Layout
from edgesplit.testbed.state import State
from edgesplit.testbed.system import run, wait_until

DEVICE = "eth0"  # inside a host
_MARK = "edgesplit-testbed"  # alias of each device that was made here
_NOBODY = "02:00:5e:00:53:00"  # a hardware address that no device of the bridge has
_FREE_RATE = "100gbit"
# A bucket of a millisecond: a larger one would let small payloads through unshaped.
_BURST_S = 0.001
_QUEUE_S, _LEAST_QUEUE_BYTES = 0.1, 30_000  # as long as an access point's may be
_LEAST_BURST_BYTES, _MOST_SEGMENT_BYTES = 3_100, 65_536
_ADDRESS_BITS = 24


@dataclass(frozen=True)
class Network:
    """The devices of one testbed."""

    layout: Layout

    def make(self) -> None:
        """The bridge with the machine's own address on it. Nothing where it is there already."""
        bridge = self.layout.bridge
        if self._is_ours(bridge):
            return
        run(["ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0"])
        run(["ip", "link", "set", bridge, "alias", _MARK])
        run(["ip", "address", "add", f"{self.layout.gateway}/{_ADDRESS_BITS}", "dev", bridge])
        run(["ip", "link", "set", bridge, "up"])

    def plug_in(self, host: str) -> None:
        """A network namespace for the host, wired to the bridge."""
        name, address = self.layout.device(host), self.layout.address(host)
        self.unplug(host)
        run(["ip", "netns", "add", name])
        run(["ip", "link", "add", name, "type", "veth", "peer", "name", DEVICE, "netns", name])
        run(["ip", "link", "set", name, "alias", _MARK])
        run(["ip", "link", "set", name, "master", self.layout.bridge, "up"])
        self._inside(host, "ip", "address", "add", f"{address}/{_ADDRESS_BITS}", "dev", DEVICE)
        self._inside(host, "ip", "link", "set", "lo", "up")
        self._inside(host, "ip", "link", "set", DEVICE, "up")

    def pull(self, host: str) -> None:
        """Pull the host's cable for good, before its processes end: nobody hears them go."""
        name = self.layout.device(host)
        if self._is_ours(name):
            run(["ip", "link", "delete", name])
            wait_until(lambda: self._link(name) is None, f"device {name} to go")

    def unplug(self, host: str) -> None:
        """Remove the host's device and network namespace, where they are."""
        self.pull(host)
        name = self.layout.device(host)
        if name in self._namespaces():
            run(["ip", "netns", "delete", name])

    def remove(self) -> None:
        """Remove everything that was made, as far as it is there."""
        for host in self.layout.names:
            self.unplug(host)
        if self._is_ours(self.layout.bridge):
            run(["ip", "link", "delete", self.layout.bridge])

    def apply(self, host: str, state: State) -> None:
        """Shape and cut what the host sends, as `state` has it."""
        rates = {target: state.rates[u, target] for u, target in state.rates if u == host}
        with contextlib.suppress(TestbedError):  # there may be none yet
            self._inside(host, "tc", "qdisc", "delete", "dev", DEVICE, "root")
        segment_bytes = _MOST_SEGMENT_BYTES
        if rates:
            self._tc(host, "qdisc", "add", "root", "handle", "1:", "htb", "default", "1")
            self._tc(
                host, "class", "add", "parent", "1:", "classid", "1:1", "htb", "rate", _FREE_RATE
            )
            segment_bytes = min(_burst_bytes(rate) for rate in rates.values())
        self._inside(
            host, "ip", "link", "set", DEVICE,
            "gso_max_size", str(min(segment_bytes, _MOST_SEGMENT_BYTES)),
        )  # fmt: skip
        for target, rate in rates.items():
            self._shape(host, target, rate)
        for target in set(self.layout.names) - {host}:
            self._cut(host, target, (host, target) in state.cuts)

    def foreign(self) -> list[str]:
        """Devices and namespaces of our names, and addresses, that somebody else made."""
        names = [self.layout.bridge, *map(self.layout.device, self.layout.names)]
        devices = [name for name in names if self._link(name) and not self._is_ours(name)]
        spaces = [name for name in names if name in self._namespaces()]
        return devices + spaces + self._foreign_addresses()

    # Inside

    def _shape(self, host: str, target: str, bytes_per_s: float) -> None:
        number = f"1:{10 + self.layout.names.index(target)}"
        rate, burst = f"{round(bytes_per_s * 8)}bit", str(_burst_bytes(bytes_per_s))
        self._tc(
            host, "class", "add", "parent", "1:", "classid", number, "htb",
            "rate", rate, "ceil", rate, "burst", burst, "cburst", burst, "quantum", "3000",
        )  # fmt: skip
        # Else the queue would hold seconds of a slow link, for everybody's packets.
        queue = str(max(_LEAST_QUEUE_BYTES, round(bytes_per_s * _QUEUE_S)))
        self._tc(host, "qdisc", "add", "parent", number, "bfifo", "limit", queue)
        self._tc(
            host, "filter", "add", "parent", "1:", "protocol", "ip", "prio", "1", "u32",
            "match", "ip", "dst", f"{self.layout.address(target)}/32", "flowid", number,
        )  # fmt: skip

    def _cut(self, host: str, target: str, is_cut: bool) -> None:
        address = self.layout.address(target)
        if is_cut:
            command = ["replace", address, "lladdr", _NOBODY, "nud", "permanent", "dev", DEVICE]
            self._inside(host, "ip", "neigh", *command)
            return
        with contextlib.suppress(TestbedError):  # it may not be known
            self._inside(host, "ip", "neigh", "delete", address, "dev", DEVICE)

    def _tc(self, host: str, what: str, verb: str, *rest: str) -> None:
        self._inside(host, "tc", what, verb, "dev", DEVICE, *rest)

    def _inside(self, host: str, *command: str) -> None:
        run(["ip", "netns", "exec", self.layout.device(host), *command])

    def _foreign_addresses(self) -> list[str]:
        """Addresses of our network on other devices of the machine."""
        found = json.loads(run(["ip", "-json", "-4", "address", "show"]))
        return [
            f"{address['local']} on {device['ifname']}"
            for device in found
            for address in device.get("addr_info", [])
            if address["local"].startswith(f"{self.layout.network}.")
            and device["ifname"] != self.layout.bridge
        ]

    def _link(self, name: str) -> dict[str, object] | None:
        found = json.loads(run(["ip", "-json", "link", "show"]))
        return next((link for link in found if link.get("ifname") == name), None)

    def _is_ours(self, name: str) -> bool:
        link = self._link(name)
        return link is not None and link.get("ifalias") == _MARK

    def _namespaces(self) -> set[str]:
        found = json.loads(run(["ip", "-json", "netns", "list"]) or "[]")
        return {str(namespace["name"]) for namespace in found}


def _burst_bytes(bytes_per_s: float) -> int:
    return max(_LEAST_BURST_BYTES, round(bytes_per_s * _BURST_S))
