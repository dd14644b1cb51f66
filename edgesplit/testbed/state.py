"""What a testbed has made and how it is set: one file, written before anything is made."""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import HostSpec, Layout, Pair
from edgesplit.testbed.system import started_at


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one of the same number."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return started_at(self.pid) == self.started


@dataclass(frozen=True)
class State:
    """layout: with the hosts that it has. first: each running host's first process.

    rates: bytes per second per directed pair. cores: CPU quota per host. cuts: directed pairs.
    """

    layout: Layout
    first: dict[str, Process] = field(default_factory=dict)
    rates: dict[Pair, float] = field(default_factory=dict)
    cores: dict[str, float] = field(default_factory=dict)
    cuts: frozenset[Pair] = frozenset()

    def with_rate(self, pair: Pair, bytes_per_s: float | None) -> "State":
        """The rate of a directed pair set, or lifted with None."""
        rates = {key: rate for key, rate in self.rates.items() if key != pair}
        return replace(self, rates=rates if bytes_per_s is None else {**rates, pair: bytes_per_s})

    def with_cores(self, host: str, cores: float | None) -> "State":
        """A host's quota set, or lifted with None."""
        others = {key: value for key, value in self.cores.items() if key != host}
        return replace(self, cores=others if cores is None else {**others, host: cores})

    def with_first(self, host: str, process: Process | None) -> "State":
        """A host's first process set, or forgotten with None."""
        others = {key: value for key, value in self.first.items() if key != host}
        return replace(self, first=others if process is None else {**others, host: process})

    def is_running(self, host: str) -> bool:
        """Whether the host's first process lives."""
        return host in self.first and self.first[host].is_alive


def read_state(given: Layout) -> State | None:
    """The state of the testbed of that name; None where there is none.

    Of one that older versions made, `given` says which network and hosts it has. Raises
    TestbedError if the state is damaged.
    """
    path = _file(given)
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise TestbedError(
            f"only root may look at the testbed in {path.parent}: use sudo"
        ) from error
    except ValueError as error:
        raise TestbedError(f"{path} is damaged ({error}); remove it after a look") from error
    layout = _layout(found["layout"]) if "layout" in found else given
    return State(
        layout,
        {host: Process(**process) for host, process in found["first"].items()},
        {layout.pair(text): rate for text, rate in found["rates"].items()},
        found["cores"],
        frozenset(map(layout.pair, found["cuts"])),
    )


def write_state(state: State) -> None:
    """Write it at once or not at all."""
    path = _file(state.layout)
    found = asdict(state) | {
        "rates": {"-".join(pair): rate for pair, rate in state.rates.items()},
        "cuts": ["-".join(pair) for pair in sorted(state.cuts)],
    }
    new = path.with_suffix(".json.new")
    new.write_text(json.dumps(found, indent=1))
    os.replace(new, path)


def _file(layout: Layout) -> Path:
    return layout.folder / "state.json"


def _layout(found: dict[str, Any]) -> Layout:
    hosts = tuple(HostSpec(**host) for host in found["hosts"])
    return Layout(found["name"], found["network"], hosts)
