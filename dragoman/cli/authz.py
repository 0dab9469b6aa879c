"""`dragoman authz`: the service that looks credentials up, alone, on the control plane's own files."""

from __future__ import annotations

from pathlib import Path

import click

from dragoman.cli import failure, options

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("authz")
@options.paths()
@click.option("--address", metavar="ADDRESS", help="Where Envoy asks.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Its port.  [default: 18004]")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Metrics (/metrics) and health (/healthz) by HTTP; none without it.",
)
@click.option(
    "--store",
    metavar="URL",
    help="The Redis of API keys: redis://HOST:PORT/DB, rediss://, unix:///SOCKET, "
    "redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST; `?password_file=FILE` keeps the "
    "password out of sight.",
)
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Certificate (PEM) of the port.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its key.")
@click.option(
    "--tls-client-ca", type=_FILE, metavar="FILE", help="Clients must show a certificate of this CA."
)
@click.option(
    "--plaintext",
    is_flag=True,
    help="Beyond loopback without TLS: something else keeps credentials safe on their way.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: info]")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[default: text]")
@options.settings_file()
def command(
    paths: tuple[str, ...],
    address: str | None,
    port: int | None,
    metrics_port: int | None,
    store: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    plaintext: bool,
    log_level: str | None,
    log_format: str | None,
    settings_path: Path | None,
) -> None:
    """Run the service that looks tokens and API keys up, alone.

    PATH is what the control plane reads: a file, a folder (read recursively) or `-` for stdin, with the
    AuthPolicies and the Secrets that they name; every change is followed. `dragoman run` has this service
    built in; to use this one instead, tell it where: `authz: {enabled: false, advertised: ..., port: ...}`
    in its settings.

    \b
    Examples:
      dragoman authz policies/
      dragoman authz policies/ --metrics-port 9102
      dragoman authz policies/ --address 10.0.0.7 --tls-certificate tls.crt --tls-key tls.key
      dragoman authz policies/ --store 'redis://10.0.0.1?password_file=/run/redis'
    """
    tls = {"certificate": tls_certificate, "key": tls_key, "client_ca": tls_client_ca}
    said = {name: path for name, path in tls.items() if path is not None}
    settings = options.load_settings(
        settings_path,
        authz__address=address,
        # What Envoys are told is the control plane's to say: here a wildcard only has to pass for an address.
        authz__advertised="127.0.0.1" if address in ("0.0.0.0", "::") else None,
        authz__port=port,
        authz__metrics_port=metrics_port,
        authz__store=store,
        authz__tls=said or None,
        authz__plaintext=plaintext or None,
        log__level=log_level,
        log__format=log_format,
    )
    import asyncio

    from dragoman import config, garbage, runtime
    from dragoman.runtime import lookups
    from dragoman.sources import files
    from dragoman.telemetry import logs

    if not settings.authz.port and port is None:
        settings = settings.model_copy(
            update={"authz": settings.authz.model_copy(update={"port": config.AUTHZ_PORT})}
        )
    logs.configure(settings.log.level, settings.log.format)

    def started(running: lookups.Lookups) -> None:
        where = running.server.settings.address
        click.echo(f"credentials are looked up on {where}:{running.server.port}", err=True)
        if running.server.admin_port:
            click.echo(f"metrics on http://{where}:{running.server.admin_port}/metrics", err=True)

    async def main() -> None:
        await lookups.Lookups(settings, files.Files(list(paths)), started).run()

    garbage.begin()
    try:
        asyncio.run(main())
    except runtime.StartError as error:
        raise failure.Failure(str(error), code=error.code, help=error.help) from None
