"""Configurations of Envoy that were written by hand, which benchmarks compare with: one route to one backend;
and the same with a token, a claim as a header, rules, a local limit and an access log.

By hand means the least that does the same as Dragoman's: the filters that are used and no others, a bucket
instead of descriptors, rules that know the shape of claims. Called by `full` and `requests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dragoman import proto
from dragoman.envoy import static
from dragoman.envoy.admin import Admin
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from tests.harness import tokens
from tests.harness.manifests import Body

LIMIT: Final = 100_000_000
"""Requests a second."""

_TYPES: Final = "type.googleapis.com/envoy.extensions"
_TOKEN: Final = "envoy.filters.http.jwt_authn"
_LOGGED: Final = {
    "time": "%START_TIME%",
    "id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "upstream": "%UPSTREAM_HOST%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "agent": "%REQ(USER-AGENT)%",
    "user": "%REQ(X-USER-ID)%",
}

_NETWORK: Final = "envoy.filters.network.http_connection_manager"
_UNLIMITED: Final = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_KINDS: Final = {
    _TOKEN: "jwt_authn.v3.JwtAuthentication",
    "envoy.filters.http.rbac": "rbac.v3.RBAC",
    "envoy.filters.http.local_ratelimit": "local_ratelimit.v3.LocalRateLimit",
}
_MANAGER: Final[Body] = {
    "stat_prefix": "edge",
    "use_remote_address": True,
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
    "strip_trailing_host_dot": True,
    "server_header_transformation": "PASS_THROUGH",
    "preserve_external_request_id": True,
    "common_http_protocol_options": {
        "idle_timeout": "3600s",
        "headers_with_underscores_action": "DROP_HEADER",
    },
    "http2_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 65536,
        "initial_connection_window_size": 1048576,
    },
    "stream_idle_timeout": "300s",
    "request_headers_timeout": "10s",
    "upgrade_configs": [{"upgrade_type": "websocket"}],
}


def bootstrap(
    host: str, listen: int, backend: int, admin: Admin, issuer: tokens.Issuer | None = None
) -> bytes:
    """The bootstrap; with all the rest where there is an `issuer`."""
    filters: dict[str, Body] = {}
    if issuer is not None:
        filters = {_TOKEN: _jwt(issuer), "envoy.filters.http.local_ratelimit": _bucket()}
        filters["envoy.filters.http.rbac"] = {"rules": {"action": "ALLOW", "policies": _rules()}}
    entries = [_typed(name, f"filters.http.{_KINDS[name]}", body) for name, body in filters.items()]
    entries.append(_typed("router", "filters.http.router.v3.Router", {"suppress_envoy_headers": True}))
    route = {"match": {"prefix": "/"}, "name": "shop", "route": {"cluster": "shop", "timeout": "0s"}}
    table = {
        "name": "edge",
        "virtual_hosts": [{"name": "shop", "domains": [host], "routes": [route]}],
        "ignore_port_in_host_matching": True,
    }
    manager = {**_MANAGER, "route_config": table, "http_filters": entries}
    if issuer is not None:
        manager["access_log"] = [log()]
    chain = {
        "filters": [
            _typed(_NETWORK, "filters.network.http_connection_manager.v3.HttpConnectionManager", manager)
        ]
    }
    listener = {
        "name": "edge",
        "address": _address(listen),
        "filter_chains": [chain],
        "per_connection_buffer_limit_bytes": 32768,
    }
    cluster = {
        "name": "shop",
        "type": "STATIC",
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": 32768,
        "circuit_breakers": {"thresholds": [dict.fromkeys(_UNLIMITED, 4294967295)]},
        "common_lb_config": {"healthy_panic_threshold": {}, "update_merge_window": "0s"},
        "load_assignment": {
            "cluster_name": "shop",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(backend)}}]}],
        },
    }
    made = {
        "node": {"id": "static", "cluster": "static"},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }
    message = proto.from_dict(bootstrap_proto.Bootstrap, made)
    static.write_admin(message.admin.address, admin)
    return proto.serialize(message)


def _jwt(issuer: tokens.Issuer) -> Body:
    provider = {
        "issuer": issuer.name,
        "audiences": ["shop"],
        "local_jwks": {"inline_string": issuer.jwks},
        "forward": True,
        "require_expiration": True,
        "clock_skew_seconds": 30,
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
        "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub"}],
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}
    return {"providers": {"main": provider}, "rules": [rule]}


def _bucket() -> Body:
    """Tells clients what is left, as Dragoman's does."""
    all_of_it = {"default_value": {"numerator": 100}}
    bucket = {"max_tokens": LIMIT, "tokens_per_fill": LIMIT, "fill_interval": "1s"}
    return {
        "stat_prefix": "local",
        "filter_enabled": all_of_it,
        "filter_enforced": all_of_it,
        "token_bucket": bucket,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


def _rules() -> Body:
    def claim(name: str, value: Body) -> Body:
        path = [{"key": "payload"}, {"key": name}]
        return {"sourced_metadata": {"metadata_matcher": {"filter": _TOKEN, "path": path, "value": value}}}

    def scope(name: str) -> Body:
        return claim("scope", {"list_match": {"one_of": {"string_match": {"exact": name}}}})

    def method(name: str) -> Body:
        return {"header": {"name": ":method", "string_match": {"exact": name}}}

    every: Body = {"any": True}
    admin = {
        "or_rules": {
            "rules": [
                {"url_path": {"path": {"exact": "/admin"}}},
                {"url_path": {"path": {"prefix": "/admin/"}}},
            ]
        }
    }
    inside = {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}
    both = {"and_ids": {"ids": [scope("cart:read"), scope("cart:write")]}}
    found = (
        ({"and_rules": {"rules": [method("DELETE"), admin]}}, every),
        (every, claim("role", {"string_match": {"exact": "admin"}})),
        (every, inside),
        (method("POST"), scope("cart:admin")),
        (every, both),
    )
    return {str(at): {"permissions": [what], "principals": [who]} for at, (what, who) in enumerate(found)}


def log() -> Body:
    """An access log of 18 fields."""
    made = {"path": "/dev/null", "log_format": {"json_format": _LOGGED}}
    return _typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", made)


def _typed(name: str, kind: str, body: Mapping[str, Any]) -> Body:
    return {"name": name, "typed_config": {"@type": f"{_TYPES}.{kind}", **body}}


def _address(port: int) -> Body:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
