"""The bootstrap of an Envoy that gets everything else from this control plane: JSON data, without secrets.

Delta ADS by default; an Envoy that waits for its first configuration (it is not ready before); statistics
that do not grow with what is configured; limits against overload. Called by `dragoman
bootstrap` and by the runtime for a local Envoy.

Two things are left to the command line: `--disable-hot-restart` unless hot restarts are wanted (dynamic
base ids leave files in /dev/shm), and `--concurrency` for a sidecar (1 or 2; without it Envoy takes every
core).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dragoman.envoy import overload, series
from dragoman.envoy.admin import Admin

Json = dict[str, Any]
Kind = Literal["edge", "sidecar"]
Protocol = Literal["delta", "sotw"]
Statistics = Literal["lean", "all"]
"""`lean`: what `series` keeps."""

CACHING: Final = "dragoman.caching"
"""The runtime key that says: this Envoy has internal listeners. Routes are cached only where it does, so that
a bootstrap made otherwise loses the cache and nothing else."""

XDS_CLUSTER: Final = "dragoman"
"""The one static cluster. No object's name can be equal to it (no slash)."""
LOCAL_CLUSTER: Final = "dragoman-local"
"""Where Envoy looks up which zones its own kind is in; only with a zone."""

_TYPE: Final = "type.googleapis.com/"
_CONNECTIONS: Final[Mapping[Kind, int]] = {"edge": 50_000, "sidecar": 10_000}
_WATCHDOG: Final = {"miss_timeout": "2s", "megamiss_timeout": "5s"}
"""A thread that did not return to its loop for as long is counted (`server.*.watchdog_miss`, `_mega_miss`).
Envoy's own 0.2 and 1 s make every thread wake ten times a second, nearly all that an idle Envoy does: with
16 workers 0.5 % of a core, with these 0.06 %."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the control plane; the files are Envoy's.

    `certificate` and `key`: for a control plane that asks for them. `name`: what the control plane's
    certificate must bear; empty: the address.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    name: str = ""


def bootstrap(
    *,
    node_id: str,
    cluster: str = "",
    gateways: Sequence[str] = (),
    xds_address: str = "127.0.0.1",
    xds_port: int = 18000,
    tls: Tls | None = None,
    admin: Admin | None = None,
    kind: Kind = "edge",
    protocol: Protocol = "delta",
    statistics: Statistics = "lean",
    clusters: Sequence[str] = (),
    heap: int = 0,
    connections: int = 0,
    zone: str = "",
    metadata: Mapping[str, Json] | None = None,
) -> Json:
    """A complete bootstrap.

    `gateways` (`namespace/name`, `*`) say which Gateways the node is for; empty leaves it to `cluster` or to
    the control plane's rules. `metadata` is more that the node says of itself. `admin` None: no admin
    interface. `clusters`: patterns of names of clusters whose statistics are kept as well (`series`). `heap`
    in bytes: near it Envoy gives memory back, then refuses requests; 0: no such limit. `connections`: at
    once, over all listeners; 0: 50,000 at the edge, 10,000 for a sidecar.
    """
    data: Json = {
        "node": _node(node_id, cluster, {**(metadata or {}), **_serving(gateways)}, zone),
        "dynamic_resources": {
            "ads_config": _ads(protocol),
            "cds_config": _from_ads(),
            "lds_config": _from_ads(),
        },
        "static_resources": {"clusters": [_control_plane(xds_address, xds_port, tls)]},
        # A worker makes a cluster at its first request for it: memory for what is used.
        "cluster_manager": {"enable_deferred_cluster_creation": True},
        "overload_manager": overload.manager(connections or _CONNECTIONS[kind], heap),
        "watchdogs": {"main_thread_watchdog": _WATCHDOG, "worker_watchdog": _WATCHDOG},
        **caching(),
    }
    if zone:
        data["static_resources"]["clusters"].append(_local(zone))
        data["cluster_manager"]["local_cluster_name"] = LOCAL_CLUSTER
    if admin is not None:
        data["admin"] = {"address": _address(admin)}
    if statistics == "lean":
        data["stats_config"] = series.config(clusters)
        data["deferred_stat_options"] = {"enable_deferred_creation_stats": True}
    return data


def caching() -> Json:
    """What a bootstrap needs for routes to be cached: internal listeners, and the word that it has them."""
    return {
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
        "layered_runtime": {
            "layers": [
                {"name": "dragoman", "static_layer": {CACHING: 100}},
                # Envoy's own only layer where none is named: for whoever turns a knob by hand.
                {"name": "admin", "admin_layer": {}},
            ]
        },
    }


def _serving(gateways: Sequence[str]) -> Json:
    return {"gateways": list(gateways)} if gateways else {}


def _node(node_id: str, cluster: str, metadata: Json, zone: str) -> Json:
    # Envoy's ADS client wants a cluster name, if only a formal one.
    node: Json = {"id": node_id, "cluster": cluster or "dragoman"}
    if metadata:
        node["metadata"] = metadata
    if zone:
        node["locality"] = {"zone": zone}
    return node


def _ads(protocol: Protocol) -> Json:
    return {
        "api_type": "DELTA_GRPC" if protocol == "delta" else "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {
                "envoy_grpc": {
                    "cluster_name": XDS_CLUSTER,
                    # A control plane that comes back is found in seconds, not in half a minute.
                    "retry_policy": {"retry_back_off": {"base_interval": "0.25s", "max_interval": "5s"}},
                }
            }
        ],
    }


def _from_ads() -> Json:
    """Without time limit: an Envoy that starts before its control plane waits, and is not ready meanwhile."""
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _control_plane(address: str, port: int, tls: Tls | None) -> Json:
    endpoint = {"address": {"socket_address": {"address": address, "port_value": port}}}
    cluster: Json = {
        "name": XDS_CLUSTER,
        "cluster_type": {
            "name": "envoy.cluster.dns",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.clusters.dns.v3.DnsCluster",
                "respect_dns_ttl": True,
                "dns_lookup_family": "V4_PREFERRED",
            },
        },
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A control plane that is gone without a word is noticed.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        },
        "upstream_connection_options": {"tcp_keepalive": {}},
    }
    if tls is not None:
        cluster["transport_socket"] = _tls(address, tls)
    return cluster


def _local(zone: str) -> Json:
    """The Envoys of this kind as far as this one knows them: itself, in its zone. Without such a cluster
    Envoy takes no zone into account. Nothing is ever sent to it (the address is the discard service's).
    """
    nowhere = {"address": {"socket_address": {"address": "127.255.255.254", "port_value": 9}}}
    return {
        "name": LOCAL_CLUSTER,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": LOCAL_CLUSTER,
            "endpoints": [{"locality": {"zone": zone}, "lb_endpoints": [{"endpoint": nowhere}]}],
        },
    }


def _tls(address: str, tls: Tls) -> Json:
    name = tls.name or address
    san_type = "IP_ADDRESS" if name.replace(".", "").isdigit() or ":" in name else "DNS"
    common: Json = {
        "alpn_protocols": ["h2"],
        "validation_context": {
            "trusted_ca": {"filename": str(tls.ca)},
            "match_typed_subject_alt_names": [{"san_type": san_type, "matcher": {"exact": name}}],
        },
    }
    if tls.certificate is not None and tls.key is not None:
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": str(tls.certificate)},
                "private_key": {"filename": str(tls.key)},
            }
        ]
    config: Json = {
        "@type": _TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    if san_type == "DNS":
        config["sni"] = name
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _address(admin: Admin) -> Json:
    if admin.path:
        return {"pipe": {"path": admin.path, "mode": 0o600}}
    return {"socket_address": {"address": admin.address, "port_value": admin.port}}
