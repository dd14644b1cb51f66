"""--scene testbed: the fleet on hosts of namespaces; writes requests, floods, summary, picture."""

from pathlib import Path
from typing import Any

from edgesplit.testbed.blueprint import read_blueprint
from experiments.fleet.bed import NAME, fleet_bed, told
from experiments.fleet.testbed_picture import draw_testbed
from experiments.fleet.turns import FULL, QUICK, FleetTurns, floods_of, play, sides, verdicts
from experiments.shared.report import console, print_rows, progress, write_csv, write_json


def run_on_testbed(out: Path, hosts: Path, load: float, quick: bool) -> None:
    """Bring the testbed up, let the devices send, and say what came of it."""
    length, terminal = QUICK if quick else FULL, console()
    conditions = told(read_blueprint(str(hosts), NAME))
    terminal.print(f"{conditions}. Bringing up hosts, Ray and devices ...")
    with fleet_bed(hosts) as (devices, found):
        for device, one in zip(devices, found, strict=True):
            terminal.print(f"{device.host}, {device.model}, alone: {one['explained']}\n")
        with progress("turns", length.turns) as step:
            played = play(devices, found, length, load, step)
        names = {device.host: device.model for device in devices}
    _write(out, played, _summary(played, found, names, conditions) | {"load": load})


def _summary(
    played: FleetTurns, found: list[dict[str, Any]], names: dict[str, str], conditions: str
) -> dict[str, Any]:
    approaches, floods = sides(played.requests), floods_of(played.floods)
    return {
        "conditions": f"{conditions}; seconds are measured, joules modelled",
        "devices": [
            {"host": host, "model": model, "rate_per_s": rate_per_s, "alone": one["best"]}
            | {"whole_s": one["whole_s"], "score_reference": one["reference"]}
            for (host, model), rate_per_s, one in zip(
                names.items(), played.rates_per_s, found, strict=True
            )
        ],
        "favourite_edge": played.edge,
        "approaches": approaches,
        "floods": floods,
        "switches": played.switches,
        "verdicts": [
            {"what": what, "reached": is_reached}
            for what, is_reached in verdicts(approaches, floods)
        ],
    }


def _write(out: Path, played: FleetTurns, summary: dict[str, Any]) -> None:
    for name, rows in (("requests", played.requests), ("floods", played.floods)):
        write_csv(out / f"{name}.csv", [_flat(row) for row in rows])
    write_json(out / "summary.json", summary)
    draw_testbed(out / "fleet_testbed.png", played, summary)
    hidden = ("computed", "plans")
    shown = [
        {key: value for key, value in row.items() if key not in hidden}
        for row in summary["approaches"]
    ]
    print_rows(shown, "latencies since a request was due (measured); score of modelled joules")
    terminal = console()
    for row in summary["approaches"]:
        terminal.print(f"{row['approach']}: {row['computed']}\n  {row['plans']}")
    for verdict in summary["verdicts"]:
        word = "reached" if verdict["reached"] else "MISSED"
        terminal.print(f"{word}: {verdict['what']}")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """The row for a file: computed seconds as text."""
    computed = " ".join(f"{tier}={s:.4f}" for tier, s in row["compute_s"].items())
    return row | {"compute_s": computed}
