"""Faults while callers send: what became of every request, and when adaptation was back.

    python -m experiments.chaos --minutes N --seed S --out DIR [--scene testbed]

Every output is compared, bit for bit, with the whole model's.
"""

from pathlib import Path

import click

from edgesplit.errors import TestbedError
from edgesplit.testbed.testbed import Testbed
from experiments.chaos import embedded, fetching, shared, testbed
from experiments.chaos.matrix import matrix
from experiments.chaos.table import table_text
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, write_csv, write_json


@click.command()
@out_option
@click.option("--minutes", type=click.FloatRange(0.1), default=30.0, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the faults after the matrix.",
)
@click.option(
    "--policy", default=embedded.PLAN, show_default=True, help="As of EdgeSplit; embedded only."
)
@click.option(
    "--scene",
    type=click.Choice(("embedded", "testbed", "fetching", "shared")),
    default="embedded",
    show_default=True,
    help="testbed: three hosts on this machine; needs root, takes at least half an hour. "
    "fetching: there, while a program arrives, each row once. shared: three sessions in three "
    "programs on a node per tier of this machine, each row at least once.",
)
@plain_errors
def main(out: Path, minutes: float, seed: int, policy: str, scene: str) -> None:
    """Inflict faults under load; write summary.json, faults.csv and footprint.csv or faults.md."""
    if scene == "fetching":
        bed = Testbed()
        with testbed.cluster(bed) as hosts:
            rows = fetching.run(bed, hosts, seed, click.echo)
        write_csv(out / "faults.csv", rows)
        write_json(out / "summary.json", {"emulated": True, "seed": seed, "faults": rows})
        print_rows(rows, "While a program arrives (hosts and links emulated, bytes counted)")
        return
    if scene == "shared":
        found = shared.run(minutes * 60, seed, shared.faults(), click.echo)
        write_csv(out / "faults.csv", found["faults"])
        write_json(out / "summary.json", found)
        print_rows(found["faults"], "Faults while three sessions run (nothing emulated)")
        return
    if scene == "testbed":
        found = testbed.run(Testbed(), minutes * 60, seed, matrix(), click.echo)
        write_csv(out / "faults.csv", found["faults"])
        write_json(out / "summary.json", found)
        (out / "faults.md").write_text(table_text(found))
        if found["broken_off"]:
            raise TestbedError(f"the matrix was broken off: {found['broken_off']}")
        return
    found = embedded.run(minutes * 60, seed, policy, click.echo)
    write_csv(out / "faults.csv", found["faults"])
    write_csv(out / "footprint.csv", found.pop("footprint"))
    write_json(out / "summary.json", found)
    print_rows(found["faults"], "Faults (embedded cluster; links and slow tiers emulated)")
    print_rows(found["growth"], "Growth a minute in the later half, with its standard error u")
    told = {key: value for key, value in found.items() if not isinstance(value, list)}
    click.echo(", ".join(f"{key} {value}" for key, value in told.items()))


if __name__ == "__main__":
    main()
