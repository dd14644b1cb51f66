"""`edgesplit testbed`: hosts on this machine, to try what otherwise needs real ones."""

import subprocess
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesplit.cli.options import Finite

if TYPE_CHECKING:
    from edgesplit.testbed.testbed import Testbed

_MOST_LINKS = 6  # shown one by one whatever they are: those of three hosts
_NARROWEST = 6  # columns of a host's name

_host = click.argument("host")
_pair = click.argument("pair")
_one_way = click.option(
    "--one-way", is_flag=True, help="Only from the first host of PAIR to the second."
)


@click.group(short_help="Make hosts on this machine, of namespaces.")
@click.option("--name", help="Name of the testbed. A second testbed needs its own --network too.")
@click.option("--network", help="First three numbers of the hosts' private addresses.")
@click.pass_context
def testbed(ctx: click.Context, name: str | None, network: str | None) -> None:
    """Make three hosts end, edge and cloud on this Linux machine, or others. Needs root.

    Each host has its own addresses, processes and SSH server. You can throttle and cut the links
    between them, and slow and kill the hosts. `up --ray` starts the shipped cluster.yaml on them.

    \b
    Example: edgesplit testbed up --ray
             edgesplit testbed exec end -- edgesplit plan vgg16
             edgesplit testbed shape edge-cloud 5Mbit/s
             edgesplit testbed down
    """
    from edgesplit.testbed.layout import Layout
    from edgesplit.testbed.testbed import Testbed

    ctx.obj = Testbed(Layout(name or Layout.name, network or Layout.network))


def _command(help_text: str, *decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A subcommand that takes the testbed first."""

    def decorate(function: Callable[..., None]) -> Any:
        command: Any = click.pass_obj(function)
        for decorator in reversed(decorators):
            command = decorator(command)
        return testbed.command(name=function.__name__.strip("_"), short_help=help_text)(command)

    return decorate


@_command(
    "Make the hosts.",
    click.option(
        "--hosts",
        help="Roles and how many hosts each has, such as end=3,edge=2,cloud=1, or a YAML file. "
        "Without it: end, edge and cloud.",
    ),
    click.option(
        "--ray", "with_ray", is_flag=True, help="Also run `ray up`, and wait for all nodes."
    ),
    click.option(
        "--cluster",
        default="cluster.yaml",
        show_default=True,
        type=click.Path(path_type=Path),
        help="A cluster.yaml; the testbed uses a copy with its own addresses, user and key.",
    ),
)
def up(bed: "Testbed", hosts: str | None, with_ray: bool, cluster: Path) -> None:
    """Make the hosts. Hosts that run already are left alone.

    A file gives each host its role, and may give it a share of cores, and links a rate:

    \b
        hosts:
          end-1: {role: end, cpus: 0.2}
          edge: {role: edge}
          cloud: {role: cloud}
        links:
          end-1-edge: 5Mbit/s

    \b
    Example: edgesplit testbed up --ray
             edgesplit testbed up --hosts end=3,edge=2,cloud=1 --ray
    """
    from edgesplit.testbed.blueprint import read_blueprint
    from edgesplit.testbed.ray_cluster import cluster_text, ray_up, write_cluster_files
    from edgesplit.testbed.system import require

    require()
    # What is missing or wrong in a file is told before anything is made.
    cluster_text(bed.layout, cluster)
    blueprint = read_blueprint(hosts, bed.layout.name) if hosts is not None else None
    bed.up(blueprint.hosts if blueprint else None)
    write_cluster_files(bed.layout, cluster)
    if with_ray:
        click.echo("ray up ...")
        ray_up(bed)
    if blueprint:  # set last: slow hosts may take longer to start than Ray allows
        blueprint.set_on(bed)
    _show(bed)
    names = bed.layout.names
    if with_ray:
        told = f"{len(names)} nodes have joined"
        click.echo(f"{told}; next: edgesplit testbed exec {names[0]} -- edgesplit status")
        return
    tmp = f"RAY_TMPDIR={bed.layout.folder}"
    click.echo(f"next: {tmp} ray up -y --no-config-cache {bed.layout.cluster_file}")


@_command("Remove the hosts.")
def down(bed: "Testbed") -> None:
    """Remove the hosts and everything else that the testbed made, also after a crash.

    \b
    Example: edgesplit testbed down
    """
    bed.down()


@_command("Show the hosts, their cores, and the rates of their links.")
def status(bed: "Testbed") -> None:
    """Show the hosts, their cores, and the rates of their links.

    \b
    Example: edgesplit testbed status
    """
    _show(bed)


@_command("Throttle a link, such as end-edge to 5Mbit/s.", _pair,
          click.argument("rate"), _one_way)  # fmt: skip
def shape(bed: "Testbed", pair: str, rate: str, one_way: bool) -> None:
    """Throttle the link PAIR, such as end-edge, to RATE, such as 40MB/s or 5Mbit/s.

    The rate `off` removes the limit.

    \b
    Example: edgesplit testbed shape edge-cloud 5Mbit/s
    """
    from edgesplit.testbed.rate import parse_rate

    bed.shape(_pairs(bed, pair, one_way), None if rate == "off" else parse_rate(rate))


@_command("Limit a host to a share of cores, such as 0.2.", _host, click.argument("cores"))
def slow(bed: "Testbed", host: str, cores: str) -> None:
    """Limit HOST to that many CORES, such as 0.2; `off` removes the limit.

    All processes of the host share them, Ray's own too.

    \b
    Example: edgesplit testbed slow end 0.2
    """
    bed.slow(host, None if cores == "off" else Finite(0, min_open=True).convert(cores, None, None))


@_command("Cut a link, or mend it.", _pair, _one_way,
          click.option("--mend", is_flag=True, help="Make the link work again."))  # fmt: skip
def cut(bed: "Testbed", pair: str, one_way: bool, mend: bool) -> None:
    """Cut the link PAIR, such as end-edge: packets are lost, as with a pulled cable.

    \b
    Example: edgesplit testbed cut edge-cloud
    """
    bed.cut(_pairs(bed, pair, one_way), not mend)


@_command("Kill a host like a power cut.", _host)
def kill(bed: "Testbed", host: str) -> None:
    """Kill HOST like a power cut: every process ends, and other hosts hear nothing.

    \b
    Example: edgesplit testbed kill edge
    """
    bed.kill(host)


@_command("Start a killed host again.", _host)
def start(bed: "Testbed", host: str) -> None:
    """Start a killed HOST again, with its address, links and cores. Ray is not started on it.

    \b
    Example: edgesplit testbed start edge
    """
    bed.start(host)


@testbed.command(name="exec", short_help="Run a command on a host.",
                 context_settings={"ignore_unknown_options": True})  # fmt: skip
@_host
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(ctx: click.Context, host: str, words: tuple[str, ...]) -> None:
    """Run the command WORDS on HOST, in this folder. Ends with that command's exit code.

    \b
    Example: edgesplit testbed exec end -- edgesplit status
    """
    ctx.exit(subprocess.call(ctx.obj.exec(host, list(words))))


def _pairs(bed: "Testbed", text: str, is_one_way: bool) -> list[tuple[str, str]]:
    source, target = bed.layout.pair(text)
    return [(source, target)] if is_one_way else [(source, target), (target, source)]


def _show(bed: "Testbed") -> None:
    from edgesplit.testbed.rate import rate_text

    hosts, state = bed.status(), bed.state()
    width = max(_NARROWEST, *(len(text) for host in hosts for text in (host.host, host.role)))
    for host in hosts:
        quota = f"{host.cores:g} cores" if host.cores is not None else "all cores"
        running = "runs" if host.is_running else "does not run"
        click.echo(
            f"{host.host:{width}} {host.role:{width}} {host.address:15} {running:13} {quota}"
        )
    links = list(permutations(state.layout.names, 2))
    is_short = len(links) <= _MOST_LINKS
    shown = [pair for pair in links if is_short or pair in state.rates or pair in state.cuts]
    for pair in shown:
        rate = rate_text(state.rates[pair]) if pair in state.rates else "unshaped"
        click.echo(f"{'-'.join(pair):{2 * width + 1}} {'cut' if pair in state.cuts else rate}")
    if len(shown) < len(links):
        click.echo(f"the other {len(links) - len(shown)} links: unshaped")
