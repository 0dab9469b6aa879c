"""`dragoman snapshot show` and `snapshot diff`: what Envoy gets, and what a change would do to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dragoman.cli import failure, options

if TYPE_CHECKING:
    from dragoman import config


@click.group("snapshot")
def command() -> None:
    """Show what Envoy gets, or what a change would do to it.

    \b
    Examples:
      dragoman snapshot show examples/01-hello
      dragoman snapshot diff before/ after/
    """


@command.command("show")
@options.paths(required=False)
@options.server()
@options.group()
@click.option(
    "-t",
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="CDS, EDS, ECDS, FCDS, SRDS, LDS, RDS or SDS. Repeatable.",
)
@click.option("-n", "--name", default="", metavar="NAME", help="Only the resource of this name.")
@options.output("table", "yaml", "json")
@options.settings_file()
def show(
    paths: tuple[str, ...],
    server: str,
    group: str,
    types: tuple[str, ...],
    name: str,
    output: str,
    settings_path: Path | None,
) -> None:
    """Print the resources of a node group; with `-o yaml` or `-o json` whole, decoded, secrets redacted.

    Without PATH the running control plane is asked.

    \b
    Examples:
      dragoman snapshot show examples/01-hello
      dragoman snapshot show examples/01-hello -t rds -o yaml
      dragoman snapshot show                     # what the running control plane serves
      dragoman snapshot show -g shop/edge -t cds -o json routes/
    """
    from dragoman.cli import client, render

    bodies = output != "table"
    if paths:
        found = _resources(paths, options.load_settings(settings_path), group, types, name, bodies)
    else:
        query = {"group": group, "type": types, "name": name, "body": "1" if bodies else ""}
        found = client.get(server, "snapshot", query)
    if name and not found:
        raise failure.Failure(
            f"no resource is named `{name}`", help="`dragoman snapshot show` lists all names"
        )
    if output == "table":
        rows = [
            (item["type"], item["name"], render.size(item["size"]), item["version"][:12], _refers(item))
            for item in found
        ]
        click.echo(render.table(("TYPE", "NAME", "SIZE", "VERSION", "REFERS TO"), rows))
    elif output == "json":
        render.data(found, "json")
    else:
        click.echo(render.yaml_documents(found), nl=False)


@command.command("diff")
@click.argument("paths", metavar="BEFORE AFTER...", nargs=-1, required=True)
@click.option(
    "--before", "more", multiple=True, metavar="PATH", help="More paths of the state before. Repeatable."
)
@click.option("--live", is_flag=True, help="BEFORE is left out: it is what the running control plane serves.")
@options.server()
@options.group()
@click.option(
    "--by",
    type=click.Choice(["resource", "behaviour"]),
    default="resource",
    show_default=True,
    help="resource: xDS resources and their fields. behaviour: which requests are answered differently.",
)
@click.option("--exit-code", "exit_code", is_flag=True, help="Exit with 1 when there are differences.")
@options.output("text", "json", "yaml")
@options.settings_file()
def diff(
    paths: tuple[str, ...],
    more: tuple[str, ...],
    live: bool,
    server: str,
    group: str,
    by: str,
    exit_code: bool,
    output: str,
    settings_path: Path | None,
) -> None:
    """Show what Envoy would get after a change, against before it.

    BEFORE and AFTER are files or folders; `-` is stdin.

    \b
    Examples:
      dragoman snapshot diff before/ after/
      dragoman snapshot diff --by behaviour before/ after/
      dragoman snapshot diff --live routes/           # against what runs now
      git worktree add /tmp/main main && dragoman snapshot diff --exit-code /tmp/main/routes routes/
    """
    from dragoman.cli import difference, render

    settings = options.load_settings(settings_path)
    old, new = ((), paths) if live else ((paths[0], *more), paths[1:])
    if not new:
        raise failure.Failure(
            "two states are needed",
            help="dragoman snapshot diff BEFORE AFTER\ndragoman snapshot diff --live AFTER",
        )
    if live and (more or by == "behaviour"):
        raise failure.Failure(
            "--live compares resources only, and takes the state before from the server",
            help="give BEFORE and AFTER instead",
        )
    if by == "behaviour":
        found = difference.behaviour(old, new, settings, group)
    else:
        before = client_snapshot(server, group) if live else _resources(old, settings, group, (), "", True)
        found = difference.resources(before, _resources(new, settings, group, (), "", True))
    if output == "text":
        click.echo(difference.text(found), nl=False)
    else:
        render.data(found, output)
    if exit_code and found:
        click.get_current_context().exit(1)


def client_snapshot(server: str, group: str) -> list[dict[str, Any]]:
    from dragoman.cli import client

    found: list[dict[str, Any]] = client.get(server, "snapshot", {"group": group, "body": "1"})
    return found


def _resources(
    paths: tuple[str, ...],
    settings: config.Settings,
    group: str,
    types: tuple[str, ...],
    name: str,
    bodies: bool,
) -> list[dict[str, Any]]:
    from dragoman.admin import api, views
    from dragoman.cli import workspace

    try:
        urls = api.types_of(list(types))
    except api.Refused as refused:
        raise failure.Failure(str(refused)) from None
    loaded = workspace.read(paths, settings, group)
    return views.resources(loaded.pipeline.snapshot(group), types=urls, name=name, bodies=bodies)


def _refers(item: dict[str, Any]) -> str:
    parts: list[str] = []
    for kind, names in item["refers"].items():
        parts.append(f"{kind} {names[0]}" if len(names) == 1 else f"{len(names)} {kind}")
    return ", ".join(parts)
