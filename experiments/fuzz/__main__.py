"""Spoilt frames against a live tier that serves good requests meanwhile.

    python -m experiments.fuzz --frames 100000 --seed S --out DIR

Measured: whether good requests are answered right, and the tier's memory, threads and descriptors.
"""

from pathlib import Path
from statistics import quantiles

import click

from experiments.fuzz.trial import fuzz
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, progress, write_rows


@click.command()
@out_option
@click.option("--frames", type=click.IntRange(100), default=100_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(out: Path, frames: int, seed: int) -> None:
    """Send spoilt frames; write summary.json and fuzz.csv (the tier's resources over time)."""
    with progress("fuzz", frames) as advance:
        found, rows = fuzz(frames, seed, advance)
    shares = quantiles(found.good_s, n=100)
    summary = {
        "frames": frames,
        "seed": seed,
        "ways": dict(found.ways),
        "spoilt": dict(found.spoilt),
        "good_requests": len(found.good_s),
        "good_median_s": shares[49],
        "good_p99_s": shares[98],
        "good_slowest_s": max(found.good_s),
        "wrong": found.wrong,
    }
    write_rows(out, "fuzz", rows, summary)
    print_rows([rows[0], max(rows, key=lambda row: row["rss_bytes"]), rows[-1]], "The tier")
    click.echo(
        f"{frames} spoilt frames {dict(found.ways)}; {len(found.good_s)} good requests, all "
        f"answered right: {not found.wrong}; median {shares[49] * 1e3:.1f} ms, "
        f"99 % within {shares[98] * 1e3:.1f} ms, slowest {max(found.good_s) * 1e3:.0f} ms"
    )
    for line in found.wrong[:20]:
        click.echo(f"wrong: {line}")


if __name__ == "__main__":
    main()
