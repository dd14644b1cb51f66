"""Tables that users bring: recordings of EdgeSplit's own sessions, or Scission's layer tables.

- A file that `edgesplit events --out FILE` wrote: graph and profile as they were calibrated.
- A JSON file {"graph": ..., "profile": ...}, both as core/plain_data writes them.
- A folder as Scission has it (qub-blesson/Scission, benchmark_data): scission.py says how it looks.
"""

import io
import json
from pathlib import Path

from edgesplit.core.control.event_file import FORMAT, read_lines
from edgesplit.core.graph import Graph
from edgesplit.core.plain_data import PlainDataError, plain_form
from edgesplit.core.profile import Profile
from edgesplit.errors import ConfigError, EdgeSplitError
from experiments.head_to_head.scission import read_scission
from experiments.head_to_head.table import JPEG, JPEG_BYTES, Table

_MOST_BYTES = 64 << 20


def read_tables(path: Path) -> list[Table]:
    """The tables there. Raises ConfigError for what is none."""
    if path.is_dir():
        return read_scission(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is over {_MOST_BYTES >> 20} MiB")
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read the tables {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text: {error}") from error
    return [_own_table(path, *_read(path, text))]


def _read(path: Path, text: str) -> tuple[Graph, Profile]:
    """Of a recording, or of the two values."""
    first = text.split("\n", 1)[0]
    try:
        if f'"{FORMAT}"' in first:
            start = read_lines(io.StringIO(text)).start
            return start.graph, start.profile
        data = json.loads(text)
        if not isinstance(data, dict) or set(data) != {"graph", "profile"}:
            raise ConfigError(
                f"{path}: expected a recording by `edgesplit events --out FILE`, or "
                '{"graph": ..., "profile": ...}'
            )
        return plain_form(Graph).decode(data["graph"]), plain_form(Profile).decode(data["profile"])
    except (ValueError, RecursionError, PlainDataError) as error:
        raise ConfigError(f"{path} is no table: {error}") from error
    except ConfigError:
        raise
    except EdgeSplitError as error:
        raise ConfigError(f"{path} is no table: {error}") from error


def _own_table(path: Path, graph: Graph, profile: Profile) -> Table:
    if len(profile.tiers) < 2:
        raise ConfigError(f"{path}: a table has two tiers or more, this one {profile.names}")
    profile.tiers[0]
    inputs = {"own input": graph.payload_bytes[0]}
    if graph.payload_bytes[0] > JPEG_BYTES:
        inputs[JPEG] = JPEG_BYTES
    shared = profile.names[1]
    return Table(graph.name, graph, profile, shared, f"read from {path.name}", inputs)
