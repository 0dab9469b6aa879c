"""Options that several commands share, so that they are spelt and explained the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from dragoman.cli import failure

if TYPE_CHECKING:
    from dragoman import config

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SERVER: Final = "http://127.0.0.1:18001"


def paths(*, required: bool = True, name: str = "paths") -> Callable[[F], F]:
    """PATH...: files, folders (recursive), `-` for stdin."""
    return click.argument(name, metavar="PATH..." if required else "[PATH...]", nargs=-1, required=required)


def files() -> Callable[[F], F]:
    """-f PATH, repeatable: for commands whose arguments are something else."""
    return click.option(
        "-f",
        "--file",
        "files",
        metavar="PATH",
        multiple=True,
        help="Read resources from this file, folder or `-` (stdin). Repeatable.",
    )


def output(*choices: str, help: str = "") -> Callable[[F], F]:
    """-o, the first choice being the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help=help or "Output format.",
    )


def group() -> Callable[[F], F]:
    """-g: a node group."""
    return click.option(
        "-g",
        "--group",
        default="*",
        show_default=True,
        callback=lambda _context, _parameter, given: canonical(given),
        metavar="GATEWAYS",
        help="Node group: `namespace/name` of a Gateway, several with commas, `namespace/*`, or `*` for all.",
    )


def canonical(group: str) -> str:
    """A node group as the control plane names it; `Failure` for what no node may ask for."""
    if group == "*":
        return group
    from dragoman.xds import groups

    given = group.split(",")
    for item in given:
        if not groups.gateway(item):
            raise failure.Failure(
                f"-g {group}: `{item.strip()}` is no Gateway",
                help="expected `namespace/name`, `namespace/*` or `*`, several with commas",
            )
    return groups.group_of(groups.gateway(item) for item in given)


def server() -> Callable[[F], F]:
    """--server: the admin address of a running control plane."""
    return click.option(
        "--server",
        metavar="URL",
        default=DEFAULT_SERVER,
        show_default=True,
        envvar="DRAGOMAN_SERVER",
        show_envvar=True,
        help="Admin address of a running control plane.",
    )


def settings_file() -> Callable[[F], F]:
    """--settings: the settings file."""
    return click.option(
        "--settings",
        "settings_path",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        envvar="DRAGOMAN_SETTINGS",
        show_envvar=True,
        help="Settings (YAML).",
    )


def load_settings(path: Path | None, **flags: Any) -> config.Settings:
    """Settings from file, environment and flags (`xds__port=...` for `xds.port`); `Failure` where they are
    wrong.
    """
    from dragoman import config

    try:
        return config.load(path, flags={key.replace("__", "."): value for key, value in flags.items()})
    except OSError as error:
        raise failure.Failure(f"{path}: {error.strerror}", code="DRG5001") from None
    except ValueError as error:
        raise failure.Failure(str(error), code="DRG5001", help="see docs/diagnostics/DRG5001.md") from None
