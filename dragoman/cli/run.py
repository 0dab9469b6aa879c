"""`dragoman run`: the control plane on files; with `--envoy` a local Envoy, with `--demo` services to route
to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragoman.cli import failure, options

if TYPE_CHECKING:
    from dragoman.ir import model as ir
    from dragoman.runtime import ControlPlane


@click.command("run")
@options.paths()
@click.option(
    "--envoy", "with_envoy", is_flag=True, help="Start a local Envoy with it (pip install 'dragoman[envoy]')."
)
@click.option("--demo", "with_demo", is_flag=True, help="Start two demo services on 127.0.0.1:9001 and 9002.")
@options.group()
@click.option("--xds-port", type=click.IntRange(0, 65535), help="Port of the xDS server.  [default: 18000]")
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), help="Port of the admin server.  [default: 18001]"
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: info]")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[default: text]")
@options.settings_file()
def command(
    paths: tuple[str, ...],
    with_envoy: bool,
    with_demo: bool,
    group: str,
    xds_port: int | None,
    admin_port: int | None,
    log_level: str | None,
    log_format: str | None,
    settings_path: Path | None,
) -> None:
    """Run the control plane on files, and follow every change to them.

    PATH is a file, a folder (read recursively) or `-` for stdin. Ctrl-C ends it gracefully, twice at once.
    Everything listens on loopback unless the settings say otherwise.

    \b
    Examples:
      dragoman run examples/01-hello --envoy --demo      # all there is to see, in one command
      dragoman run gateways/ routes/                     # Envoys elsewhere: see `dragoman bootstrap`
      dragoman run routes/ --envoy -g shop/edge          # a local Envoy for one Gateway
      DRAGOMAN_XDS_ADDRESS=0.0.0.0 dragoman run routes/ --log-format json
    """
    settings = options.load_settings(
        settings_path,
        xds__port=xds_port,
        admin__port=admin_port,
        log__level=log_level,
        log__format=log_format,
    )
    import asyncio

    from dragoman import garbage, runtime
    from dragoman.sources import files
    from dragoman.telemetry import logs

    logs.configure(settings.log.level, settings.log.format)
    companions: list[runtime.Companion] = []
    if with_demo:
        from dragoman.cli import demo

        companions.append(demo.Services())
    if with_envoy:
        companions.append(runtime.LocalEnvoy(settings.xds, group))

    async def main() -> None:
        def started(plane: ControlPlane) -> None:
            _announce(plane, with_envoy, with_demo)

        await runtime.ControlPlane(
            settings, files.Files(list(paths)), companions=companions, started=started
        ).run()

    garbage.begin()
    try:
        asyncio.run(main())
    except runtime.StartError as error:
        raise failure.Failure(str(error), code=error.code, help=error.help) from None


def _announce(plane: ControlPlane, with_envoy: bool, with_demo: bool) -> None:
    """Where to go and what to try, on stderr."""
    urls = _urls(plane) if with_envoy else []
    lines = ["", *(f"  Envoy serves    {click.style(url, fg='green', bold=True)}" for url in urls)]
    lines += [
        f"  xDS             {plane.settings.xds.address}:{plane.xds_port}",
        f"  admin           {plane.admin.url}",
    ]
    if urls and with_demo:
        server = "" if plane.admin.url == options.DEFAULT_SERVER else f" --server {plane.admin.url}"
        tries = [
            (f"curl -s {urls[0]}/", "the hello service answers"),
            (f"curl -s {urls[0]}/ -H 'x-env: canary'", "the canary answers"),
            (f"dragoman explain GET {urls[0]}/ -H 'x-env: canary'{server}", "why"),
            (f"dragoman status{server}", "who has what"),
        ]
        width = max(len(command) for command, _ in tries)
        lines += ["", "  Try, in another terminal:"]
        lines += [f"    {command:<{width}}   # {why}" for command, why in tries]
        lines += ["", "  Then edit the YAML and ask again: the change is live."]
    click.echo("\n".join([*lines, "", "  Ctrl-C stops everything.", ""]), err=True)


def _urls(plane: ControlPlane) -> list[str]:
    """The addresses that the local Envoy listens on; those for requests come first."""
    listeners = plane.pipeline.view("*").listeners
    urls: list[str] = []
    quick = {bind for bind, one in listeners.items() if any(chain.quic for chain in one.chains)}
    for bind in sorted(
        listeners.keys() - quick, key=lambda each: (_scheme(listeners[each])[:4] != "http", each)
    ):
        host = f"[{bind.address}]" if ":" in bind.address else bind.address
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        urls.append(f"{_scheme(listeners[bind])}://{host}:{bind.port}")
    return urls


def _scheme(listener: ir.Listener) -> str:
    chain = next((each for each in listener.chains if each.stream is None), listener.chains[0])
    if chain.stream is None:
        return "https" if chain.tls is not None else "http"
    if listener.bind.udp:
        return "udp"
    return "tls" if chain.tls is not None or chain.stream.passthrough else "tcp"
