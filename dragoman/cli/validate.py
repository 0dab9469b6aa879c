"""`dragoman validate`: what is wrong with resources, without a cluster or a running control plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dragoman.cli import failure, options

if TYPE_CHECKING:
    from dragoman.cli.workspace import Workspace
    from dragoman.diagnostics import Diagnostic, Report


@click.command("validate")
@options.paths()
@options.output(
    "text", "json", "yaml", "sarif", "github", help="yaml: the objects themselves, with their status."
)
@click.option(
    "--envoy", "ask_envoy", is_flag=True, help="Also ask the real Envoy binary (`--mode validate`)."
)
@click.option("--strict", is_flag=True, help="Warnings count as well: exit with 1.")
@options.group()
@options.settings_file()
def command(
    paths: tuple[str, ...], output: str, ask_envoy: bool, strict: bool, group: str, settings_path: Path | None
) -> None:
    """Say what is wrong with resources: every mistake at once, each with its place and a hint.

    PATH is a file, a folder (read recursively) or `-` for stdin. Exits with 0 when all is fine, 1 when there
    are errors (with --strict: or warnings), 2 when it could not be found out.

    \b
    Examples:
      dragoman validate examples/01-hello
      kubectl get gateways,httproutes,services -A -o yaml | dragoman validate -
      dragoman validate --envoy --strict routes/
      dragoman validate -o sarif routes/ > dragoman.sarif
      dragoman validate -o yaml routes/        # objects with status, as a cluster would show them
    """
    from dragoman.cli import workspace
    from dragoman.diagnostics import Report, Severity

    loaded = workspace.load(paths, options.load_settings(settings_path), group)
    report = Report(loaded.findings)
    if ask_envoy:
        report.extend(_envoy(loaded, group))
    _show(loaded, report, output)
    limit = Severity.WARNING if strict else Severity.ERROR
    if report.worst is not None and report.worst >= limit:
        click.get_current_context().exit(1)


def _show(loaded: Workspace, report: Report, output: str) -> None:
    from dragoman.cli import render

    locate = loaded.pipeline.locate
    match output:
        case "json":
            from dragoman.diagnostics import data

            render.data(data.report(report, locate), "json")
        case "sarif":
            from dragoman.diagnostics import sarif

            render.data(sarif.report(report, locate), "json")
        case "github":
            from dragoman.diagnostics import github

            click.echo(github.report(report, locate), nl=False)
        case "yaml":
            click.echo(render.yaml_documents(_objects(loaded)), nl=False)
            _text(report, loaded, to_stderr=True)
        case _:
            _text(report, loaded, to_stderr=False)
            summary, colour = _summary(loaded, report)
            click.secho(f"{render.count(len(loaded.documents), 'object')}: {summary}", err=True, fg=colour)


def _summary(loaded: Workspace, report: Report) -> tuple[str, str]:
    """What it comes to in a few words, and their colour."""
    from dragoman.cli import render
    from dragoman.diagnostics import Severity

    errors = sum(d.severity is Severity.ERROR for d in report)
    warnings = sum(d.severity is Severity.WARNING for d in report)
    if errors or warnings:
        counts = f"{render.count(errors, 'error')}, {render.count(warnings, 'warning')}"
        return counts, "red" if errors else "yellow"
    if not loaded.documents:
        return "nothing to check; folders are searched for .yaml, .yml and .json", "yellow"
    return "all fine", "green"


def _text(report: Report, loaded: Workspace, *, to_stderr: bool) -> None:
    from dragoman.diagnostics import text

    if report:
        click.echo(text.report(report, loaded.pipeline.locate, colour=True), nl=False, err=to_stderr)


def _objects(loaded: Workspace) -> list[dict[str, Any]]:
    """Every object that a translator read, as it was written but for its secrets, with its status as a
    cluster would show it."""
    from dragoman.sources import showing

    statuses = loaded.pipeline.statuses()
    out: list[dict[str, Any]] = []
    for ref, document in loaded.documents.items():
        body = showing.shown(document.body)
        if ref in statuses:
            body["status"] = dict(statuses[ref].body)
        out.append(body)
    return out


def _envoy(loaded: Workspace, group: str) -> list[Diagnostic]:
    """What the binary says of the snapshot."""
    from dragoman.envoy import validate

    try:
        return list(validate.snapshot(loaded.pipeline.snapshot(group)))
    except FileNotFoundError as error:
        raise failure.Failure(str(error), code="DRG5005") from None
