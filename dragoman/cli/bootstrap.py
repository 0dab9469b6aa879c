"""`dragoman bootstrap`: what an Envoy elsewhere starts with to find this control plane."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dragoman.cli import failure, options

if TYPE_CHECKING:
    from dragoman.envoy import bootstrap
    from dragoman.envoy.admin import Admin

_IDLE = 64 << 20
"""Bytes of an Envoy that has nothing."""

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("bootstrap")
@click.argument("kind", type=click.Choice(["edge", "sidecar"]), default="edge")
@click.option(
    "--xds",
    default="127.0.0.1:18000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where Envoy finds the control plane.",
)
@click.option("--id", "node_id", metavar="ID", help="The node's id.  [default: the machine's name]")
@click.option("--cluster", default="", metavar="NAME", help="The node's cluster, for rules in the settings.")
@click.option(
    "-g",
    "--gateway",
    "gateways",
    multiple=True,
    metavar="GATEWAY",
    help="`namespace/name` of a Gateway that this Envoy serves, or `*`. Repeatable. Without: the control"
    " plane's rules decide.",
)
@options.files()
@click.option("--zone", default="", metavar="ZONE", help="The zone that it runs in.")
@click.option("--sotw", is_flag=True, help="State-of-the-world ADS instead of delta.")
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    default=9901,
    show_default=True,
    help="Admin port on loopback; 0: none.",
)
@click.option("--admin-socket", type=_FILE, help="Admin interface on a unix socket instead.")
@click.option(
    "--cluster-statistics",
    "clusters",
    multiple=True,
    metavar="PATTERN",
    help="Keep statistics of clusters too: `Service/shop/*`, `*`. Repeatable.",
)
@click.option(
    "--all-statistics", is_flag=True, help="Keep every statistic. They grow by some 200 per cluster."
)
@click.option(
    "--heap",
    type=click.IntRange(0),
    default=0,
    metavar="BYTES",
    help="Shed load near this much memory; 0: no limit.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="Connections of clients at once, over all listeners.  [default: 50000; sidecar 10000]",
)
@click.option("--xds-ca", type=_FILE, help="TLS to the control plane: the CA that signed its certificate.")
@click.option("--xds-cert", type=_FILE, help="Certificate to show to it (mTLS).")
@click.option("--xds-key", type=_FILE, help="Its key.")
@click.option(
    "--xds-name", default="", metavar="NAME", help="Name in the control plane's certificate.  [default: HOST]"
)
def command(
    kind: Literal["edge", "sidecar"],
    xds: str,
    node_id: str | None,
    cluster: str,
    gateways: tuple[str, ...],
    files: tuple[str, ...],
    zone: str,
    sotw: bool,
    admin_port: int,
    admin_socket: Path | None,
    clusters: tuple[str, ...],
    all_statistics: bool,
    heap: int,
    max_connections: int | None,
    xds_ca: Path | None,
    xds_cert: Path | None,
    xds_key: Path | None,
    xds_name: str,
) -> None:
    """Print an Envoy bootstrap (JSON) for an edge proxy or a sidecar.

    Delta ADS, lean statistics, overload protection. File names in it are read by Envoy, not by this command.
    With -f, the Gateways' `infrastructure` labels and annotations become part of the node's metadata.

    \b
    Examples:
      dragoman bootstrap > envoy.json && envoy -c envoy.json --disable-hot-restart
      dragoman bootstrap -g shop/edge --xds dragoman.infra.svc:18000 --xds-ca /etc/dragoman/ca.pem
      dragoman bootstrap --cluster-statistics 'Service/shop/*'
      dragoman bootstrap sidecar --id "$POD_NAME" -g shop/mesh
    """
    from dragoman.cli import render
    from dragoman.envoy import bootstrap

    if 0 < heap < _IDLE:
        raise failure.Failure(
            f"--heap {heap}: an idle Envoy has more, so all load would be shed",
            help="bytes are meant: 536870912 is 512 MiB",
        )
    host, port = _address(xds)
    gateways = tuple(name for given in gateways for name in options.canonical(given).split(","))
    made = bootstrap.bootstrap(
        node_id=node_id or socket.gethostname(),
        cluster=cluster,
        gateways=gateways,
        xds_address=host,
        xds_port=port,
        tls=_tls(xds_ca, xds_cert, xds_key, xds_name),
        admin=_admin(admin_port, admin_socket),
        kind=kind,
        protocol="sotw" if sotw else "delta",
        statistics="all" if all_statistics else "lean",
        clusters=clusters,
        heap=heap,
        connections=max_connections or 0,
        zone=zone,
        metadata=_infrastructure(files, gateways),
    )
    render.data(made, "json")


def _infrastructure(paths: tuple[str, ...], gateways: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The `infrastructure` labels and annotations of the Gateways that it serves, for the node's metadata.
    Where Gateways say different things of one name, the older one counts."""
    if not paths:
        return {}
    from dragoman.cli import workspace
    from dragoman.config import Settings

    group = ",".join(gateways) or "*"
    found = workspace.read(paths, Settings(), group).pipeline.view(group).gateways.values()
    youngest_first = sorted(
        (one for one in found if one.parent is None), key=lambda one: one.age, reverse=True
    )
    labels = {name: value for one in youngest_first for name, value in one.labels}
    annotations = {name: value for one in youngest_first for name, value in one.annotations}
    said = {"labels": labels, "annotations": annotations}
    return {name: values for name, values in said.items() if values}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    if not name or (":" in name) != bracketed or not port.isdecimal() or not 0 < int(port) < 65536:
        raise failure.Failure(f"--xds {text}: expected HOST:PORT, an IPv6 address as [ADDRESS]:PORT")
    return name, int(port)


def _admin(port: int, path: Path | None) -> Admin | None:
    from dragoman.envoy.admin import Admin

    if path is not None:
        return Admin(path=str(path))
    return Admin(port=port) if port else None


def _tls(ca: Path | None, certificate: Path | None, key: Path | None, name: str) -> bootstrap.Tls | None:
    from dragoman.envoy import bootstrap

    if (certificate is None) != (key is None):
        raise failure.Failure("--xds-cert and --xds-key go together")
    if ca is None:
        if certificate is not None or name:
            raise failure.Failure("TLS to the control plane needs --xds-ca")
        return None
    return bootstrap.Tls(ca, certificate, key, name)
