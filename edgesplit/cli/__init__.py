"""The command line, the only user of click. Commands import torch and Ray when they need them.

Exit codes: 0 done, 1 a mistake or something missing, 2 wrong usage, 130 interrupted.
"""

import io
import os
import sys
import warnings
from typing import Any

import click

from edgesplit import __version__
from edgesplit.cli.cache import cache
from edgesplit.cli.calibrate import calibrate
from edgesplit.cli.events import events, replay
from edgesplit.cli.host import doctor
from edgesplit.cli.meters import meters
from edgesplit.cli.node import node
from edgesplit.cli.regret import show_regret
from edgesplit.cli.status import status
from edgesplit.cli.testbed import testbed
from edgesplit.cli.workload import demo, plan, run
from edgesplit.errors import EdgeSplitError
from edgesplit.extras import needs_full

INTERRUPTED = 130


class _Mistake(click.ClickException):
    """A user's mistake: shown as one paragraph on stderr, exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"edgesplit: {self.message}", err=True)


class _Group(click.Group):
    """Turns the project's errors, warnings and Ctrl-C into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                with needs_full("this command"):
                    return super().invoke(ctx)
            except EdgeSplitError as error:
                raise _Mistake(str(error)) from error
            except KeyboardInterrupt:
                click.echo("edgesplit: interrupted", err=True)
                ctx.exit(INTERRUPTED)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"edgesplit: note: {message}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgesplit")
def main() -> None:
    """Run one PyTorch model across several unequal machines, cut where it costs least.

    Without a cluster, this machine emulates all tiers. Begin with `edgesplit doctor`, which says
    what is missing, then `edgesplit demo`.

    \b
    Example: edgesplit plan mobilenet_v2
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name need not fit the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    sys.path.insert(0, os.getcwd())  # so that MODEL may be a module of the caller's project


_COMMANDS = (
    demo,
    plan,
    run,
    doctor,
    meters,
    calibrate,
    testbed,
    node,
    status,
    events,
    replay,
    show_regret,
    cache,
)
for _command in _COMMANDS:
    main.add_command(_command)
