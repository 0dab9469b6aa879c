"""`dragoman status`: which proxy has what, and how every object fares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from dragoman.cli import failure, options

Data = Mapping[str, Any]

_COLOURS: Final = {
    "SYNCED": "green",
    "STALE": "yellow",
    "NACK": "red",
    "NOT_SENT": "yellow",
    "-": "bright_black",
}
_TYPES: Final = ("CDS", "EDS", "ECDS", "FCDS", "SRDS", "LDS", "RDS", "SDS")
_RARE: Final = "FCDS"
"""What Envoys ask for only with `gateways.discovered_chains`; else there is no column for it."""


@click.command("status")
@options.paths(required=False)
@click.option("-w", "--watch", is_flag=True, help="Keep showing it, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Seconds between looks with -w.",
)
@options.server()
@options.group()
@options.output("text", "json", "yaml")
@options.settings_file()
def command(
    paths: tuple[str, ...],
    watch: bool,
    interval: float,
    server: str,
    group: str,
    output: str,
    settings_path: Path | None,
) -> None:
    """Show proxies (per type SYNCED, STALE or NACK, and for how long) and objects with their conditions.

    The running control plane is asked. With PATH, only the objects are shown, as these files would have them.
    Exits with 1 when a proxy refuses something or an object has an error.

    \b
    Examples:
      dragoman status
      dragoman status -w
      dragoman status -o json | jq '.proxies[] | select(.types[].state == "NACK")'
      dragoman status routes/                  # without a control plane
    """
    from dragoman.cli import client, render

    if watch and (paths or output != "text"):
        raise failure.Failure(
            "-w shows what a running control plane does, as text",
            help="leave out -w, or the paths and -o",
        )
    if watch:
        _watch(server, interval)
        return
    found = _offline(paths, settings_path, group) if paths else client.get(server, "status")
    if output == "text":
        click.echo(text(found))
    else:
        render.data(found, output)
    if _bad(found):
        click.get_current_context().exit(1)


def text(found: Data) -> str:
    """The whole page."""
    from dragoman.cli import render

    parts: list[str] = []
    if "proxies" in found:
        state = (
            click.style("ready", fg="green") if found["ready"] else click.style(found["reason"], fg="yellow")
        )
        parts.append(f"dragoman {found['version']}, {state}, up {render.age(found['uptime'])}")
        parts.append(_proxies(found["proxies"]))
    parts.append(_objects(found["objects"]))
    findings = [d for d in found["diagnostics"] if d["severity"] != "info"]
    if findings:
        parts.append("\n".join(render.finding(item) for item in findings))
    return "\n\n".join(parts)


def _proxies(proxies: Sequence[Data]) -> str:
    from dragoman.cli import render

    if not proxies:
        return "no proxy is connected (`dragoman bootstrap` prints what one starts with)"
    rows: list[list[str]] = []
    notes: list[str] = []
    asked = any(_RARE in proxy["types"] for proxy in proxies)
    types = [name for name in _TYPES if name != _RARE or asked]
    for proxy in proxies:
        cells = [_cell(proxy["types"].get(name)) for name in types]
        rows.append([proxy["node"], proxy["group"], *cells, render.age(proxy["connected"])])
        for name, state in proxy["types"].items():
            if state["state"] == "NACK":
                notes.append(click.style(f"{proxy['node']} refuses {name}: {state['detail']}", fg="red"))
            elif "detail" in state:
                notes.append(click.style(f"{proxy['node']} waits for {name}: {state['detail']}", fg="yellow"))
    return "\n".join([render.table(("PROXY", "GROUP", *types, "CONNECTED"), rows), *notes])


def _cell(state: Data | None) -> str:
    """`SYNCED 12s`: state, and how long it has been so."""
    from dragoman.cli import render

    if state is None:
        return click.style("-", fg=_COLOURS["-"])
    shown = click.style(state["state"], fg=_COLOURS.get(state["state"]))
    return shown if state["age"] is None else f"{shown} {render.age(state['age'])}"


def _objects(objects: Sequence[Data]) -> str:
    from dragoman.admin import views
    from dragoman.cli import render

    rows: list[tuple[str, str, str]] = []
    for item in objects:
        place = f"{item['namespace']}/{item['name']}" if item["namespace"] else item["name"]
        shown = [_condition(good, words) for good, words in views.verdicts(item.get("status", {}))]
        rows.append((item["kind"], place, ", ".join(shown) or click.style("-", fg=_COLOURS["-"])))
    return render.table(("KIND", "NAME", "CONDITIONS"), rows) if rows else "no objects"


def _condition(good: bool, words: str) -> str:
    return words if good else click.style(words, fg="red")


def _offline(paths: tuple[str, ...], settings_path: Path | None, group: str) -> Data:
    from dragoman.admin import views
    from dragoman.cli import workspace

    loaded = workspace.load(paths, options.load_settings(settings_path), group)
    return {
        "objects": views.objects(loaded.pipeline.objects, loaded.pipeline.statuses()),
        "diagnostics": views.diagnostics(loaded.findings, loaded.pipeline.locate),
    }


def _bad(found: Data) -> bool:
    refused = any(t["state"] == "NACK" for proxy in found.get("proxies", ()) for t in proxy["types"].values())
    return refused or any(item["severity"] == "error" for item in found["diagnostics"])


def _watch(server: str, interval: float) -> None:
    """Redraws in place on a terminal; elsewhere pages follow one another. A control plane that is away is
    waited for.
    """
    import time

    from rich import console, live, text as rich_text

    from dragoman import garbage
    from dragoman.cli import client

    def page() -> str:
        try:
            return text(client.get(server, "status"))
        except failure.Failure as error:
            return click.style(f"{error.message} (waiting)", fg="yellow")

    garbage.begin()
    try:
        screen = console.Console()
        if not screen.is_terminal:
            while True:
                click.echo(f"{page()}\n")
                time.sleep(interval)
        with live.Live(console=screen, auto_refresh=False, vertical_overflow="ellipsis") as shown:
            while True:
                lines = rich_text.Text.from_ansi(page(), no_wrap=True, overflow="ellipsis")
                shown.update(lines, refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return
