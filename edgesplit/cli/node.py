"""Commands that make this host a node of a cluster."""

import ipaddress
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesplit.errors import ConfigError

if TYPE_CHECKING:
    from edgesplit.deploy.node_env import NodeEnv

END_STORE_MIB = 75  # Ray's minimum. What is larger goes through a file, slower, and fits too.
STORE_MIB = 1024  # VGG-16's weights, 0.55 GB, in memory


@click.group(short_help="Make this host a node of a cluster.")
def node() -> None:
    """Make this host a node of a cluster.

    \b
    Example: edgesplit node init --tier cloud --head
    """


@node.command(short_help="Write this host's node file, token and systemd unit.")
@click.option("--tier", required=True, help="The tier of this host, such as end, edge or cloud.")
@click.option(
    "--name",
    help="The node's name, such as edge-2 where two hosts play edge. Without it: the tier's.",
)
@click.option("--head-ip", metavar="ADDRESS", help="The head's IPv4 address.")
@click.option("--head", "is_head", is_flag=True, help="This host is the head.")
@click.option(
    "--node-ip",
    metavar="ADDRESS",
    help="This host's IPv4 address. Without it: the one from which it reaches the head.",
)
@click.option("--cpus", type=click.IntRange(1), help="Cores for EdgeSplit. Without it: all.")
@click.option(
    "--object-store-mb",
    type=click.IntRange(END_STORE_MIB),
    help=f"MiB of Ray's object store. Without it: {END_STORE_MIB} for tier end, {STORE_MIB} for "
    "other tiers.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the head's token.",
)
@click.option(
    "--folder",
    default="/etc/edgesplit",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the node file and the token.",
)
@click.option(
    "--ray-folder",
    type=click.Path(path_type=Path),
    help="Private folder for Ray's files. Without it: /var/lib/edgesplit, or `ray` in --folder.",
)
@click.option("--systemd", "is_service", is_flag=True, help="Also install a systemd unit.")
@click.option("--force", is_flag=True, help="Replace a node file that differs.")
def init(**options: Any) -> None:
    """Write this host's node file and token, and with --systemd a unit that starts Ray.

    Begin on the head, with --head. Then copy its token to the other hosts and run this there with
    --head-ip and --token-file. An existing token is kept.

    \b
    Example: edgesplit node init --tier end --head-ip 192.168.1.30
             edgesplit node init --tier edge --name edge-2 --head-ip 192.168.1.30
    """
    from edgesplit.deploy.node_files import (
        SYSTEMD,
        install_unit,
        make_ray_folder,
        read_token,
        write_node_files,
    )

    folder = options["folder"].absolute()
    env = _node_env(options, folder)
    if not options["force"]:
        _refuse_other(env, folder / "node.env")
    token = read_token(options["token_file"]) if options["token_file"] else None
    for path in write_node_files(env, folder, token):
        click.echo(f"wrote {path}")
    click.echo(f"made {make_ray_folder(env)} for Ray's user only")
    head = "the head" if env.is_head else f"head {env.head_ip}"
    click.echo(
        f"{env.title} at {env.node_ip}, {head}, {env.cpus} CPUs, object store "
        f"{env.object_store_bytes >> 20} MiB"
    )
    if options["is_service"]:
        click.echo(f"wrote {install_unit(folder, SYSTEMD)}")
    _show_next(env, options["token_file"] is not None, options["is_service"])


def _node_env(options: Mapping[str, Any], folder: Path) -> "NodeEnv":
    from edgesplit.deploy.address import source_address
    from edgesplit.deploy.node_env import NodeEnv, check_value

    if options["name"] is not None:
        check_value("ES_NODE", options["name"])
    head_ip = options["head_ip"]
    if options["is_head"] == (head_ip is not None):
        raise click.UsageError("give either --head-ip ADDRESS, or --head if this host is the head")
    node_ip = options["node_ip"] or source_address(head_ip)
    store_mib = END_STORE_MIB if options["tier"] == "end" else STORE_MIB
    env = NodeEnv(
        tier=options["tier"],
        node_ip=node_ip,
        head_ip=head_ip or node_ip,
        cpus=options["cpus"] or os.cpu_count() or 1,
        object_store_bytes=(options["object_store_mb"] or store_mib) << 20,
        bin_dir=str(Path(sys.executable).parent),
        token_file=str(folder / "token"),
        ray_folder=str(_ray_folder(options["ray_folder"], folder)),
        name=options["name"] or "",
    )
    if ipaddress.ip_address(env.node_ip).is_loopback:
        raise ConfigError(
            f"{env.node_ip} is this host's loopback address, which no other host reaches; give "
            "its address in their network with --node-ip"
        )
    return env


def _ray_folder(given: Path | None, folder: Path) -> Path:
    from edgesplit.deploy.node_env import NODE_FILE, RAY_FOLDER

    if given is not None:
        return given.absolute()
    return RAY_FOLDER if folder == NODE_FILE.parent else folder / "ray"


def _refuse_other(env: "NodeEnv", path: Path) -> None:
    """Raise ConfigError where a node file with other values is there."""
    try:
        before = _settings(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({error}); --force replaces it") from error
    now = _settings(env.text())
    if before != now:
        raise ConfigError(
            f"{path} exists and differs: it has {_only(before, now)}, the new one "
            f"{_only(now, before)}; --force replaces it"
        )


def _settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _only(these: list[str], those: list[str]) -> str:
    return ", ".join(line for line in these if line not in those) or "nothing"


def _show_next(env: "NodeEnv", has_token: bool, is_service: bool) -> None:
    """The commands that follow. has_token: the caller said which token it is."""
    again = (
        f"sudo $(which edgesplit) node init --head-ip {env.head_ip} --token-file edgesplit-token"
    )
    token_file = shlex.quote(env.token_file)
    if env.is_head:
        click.echo("next: give every other host this token, and its own files there:")
        click.echo(f"  scp {token_file} USER@HOST:edgesplit-token\n  {again} --tier TIER")
    elif not has_token:
        click.echo("next: this host needs the head's token; unless it has it already:")
        click.echo(f"  scp {env.head_ip}:{token_file} edgesplit-token")
        name = f" --name {env.name}" if env.name != env.tier else ""
        click.echo(f"  {again} --tier {env.tier}{name}")
    if is_service:
        click.echo("then start Ray here:\n  sudo systemctl daemon-reload")
        click.echo("  sudo systemctl enable --now edgesplit-node")
    else:
        click.echo("then, where cluster.yaml is: ray up cluster.yaml")
