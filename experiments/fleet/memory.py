"""Memory of one tier that serves many sessions with the same model, each with its own key.

    python -m experiments.fleet.memory --out DIR [--model vgg16]

The tier is a process of its own, without Ray. Weights are mapped from the host's cache, once for
all; what each further session adds is what this shows.
"""

import gc
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import psutil
import torch

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.core.power import Power
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.export.model import export
from edgesplit.node.program.host_programs import FOLDER_VARIABLE, HostPrograms
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_session import TierSessionSettings
from edgesplit.node.tier.tier_sessions import TierSessions
from edgesplit.node.transport.security import new_credentials
from edgesplit.node.transport.tensor_form import Forms
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, write_rows

SESSIONS = (1, 2, 4, 8)
CHURN = 40  # sessions opened and closed again, one after another
_MB = 1e6
_POWER = Power(10.0, 5.0, 5.0, 1.0)
Kept = tuple[str, tuple[Forms, ...]]


def kept(model: str) -> Kept:
    """The model's program on this host's disk; its name, and its payloads' forms."""
    x = torch.rand(1, 3, 224, 224)
    program = export(load_model(model), (x,)).program
    described = DescribedProgram.of(pack(program))
    HostPrograms().mapped(described.description, described.packed.by_name)
    return described.name, payload_forms(program, [x])


def measured(program: Kept, sessions: tuple[int, ...], churn: int) -> list[dict[str, Any]]:
    """What this process holds, as a tier, with so many sessions; then with the last alone."""
    tier = TierSessions("edge", silent_s=1e6)  # nobody asks after them here
    tier.open_door("127.0.0.1", ())
    rows, names = [_row(0, "no session")], list[str]()
    try:
        for count in sessions:
            names += [_begun(tier, f"s{at}", program) for at in range(len(names), count)]
            rows.append(_row(count, "open"))
        for name in names[1:]:
            tier.end(name)
        rows.append(_row(1, "all but the first closed"))
        for at in range(churn):
            tier.end(_begun(tier, f"c{at}", program))
        rows.append(_row(1, f"{churn} more opened and closed"))
        tier.end(names[0])
        rows.append(_row(0, "all closed"))
    finally:
        tier.close()
    return rows


def _begun(tier: TierSessions, name: str, program: Kept) -> str:
    """A session that has run the whole model once."""
    stored, forms = program
    serve = ServeSettings("edge", credentials=new_credentials(name))
    tier.open(TierSessionSettings(serve, _POWER, "model", Imports()))
    tier.call(name, "load", "p", stored)
    tier.call(name, "describe", "w", "p", forms)
    tier.call(name, "prepare", "w", 0, len(forms) - 1)
    return name


def _row(sessions: int, what: str) -> dict[str, Any]:
    gc.collect()
    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "sessions": sessions,
        "moment": what,
        "pss_mb": round(memory.pss / _MB, 1),
        "private_mb": round(memory.uss / _MB, 1),
        "threads": process.num_threads(),
        "fds": process.num_fds(),
    }


@click.command()
@out_option
@click.option("--model", default="vgg16", show_default=True)
@click.option("--churn", type=click.IntRange(0), default=CHURN, show_default=True)
@plain_errors
def main(out: Path, model: str, churn: int) -> None:
    """Measure a tier's memory with 1 to 8 sessions; write summary.json and memory.csv."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        program = _alone(kept, model)
        rows = _alone(measured, program, SESSIONS, churn)
    write_rows(out, "memory", rows, {"emulated": False, "model": model, "churn": churn})
    print_rows(rows, f"A tier's process with sessions of {model}")


def _alone(function: Any, *args: Any) -> Any:
    """In a process of its own, which maps and holds nothing for others."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


if __name__ == "__main__":
    main()
