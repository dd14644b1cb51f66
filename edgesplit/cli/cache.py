"""`edgesplit cache`: the programs that this host keeps on disk."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgesplit.node.program.kept_programs import StoredProgram


@click.group(short_help="The models that this host keeps on disk.")
def cache() -> None:
    """List, check or clear the models that EdgeSplit keeps on this host.

    They lie in $EDGESPLIT_CACHE, by default in ~/.cache/edgesplit, up to $EDGESPLIT_CACHE_BYTES
    (20 GB) and half of the free disk. Those used longest ago are given up first.

    \b
    Example: edgesplit cache list
    """


@cache.command("list", short_help="What is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (bytes, seconds).")
def list_programs(as_json: bool) -> None:
    """Programs with their size and last use, the one used last first.

    \b
    Example: edgesplit cache list --json
    """
    from edgesplit.node.program.host_programs import cache_folder, store_here

    kept = store_here().kept
    entries, n_bytes = kept.entries(), kept.n_bytes
    if as_json:
        told: dict[str, Any] = {"folder": str(cache_folder()), "n_bytes": n_bytes}
        click.echo(json.dumps(told | {"programs": [asdict(one) for one in entries]}, indent=1))
        return
    for one in entries:
        click.echo(_line(one))
    shared = ", weights that programs share counted once" if len(entries) > 1 else ""
    count = "1 program" if len(entries) == 1 else f"{len(entries)} programs"
    click.echo(f"{count}, {n_bytes / 1e6:.1f} MB in {cache_folder()}{shared}")


@cache.command(short_help="Read all and drop what is damaged.")
def verify() -> None:
    """Compare all files with their names, which are their hashes; drop those that are damaged.

    Ends with exit code 1 where something was. It is fetched again when it is needed.

    \b
    Example: edgesplit cache verify
    """
    from edgesplit.node.program.host_programs import store_here

    kept = store_here().kept
    count, wrong = len(kept.entries()), kept.verify()
    for text in wrong:
        click.echo(f"dropped: {text}", err=True)
    click.echo(f"{count - len(wrong)} of {count} programs are as they should be")
    click.get_current_context().exit(1 if wrong else 0)


@cache.command(short_help="Remove what no process uses.")
def clear() -> None:
    """Remove all programs but those that a running process uses, and what was measured here.

    \b
    Example: edgesplit cache clear
    """
    from edgesplit.node.program.host_programs import cache_folder, store_here

    kept = store_here().kept
    before = kept.n_bytes
    in_use = kept.clear() if cache_folder().is_dir() else []
    click.echo(f"removed {(before - kept.n_bytes) / 1e6:.1f} MB from {cache_folder()}")
    if in_use:
        click.echo(f"in use, and kept: {', '.join(in_use)}")


def _line(one: "StoredProgram") -> str:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used_s))
    now = ", in use now" if one.is_used else ""
    return f"{one.name}  {one.n_bytes / 1e6:9.1f} MB  used {used}{now}"
