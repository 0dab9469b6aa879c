"""`dragoman rollout`: how far Rollouts are, and a person's word on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from dragoman.cli import options

Data = Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

_COLOURS: Final = {"Promoted": "green", "RolledBack": "red", "Held": "yellow"}
_VERDICTS: Final = {"Good": "green", "Bad": "red", "None": "bright_black"}


def _name(*, required: bool) -> Callable[[F], F]:
    return click.argument("name", metavar="NAME" if required else "[NAME]", required=required)


@click.group("rollout")
def command() -> None:
    """Show Rollouts, approve a step, or take a canary back.

    NAME is `namespace/name`, or the name alone where it means one.

    \b
    Examples:
      dragoman rollout status
      dragoman rollout approve shop/cart
      dragoman rollout abort cart
    """


@command.command("status")
@_name(required=False)
@options.server()
@options.output("text", "json", "yaml")
def status(name: str | None, server: str, output: str) -> None:
    """Show phase, step, weight, the checks' last words, and when the next step is due.

    Exits with 1 when a Rollout is not accepted, held, or was rolled back.

    \b
    Examples:
      dragoman rollout status
      dragoman rollout status shop/cart -o json
    """
    from dragoman.cli import client, render

    found: Sequence[Data] = client.get(server, "rollouts", {"name": name or ""})
    if output == "text":
        click.echo(text(found))
    else:
        render.data(found, output)
    if any(_bad(one) for one in found):
        click.get_current_context().exit(1)


@command.command("approve")
@_name(required=True)
@options.server()
def approve(name: str, server: str) -> None:
    """Let a step go on that waits for it, or overrule a hold.

    \b
    Example:
      dragoman rollout approve shop/cart
    """
    _say("approve", name, server, "approved")


@command.command("abort")
@_name(required=True)
@options.server()
def abort(name: str, server: str) -> None:
    """Take the canary back: its weight becomes 0 and stays so until the Rollout changes.

    \b
    Example:
      dragoman rollout abort shop/cart
    """
    _say("abort", name, server, "rolled back")


def _say(what: str, name: str, server: str, done: str) -> None:
    from dragoman.cli import client

    found = client.post(server, f"rollouts/{what}", {"name": name})
    click.echo(f"Rollout {found['namespace']}/{found['name']} {done}", err=True)


def text(found: Sequence[Data]) -> str:
    """One paragraph per Rollout."""
    return "\n\n".join("\n".join(_lines(one)) for one in found) or "no Rollouts"


def _lines(one: Data) -> list[str]:
    body = one.get("status", {})
    conditions = body.get("conditions", [])
    last = conditions[-1] if conditions else {"reason": "", "message": ""}
    phase = body.get("phase") or last["reason"]
    name = f"{one['namespace']}/{one['name']}"
    title = click.style(str(phase), fg=_COLOURS.get(str(phase)), bold=True)
    lines = [f"{name}  {title}  {last['message']}"]
    if "canaryWeight" in body:
        step = f", step {body['step']} of {body['steps']}" if "step" in body else ""
        lines.append(f"  canary  {body['canaryWeight']}%{step}")
    if "stepDue" in body:
        lines.append(f"  next    not before {body['stepDue']}")
    if body.get("approvalNeeded"):
        lines.append(f"  next    dragoman rollout approve {name}")
    for check in body.get("checks", ()):
        verdict = click.style(check["verdict"].lower(), fg=_VERDICTS[check["verdict"]])
        lines.append(f"  check   {check['name']}: {verdict}  {check['value']}".rstrip())
    return lines


def _bad(one: Data) -> bool:
    conditions = one.get("status", {}).get("conditions", ())
    refused = any(c["type"] == "Accepted" and c["status"] == "False" for c in conditions)
    return refused or any(c["type"] in ("Held", "RolledBack") and c["status"] == "True" for c in conditions)
