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
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header. Repeatable.")
@options.files()
@click.option(
    "--expect", "expectations", multiple=True, metavar="KEY=VALUE",
    help="Exit with 1 unless the answer is this: cluster=, route=, status=, path=, host=. Repeatable.",
)  # fmt: skip
@options.server()
@options.group()
@options.output("text", "json", "yaml")
@options.settings_file()
def command(
    what: tuple[str, ...], headers: tuple[str, ...], files: tuple[str, ...], expectations: tuple[str, ...], server: str,
    group: str, output: str, settings_path: Path | None,
) -> None:  # fmt: skip
    """Explain an object, or what happens to a request.

    WHAT is an object (`httproute/shop/cart`) or a request (`GET http://shop.example/cart`). With PATH or -f the answer comes from
    these files, else from the running control plane. A request is matched as Envoy would: every candidate with why it lost, the
    winner, the path and host as rewritten, filters, clusters and weights.

    \b
    Examples:
      dragoman explain httproute/shop/cart routes/
      dragoman explain GET http://shop.example/cart -H 'x-env: canary' -f routes/
      dragoman explain GET http://shop.example/cart            # asks the running control plane
      dragoman explain GET http://shop.example/old -f routes/ --expect status=301
      dragoman explain GET http://shop.example/ -f routes/ --expect cluster=Service/shop/web/8080
    """
    request, rest = _parse(what)
    paths = (*rest, *files)
    if request is None and (headers or expectations):
        raise failure.Failure("-H and --expect go with a request", help="dragoman explain GET http://shop.example/ ...")
    found: Data
    if request is not None:
        found = _request(request, headers, paths, server, group, settings_path)
    else:
        found = _object(what[0], paths, server, group, settings_path)
    _show(found, output, is_request=request is not None)
    wrong = list(_unmet(found, expectations)) if expectations else []
    for line in wrong:
        click.secho(line, fg="red", err=True)
    if wrong:
        click.get_current_context().exit(1)
