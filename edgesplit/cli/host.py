"""`edgesplit doctor`: says what is missing on this host."""

import json

import click


@click.command(short_help="Say what is missing on this host.")
@click.option("--deep", is_flag=True, help="Also start a local Ray, which takes some seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def doctor(ctx: click.Context, deep: bool, as_json: bool) -> None:
    """Say what is missing on this host and how to mend it.

    Ends with exit code 1 if something is missing that EdgeSplit cannot run without.

    \b
    Example: edgesplit doctor --deep
    """
    from edgesplit.cli.doctor import examine

    checks = []
    for check in examine(deep):
        checks.append(check)
        if not as_json:
            click.echo(f"{check.mark:8} {check.name}: {check.found}")
            if not check.is_ok:
                click.echo(f"{'':8} to mend it: {check.remedy}")
    is_well = all(check.is_ok or not check.is_needed for check in checks)
    if as_json:
        rows = [check.as_dict() for check in checks]
        click.echo(json.dumps({"is_well": is_well, "checks": rows}, indent=1))
    ctx.exit(0 if is_well else 1)
