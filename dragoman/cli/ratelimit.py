"""`dragoman ratelimit`: the rate-limit service alone, on files or on what a control plane says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragoman.cli import failure, options

if TYPE_CHECKING:
    from dragoman.ratelimit import following, server as servers
    from dragoman.ratelimit.transport import base
    from dragoman.sources import files

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("ratelimit")
@options.paths(required=False)
@click.option(
    "--xds",
    metavar="HOST:PORT",
    help="Limits come from the control plane that serves xDS there, instead of from files.",
)
@click.option(
    "-g",
    "--gateway",
    "gateways",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="With --xds: whose limits; `NAMESPACE/*` and `*` for several. Repeatable.  [default: *]",
)
@click.option("--id", "node_id", default="ratelimit", show_default=True, help="With --xds: the node's id.")
@click.option("--xds-ca", type=_FILE, help="TLS to the control plane: the CA that signed its certificate.")
@click.option("--xds-cert", type=_FILE, help="Certificate to show to it (mTLS).")
@click.option("--xds-key", type=_FILE, help="Its key.")
@click.option(
    "--xds-name", default="", metavar="NAME", help="Name in the control plane's certificate.  [default: HOST]"
)
@click.option(
    "--store",
    default="memory",
    show_default=True,
    metavar="URL",
    envvar="DRAGOMAN_RATELIMIT_STORE",
    show_envvar=True,
    help="`memory`, redis://HOST:PORT/DB, rediss://, unix:///SOCKET, redis+sentinel://HOST,HOST/MASTER or "
    "redis+cluster://HOST,HOST; `?password_file=FILE` keeps the password out of sight.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8081",
    show_default=True,
    metavar="HOST:PORT",
    help="Where Envoy asks; unix:/PATH for a socket.",
)
@click.option(
    "--streams",
    "streams_listen",
    metavar="HOST:PORT",
    help="Where Envoy reports quotas (RLQS), and where health watches and reflection are; with `--transport "
    "grpc` they are at --listen.",
)
@click.option(
    "--admin",
    "admin_listen",
    default="127.0.0.1:8082",
    show_default=True,
    metavar="HOST:PORT",
    help="Metrics (/metrics) and health (/healthz); `off` for none.",
)
@click.option(
    "--transport",
    type=click.Choice(["http2", "grpc"]),
    default="http2",
    show_default=True,
    help="The thin HTTP/2 server, or gRPC's own.",
)
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Certificate (PEM) of the gRPC port.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its key.")
@click.option(
    "--tls-client-ca", type=_FILE, metavar="FILE", help="Clients must show a certificate of this CA."
)
@click.option(
    "--headers",
    type=click.Choice(["x-ratelimit", "draft", "all"]),
    help="Tell clients limit, remaining and reset: X-RateLimit-*, RateLimit-* (IETF draft), or both.",
)
@click.option("--body", is_flag=True, help="Say in a JSON body why a request was denied.")
@click.option(
    "--traces",
    default="",
    metavar="HOST:PORT",
    help="Send spans of decisions to this collector (OTLP, gRPC), for requests that Envoy traces.",
)
@click.option(
    "--max-connection-age",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="After which Envoys are told to connect anew (a tenth more or less); 0: never.  [default: 0]",
)
@click.option("--shadow", is_flag=True, help="Count, and deny nothing (SHADOW_MODE).")
@click.option("--metadata", is_flag=True, help="Say all about a request in dynamic metadata.")
@click.option("--merge-domains", is_flag=True, help="Let several files speak of one domain.")
@click.option(
    "--store-timeout",
    type=click.FloatRange(0.001, 10),
    default=0.05,
    show_default=True,
    metavar="SECONDS",
    help="What Redis may take before limits do without it.",
)
@click.option(
    "--on-error",
    type=click.Choice(["open", "closed", "local", "fail"]),
    default="open",
    show_default=True,
    help="What limits of files that do not say it do while Redis is away. `fail`, as the Go service: the "
    "call fails, and Envoy does what its `failure_mode_deny` says.",
)
@click.option("--prefix", default="dragoman:", show_default=True, help="Before every key in Redis.")
@click.option(
    "--instances",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many services share the counts; for limits with `on_error: local`.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="After SIGTERM: how long calls are taken while health checks fail.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
def command(
    paths: tuple[str, ...],
    xds: str | None,
    gateways: tuple[str, ...],
    node_id: str,
    xds_ca: Path | None,
    xds_cert: Path | None,
    xds_key: Path | None,
    xds_name: str,
    store: str,
    listen: str,
    streams_listen: str | None,
    admin_listen: str,
    transport: servers.Carrier,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    headers: str | None,
    body: bool,
    traces: str,
    max_connection_age: float,
    shadow: bool,
    metadata: bool,
    merge_domains: bool,
    store_timeout: float,
    on_error: str,
    prefix: str,
    instances: int,
    grace: float,
    log_level: str,
    log_format: str,
) -> None:
    """Run the rate-limit service alone: on envoyproxy/ratelimit's files, or on a control plane's limits.

    PATH is a file or a folder (read recursively); every change is followed, and a file with an error keeps
    its last good form. Counts are in memory, exact for one service; several services share them in Redis.
    Ctrl-C or SIGTERM ends it: health checks fail, calls under way are answered.

    \b
    Examples:
      dragoman ratelimit limits/
      dragoman ratelimit limits.yaml --store redis://127.0.0.1:6379 --headers draft --body
      dragoman ratelimit limits/ --streams 127.0.0.1:8083
      dragoman ratelimit --xds 10.0.0.2:18000 --store redis://10.0.0.5:6379 --listen 0.0.0.0:8081
      dragoman ratelimit limits/ --listen unix:/run/ratelimit.sock --admin off
      dragoman ratelimit limits/ --store 'redis+sentinel://10.0.0.1,10.0.0.2/mymaster?password_file=/run/redis'
    """
    import asyncio

    from dragoman import garbage
    from dragoman.ratelimit import following, rules, server as servers, service
    from dragoman.ratelimit.transport import base
    from dragoman.telemetry import logs

    logs.configure(log_level, log_format)  # type: ignore[arg-type]  # click has checked them
    tls = None
    if tls_certificate is not None and tls_key is not None:
        tls = base.Tls(tls_certificate, tls_key, tls_client_ca)
    elif tls_certificate is not None or tls_key is not None or tls_client_ca is not None:
        raise failure.Failure("--tls-certificate and --tls-key come together", code="DRG5001")
    streams = None
    if streams_listen is not None:
        streams = base.Settings(*_listen("--streams", streams_listen), tls)
    admin_host, admin_port = _address("--admin", admin_listen) if admin_listen != "off" else ("", None)
    settings = servers.Settings(
        store=store,
        carrier=transport,
        listen=base.Settings(*_listen("--listen", listen), tls, max_connection_age=max_connection_age),
        streams=streams,
        admin_address=admin_host,
        admin_port=admin_port,
        patience=store_timeout,
        prefix=prefix,
        instances=instances,
        merge_domains=merge_domains,
        on_error=rules.OnError(on_error),
        traces=traces,
        presentation=rules.Presentation(
            x_ratelimit=headers in ("x-ratelimit", "all"),
            draft=headers in ("draft", "all"),
            retry_after=headers is not None,
            body=body,
        )
        if headers or body
        else rules.SILENT,
        options=service.Options(detailed_metadata=metadata, shadow=shadow),
    )
    if traces:
        _address("--traces", traces)
    source: files.Files | following.Settings
    if xds is None:
        if not paths:
            raise failure.Failure("say PATH, or --xds HOST:PORT", code="DRG5001")
        source = servers.source(paths)
    else:
        if paths:
            raise failure.Failure("limits come from PATH or from --xds, not from both", code="DRG5001")
        if (xds_cert is None) != (xds_key is None):
            raise failure.Failure("--xds-cert and --xds-key go together", code="DRG5001")
        if xds_ca is None and (xds_cert is not None or xds_name):
            raise failure.Failure("TLS to the control plane needs --xds-ca", code="DRG5001")
        _address("--xds", xds)
        gateways = tuple(name for given in gateways or ("*",) for name in options.canonical(given).split(","))
        source = following.Settings(xds, gateways, node_id, xds_ca, xds_cert, xds_key, xds_name)
    garbage.begin()
    asyncio.run(_run(settings, source, grace))


async def _run(settings: servers.Settings, source: files.Files | following.Settings, grace: float) -> None:
    import asyncio
    import signal

    from dragoman.ratelimit import following, server as servers

    try:
        server = servers.Server(settings)
    except (OSError, ValueError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise failure.Failure(f"--store: {words}", code="DRG5001") from None
    if not isinstance(source, following.Settings):
        _load(server, source)
    try:
        await server.start()
    except OSError as error:
        await server.stop()
        raise _cannot_listen(settings, error) from None
    ended: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.put_nowait, number)
    click.echo(f"rate limits on {_where(settings.listen, server.port)}", err=True)
    if settings.streams is not None:
        click.echo(f"streams on {_where(settings.streams, server.streams_port)}", err=True)
    if server.admin_port:
        click.echo(f"metrics on http://{settings.admin_address}:{server.admin_port}/metrics", err=True)
    if isinstance(source, following.Settings):
        work = asyncio.create_task(following.Plane(source, server.service.load).run())
    else:
        work = asyncio.create_task(server.follow(source))
    waiting = asyncio.create_task(ended.get())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    work.cancel()
    # Ctrl-C is somebody who waits; so is a second signal.
    told = waiting.done() and waiting.result() == signal.SIGTERM
    stopping = asyncio.create_task(server.stop(grace if told else 0.0))
    again = asyncio.create_task(ended.get())
    await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        stopping.result()
    else:
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
    for task in (waiting, again):
        task.cancel()
    if work.done() and not work.cancelled():
        work.result()  # it ends by a fault only


def _cannot_listen(settings: servers.Settings, error: OSError) -> failure.Failure:
    """Which of its addresses it was, and the option that moves it: not every server's error says so."""
    from dragoman.runtime import faults

    own = settings.listen
    wanted = [("the rate-limit service", own.address, own.port, "--listen")]
    if settings.streams is not None:
        wanted.append(("the server of streams", settings.streams.address, settings.streams.port, "--streams"))
    if settings.admin_port:
        wanted.append(("the admin server", settings.admin_address, settings.admin_port, "--admin"))
    for what, address, port, option in wanted:
        try:
            faults.probe(address, port)
        except OSError as reason:
            found = faults.cannot_listen(what, address, port, reason, option)
            return failure.Failure(str(found), code=found.code, help=found.help)
    return failure.Failure(f"cannot listen on {own.address}: {error.strerror or error}", code="DRG5003")


def _load(server: servers.Server, source: files.Files) -> None:
    """The first load: nothing is served from files that have an error."""
    from dragoman.diagnostics import Severity, text

    try:
        found = server.load(source)
    except OSError as error:
        raise failure.Failure(f"{error.filename}: {error.strerror}", code="DRG5002") from None
    if found:
        click.echo(text.report(found), err=True)
    if any(each.severity is Severity.ERROR for each in found):
        raise click.exceptions.Exit(1)


def _listen(option: str, text: str) -> tuple[str, int]:
    """Address and port as a transport takes them."""
    host, port = _address(option, text)
    return host, port or 0


def _where(listen: base.Settings, port: int) -> str:
    return listen.address if listen.address.startswith("unix:") else f"{listen.address}:{port}"


def _address(option: str, text: str) -> tuple[str, int | None]:
    """Host and port; of a unix socket, `unix:/path` and None."""
    if text.startswith("unix:"):
        return text, None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise failure.Failure(f"{option}: `{text}` is no HOST:PORT", code="DRG5001")
    return host.removeprefix("[").removesuffix("]"), int(port)
