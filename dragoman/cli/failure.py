"""How a command fails: one exception that shows itself in the manner of a diagnostic and exits with 2.

Findings in somebody's resources are not failures (exit 1, printed by `diagnostics.text`); this is for what
keeps a command from doing its work: wrong usage, an address in use, a control plane that does not answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import IO, Any

import click


class Failure(click.ClickException):
    """`error[CODE]: message`, then `= help: ...` lines, on stderr. Plain usage errors have no code."""

    exit_code = 2

    def __init__(self, message: str, *, code: str = "", help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.help = help

    def show(self, file: IO[Any] | None = None) -> None:
        head = f"error[{self.code}]" if self.code else "error"
        click.echo(f"{click.style(head, fg='red', bold=True)}: {self.format_message()}", err=True, file=file)
        for line in self.help.splitlines():
            click.echo(f"  {click.style('= help:', bold=True)} {line}", err=True, file=file)


def unknown(what: str, given: str, known: Iterable[str]) -> Failure:
    """A name that is not in a list, with the nearest that is."""
    known = list(known)
    near = difflib.get_close_matches(given, known, 1)
    return Failure(
        f"no such {what}: {given}",
        help=f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}",
    )
