"""`dragoman explain`: what became of an object, or what happens to a request, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from dragoman.cli import failure, options

Data = Mapping[str, Any]

_METHOD: Final = re.compile(r"[A-Z]+\Z")


@click.command("explain", context_settings={"ignore_unknown_options": False})
@click.argument("what", metavar="WHAT... [PATH...]", nargs=-1, required=True)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header. Repeatable."
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the request's token says; it counts as good then. Repeatable.",
)
@options.files()
@click.option(
    "--expect",
    "expectations",
    multiple=True,
    metavar="KEY=VALUE",
    help="Exit with 1 unless it is so: cluster=, route=, status=, path=, host=, location=, listener=,"
    " domain=, outcome=. Repeatable.",
)
@options.server()
@options.group()
@options.output("text", "json", "yaml")
@options.settings_file()
def command(
    what: tuple[str, ...],
    headers: tuple[str, ...],
    claims: tuple[str, ...],
    files: tuple[str, ...],
    expectations: tuple[str, ...],
    server: str,
    group: str,
    output: str,
    settings_path: Path | None,
) -> None:
    """Explain an object, or what happens to a request.

    WHAT is an object (`httproute/shop/cart`) or a request (`GET http://shop.example/cart`). With PATH or -f
    the answer comes from these files, else from the running control plane. A request is matched as Envoy
    would: every candidate with why it lost, the winner, the path and host as rewritten, filters, clusters and
    weights.

    \b
    Examples:
      dragoman explain httproute/shop/cart routes/
      dragoman explain GET http://shop.example/cart -H 'x-env: canary' -f routes/
      dragoman explain GET http://shop.example/cart            # asks the running control plane
      dragoman explain GET http://shop.example/old -f routes/ --expect status=301
      dragoman explain GET http://shop.example/cart -f routes/ --claim tier=gold --claim scope=cart:read
      dragoman explain GET http://shop.example/ -f routes/ --expect cluster=Service/shop/web/8080
    """
    from dragoman.cli import render

    request, rest = _parse(what)
    paths = (*rest, *files)
    if request is None and (headers or claims or expectations):
        raise failure.Failure(
            "-H, --claim and --expect go with a request", help="dragoman explain GET http://shop.example/ ..."
        )
    found: Data
    if request is None:
        found = _object(what[0], paths, server, group, settings_path)
    else:
        found = _request(request, headers, claims, paths, server, group, settings_path)
    if output != "text":
        render.data(found, output)
    else:
        click.echo(object_text(found) if request is None else request_text(found))
    if expectations:
        _check(found, expectations)


def _check(found: Data, expectations: Sequence[str]) -> None:
    """Exits with 1 when something else was expected."""
    from dragoman import explain

    try:
        wrong = explain.unmet(found, expectations)
    except ValueError as error:
        raise failure.Failure(str(error)) from None
    for line in wrong:
        click.secho(line, fg="red", err=True)
    if wrong:
        click.get_current_context().exit(1)


def _request(
    request: tuple[str, str],
    headers: tuple[str, ...],
    claims: tuple[str, ...],
    paths: tuple[str, ...],
    server: str,
    group: str,
    settings_path: Path | None,
) -> Data:
    from dragoman.cli import client, workspace

    method, url = request
    if not paths:
        asked = {"method": method, "url": url, "header": headers, "claim": claims, "group": group}
        answer: Data = client.get(server, "explain", asked)
        return answer
    from dragoman.admin import views

    loaded = workspace.read(paths, options.load_settings(settings_path), group)
    try:
        return views.explain_request(loaded.pipeline, group, method, url, headers, claims)
    except ValueError as error:
        raise failure.Failure(str(error)) from None


def request_text(found: Data) -> str:
    """A request's way, with the winner and the outcome in colour."""
    from dragoman import explain

    lines = list(explain.lines(found))
    shown = [click.style(lines[0], bold=True)]
    for line in lines[1:]:
        if line.startswith(("    =>", "  outcome")):
            shown.append(click.style(line, fg="green"))
        else:
            shown.append(click.style(line, dim=True) if line.startswith("         ") else line)
    return "\n".join(shown)


def _parse(what: tuple[str, ...]) -> tuple[tuple[str, str] | None, tuple[str, ...]]:
    """((method, URL), paths) for a request, (None, paths) for an object."""
    if _METHOD.match(what[0]):
        if len(what) < 2:
            raise failure.Failure(f"{what[0]} what?", help=f"dragoman explain {what[0]} http://shop.example/")
        return (what[0], what[1]), what[2:]
    if "://" in what[0]:
        return ("GET", what[0]), what[1:]
    if len(what) > 1 and "://" in what[1]:
        raise failure.Failure(
            f"`{what[0]}` is no method: methods are in capitals",
            help=f"dragoman explain {what[0].upper()} {what[1]}",
        )
    return None, what[1:]


def _object(name: str, paths: tuple[str, ...], server: str, group: str, settings_path: Path | None) -> Data:
    from dragoman.cli import client, workspace

    if not paths:
        found: Data = client.get(server, "explain", {"object": name, "group": group})
        return found
    from dragoman.admin import anatomy

    loaded = workspace.read(paths, options.load_settings(settings_path), group)
    try:
        return anatomy.explain(loaded.pipeline, group, anatomy.find(loaded.pipeline, name))
    except anatomy.UnknownObject as error:
        raise failure.Failure(str(error)) from None


def object_text(found: Data) -> str:
    """An object's page: who it is, how it fares, then a section for each thing that it became."""
    from dragoman.admin import views
    from dragoman.cli import render

    ref = views.ref_of(found["object"])
    parts = [click.style(str(ref), bold=True) + (f"  {found['place']}" if found["place"] else "")]
    rows = [
        (
            c["of"],
            click.style(c["type"], fg=None if views.holds(c) else "red"),
            c["status"],
            c["reason"],
            c.get("message", ""),
        )
        for c in found["conditions"]
    ]
    if rows:
        parts.append(render.table(("ABOUT", "CONDITION", "STATUS", "REASON", "MESSAGE"), rows, indent="  "))
    if found["diagnostics"]:
        parts.append(render.indented("\n".join(render.finding(item) for item in found["diagnostics"])))
    for title, lines in (
        ("listeners", _listeners),
        ("attached", _attached),
        ("routes", _routes),
        ("cluster", _clusters),
        ("used_by", _used_by),
    ):
        if found.get(title):
            heading = click.style(_TITLES[title], bold=True)
            parts.append("\n".join([heading, *lines(found[title])]))
    return "\n\n".join(parts)


_TITLES: Final = {
    "listeners": "Listeners",
    "attached": "Attached to",
    "routes": "Matches, in order of precedence",
    "cluster": "What Envoy gets",
    "used_by": "Used by",
}


def _listeners(rows: Sequence[Data]) -> list[str]:
    out: list[str] = []
    for row in rows:
        secrets = f", certificates {', '.join(row['certificates'])}" if row["certificates"] else ""
        out.append(
            f"  {row['name']}: {row['protocol']} {row['hostname']}"
            f" on {', '.join(row['envoy']) or 'no address'}{secrets}"
        )
        if row["closed"]:
            out.append(f"    closed: {click.style(row['closed'], fg='red')}")
        out += _aligned([(v["name"], v["value"], v) for v in row["values"]]) if row["values"] else []
        out += [f"    {name}" for name in row["routes"]]
    return out


def _attached(rows: Sequence[Data]) -> list[str]:
    return [
        f"  Gateway {row['gateway']} listener {row['listener']}: {', '.join(row['hostnames'])}"
        for row in rows
    ]


def _routes(rows: Sequence[Data]) -> list[str]:
    out: list[str] = []
    for number, row in enumerate(rows, 1):
        where = f"  (on {', '.join(row['listeners'])})" if "listeners" in row else ""
        out.append(f"  {number}. {row['match']}{where}")
        out.append(f"     -> {click.style(row['action'], fg='green')}")
        out += [f"     {'and ' if at else ''}needs {one}" for at, one in enumerate(row.get("needs", ()))]
        out += _aligned([("from", row["from"], row), *((v["name"], v["value"], v) for v in row["values"])])
    return out


def _aligned(values: Sequence[tuple[str, str, Data]]) -> list[str]:
    """Name, value, and who set it."""
    names = max(len(name) for name, _, _ in values)
    widest = max(len(value) for _, value, _ in values)
    out: list[str] = []
    for name, value, said in values:
        who = said.get("place", "") if name == "from" else f"{said['from']}  {said.get('place', '')}"
        out.append(
            f"        {name:<{names}}  {value:<{widest}}  {click.style(who.rstrip(), dim=True)}".rstrip()
        )
    return out


def _clusters(rows: Sequence[Data]) -> list[str]:
    out: list[str] = []
    for row in rows:
        port = f"port {row['port']}: " if row["port"] else ""
        tls = "" if row["tls"] == "no" else f", TLS to {row['tls']}"
        users = f", for routes under {', '.join(row['policies'])}" if row["policies"] else ""
        out.append(
            f"  {port}{row['protocol']} cluster, endpoints by {row['discovery']}{tls},"
            f" connect timeout {row['connect_timeout']}{users}"
        )
        out += _aligned([(v["name"], v["value"], v) for v in row["values"]]) if row["values"] else []
        out += [f"    {endpoint}" for endpoint in row["endpoints"]] or ["    no endpoint"]
    return out


def _used_by(rows: Sequence[Data]) -> list[str]:
    out: list[str] = []
    for row in rows:
        more = f" listener {row['listener']}" if "listener" in row else ""
        out.append(f"  {row['object']}{more}")
        out += [f"    {name}" for name in row.get("routes", ())]
    return out
