"""Scission's layer tables (arXiv 2008.03523; qub-blesson/Scission, benchmark_data), read safely.

A folder of `TYPE-NAME.dat`, TYPE one of device, edge and cloud, and network_stats.csv. A .dat file
is a pickle of {model: [one object of the class LayerBenchmark per block of layers, in order]}; the
fields that count are input_layer and output_layer (numbers of Keras's layers, both included),
second_prediction (seconds of one run) and output_size (bytes of the block's output as a .npy file).
network_stats.csv has a header and rows of source, destination, ping(ms), bandwidth(mbps): one way,
1 mbps is 125,000 bytes/s. The input is a picture of 150 KB; the answer's way back is free there,
here it takes a ping and its bytes.

Pickles can run code. Nothing but that one class, as a record, is ever made of these.
"""

import csv
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

from edgesplit.config import Config
from edgesplit.core.given import is_finite
from edgesplit.core.graph import Graph
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import ConfigError
from experiments.head_to_head.table import JPEG_BYTES, Table

STATS = "network_stats.csv"
MBPS_BYTES = 125_000
ROLES = {"device": "end", "edge": "edge", "cloud": "cloud"}
_MOST_BYTES = 16 << 20
_FIELDS = ("input_layer", "output_layer", "second_prediction", "output_size")


class LayerBenchmark:
    """What a pickle may hold; its fields are checked later."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """That class alone."""
        if (module, name) == ("__main__", LayerBenchmark.__name__):
            return LayerBenchmark
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


Measured = dict[str, list[tuple[str, float, int]]]  # by model: layers, seconds, bytes behind them


def read_scission(folder: Path) -> list[Table]:
    """A table per model and choice of a device, an edge and a cloud that are all linked.

    Raises ConfigError, with the file, for what is none.
    """
    by_role: dict[str, dict[str, Measured]] = {role: {} for role in ROLES}
    for path in sorted(folder.glob("*-*.dat")):
        role, _, name = path.stem.partition("-")
        if role.lower() not in ROLES:
            raise ConfigError(f"{path}: its name begins with one of {', '.join(ROLES)}")
        by_role[role.lower()][name] = _measured(path)
    missing = [role for role, found in by_role.items() if not found]
    if missing:
        raise ConfigError(f"{folder}: no file {missing[0]}-NAME.dat")
    stats = _stats(folder / STATS)
    tables = list[Table]()
    for names in itertools.product(*(by_role[role] for role in ROLES)):
        measured = [by_role[role][name] for role, name in zip(ROLES, names, strict=True)]
        links = _links(names, stats)
        if links is not None:
            tables += [
                _table(model, names, [one[model] for one in measured], links)
                for model in measured[0]
                if all(model in one for one in measured)
            ]
    if not tables:
        raise ConfigError(f"{folder}: no model that a device, an edge and a cloud all have")
    return tables


def _measured(path: Path) -> Measured:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is over {_MOST_BYTES >> 20} MiB")
        data = _Unpickler(io.BytesIO(path.read_bytes())).load()
        return {str(model): [_block(one) for one in blocks] for model, blocks in data.items()}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ConfigError:
        raise
    except Exception as error:  # whatever a damaged or hostile pickle makes Python raise
        raise ConfigError(f"{path} is no table of Scission: {error!r:.200}") from error


def _block(one: Any) -> tuple[str, float, int]:
    first, last, seconds, size = (getattr(one, name) for name in _FIELDS)
    if not all(is_finite(value) and value >= 0 for value in (first, last, seconds, size)):
        raise ValueError(f"layers {first} to {last}: {seconds} s, {size} bytes")
    return f"layers {first}-{last}", float(seconds), int(size)


def _stats(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """By source and destination: seconds until the first byte, bytes per second."""
    try:
        rows = list(csv.reader(path.read_text().splitlines()))[1:]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    found = {}
    for number, row in enumerate(rows, 2):
        try:
            source, target, ping_ms, mbps = (cell.strip() for cell in row)
            found[source, target] = float(ping_ms) / 1e3, float(mbps) * MBPS_BYTES
        except ValueError as error:
            raise ConfigError(
                f"{path}, line {number}: expected source,destination,ping(ms),bandwidth(mbps), "
                f"found {','.join(row)!r:.80}"
            ) from error
    return found


def _links(
    names: tuple[str, ...], stats: dict[tuple[str, str], tuple[float, float]]
) -> tuple[Link, ...] | None:
    """Those between the three, each both ways; None where the device or the edge has none."""
    pairs = list(itertools.combinations(range(3), 2))
    known = {pair: stats.get((names[pair[0]], names[pair[1]])) for pair in pairs}
    if known[0, 1] is None or known[1, 2] is None:
        return None
    roles, links = list(ROLES.values()), list[Link]()
    for (a, b), figures in known.items():
        if figures is not None:
            ways = ((roles[a], roles[b]), (roles[b], roles[a]))
            links += [Link(*way, *figures, "Scission") for way in ways]
    return tuple(links)


def _table(
    model: str,
    names: tuple[str, ...],
    measured: list[list[tuple[str, float, int]]],
    links: tuple[Link, ...],
) -> Table:
    layers = tuple(layer for layer, _, _ in measured[0])
    if any(tuple(layer for layer, _, _ in one) != layers for one in measured):
        raise ConfigError(f"{model} has other blocks on {', '.join(names)}")
    sizes = (JPEG_BYTES, *(size for _, _, size in measured[0]))
    watts = Config().power()
    tiers = tuple(
        Tier(role, tuple(seconds for _, seconds, _ in one), watts[role], provenance=name)
        for role, name, one in zip(ROLES.values(), names, measured, strict=True)
    )
    graph = Graph(model, layers, sizes, (0,) * len(layers))
    label = f"{model} on {', '.join(names)}"
    return Table(label, graph, Profile(tiers, links), ROLES["edge"], "Scission's tables")
