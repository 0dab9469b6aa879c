"""What a request costs Envoy as Dragoman configures it, beside an Envoy whose configuration was written by
hand for the same: a token (RS256, remembered), a claim as a header, five rules, a local limit, a JSON access
log; and with none of these.

By hand means the least that does the same: the filters that are used and no others, a bucket instead of
descriptors, rules that know the shape of claims. Both answer the same, with the same headers, else the run
fails. Envoys take turns, one worker each, wrk on 16 connections; what counts is Envoy's own CPU time. The log
is added to both by hand: Dragoman has none of its own yet. Needs `wrk`; without it the section is left out.
Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import requests, worlds
from benchmarks.prepared import document
from benchmarks.report import Goal, Table, median
from benchmarks.requests import Shape
from dragoman import config, proto
from dragoman.envoy import process, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from tests.harness import envoy, manifests, net, tokens
from tests.harness.manifests import Body

_ROUNDS: Final = 12
_SECONDS: Final = 1
_MOST: Final = 1.03
_LIMIT: Final = 100_000_000
_EXPIRES: Final = 4_000_000_000
_HOST: Final = worlds.host(0)
_BARE: Final = ("nothing, by hand", "nothing, Dragoman")
_FULL: Final = ("full set, by hand", "full set, Dragoman")
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


def objects(listen: int, backend: int, issuer: tokens.Issuer | None) -> list[Body]:
    """The world for Dragoman; without an `issuer` just the route."""
    made = [*worlds.gateway(listen), worlds.service(0), worlds.endpoints(0, backend)]
    made.append(manifests.http_route("r0", manifests.rule("s0"), hostnames=[_HOST]))
    if issuer is None:
        return made
    provider = {
        "name": "main",
        "issuer": issuer.name,
        "audiences": ["shop"],
        "jwks": {"inline": issuer.jwks},
        "claimsToHeaders": [{"claim": "sub", "header": "x-user-id"}],
    }
    rules = [
        {"methods": ["DELETE"], "paths": [{"type": "PathPrefix", "value": "/admin"}]},
        {"claims": [{"name": "role", "values": ["admin"]}]},
        {"clientAddresses": ["10.0.0.0/8"]},
        {"methods": ["POST"], "scopes": {"allOf": ["cart:admin"]}},
        {"scopes": {"allOf": ["cart:read", "cart:write"]}},
    ]
    limit = {"requests": _LIMIT, "per": "Second", "where": "Local"}
    made.append(_policy("AuthPolicy", jwt={"providers": [provider]}, rules={"allow": rules}))
    made.append(_policy("RateLimitPolicy", limits={"own": limit}))
    return made


def _policy(kind: str, **spec: Any) -> Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "full", "namespace": worlds.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "r0"}], **spec},
    }


def generated(listen: int, backend: int, issuer: tokens.Issuer | None, admin: Admin) -> bytes:
    """Dragoman's bootstrap, with the log where there is an `issuer`."""
    pipeline = Pipeline(config.Settings())
    pipeline.load([document(body) for body in objects(listen, backend, issuer)])
    made = static.bootstrap(pipeline.snapshot(), admin)
    if issuer is not None:
        for chain in made.static_resources.listeners[0].filter_chains:
            packed = chain.filters[0].typed_config
            manager = hcm.HttpConnectionManager.FromString(packed.value)
            proto.merge_dict(manager, {"access_log": [_log()]})
            packed.value = proto.serialize(manager)
    return proto.serialize(made)


def written(listen: int, backend: int, issuer: tokens.Issuer | None, admin: Admin) -> bytes:
    """The bootstrap by hand."""
    filters: dict[str, Body] = {}
    if issuer is not None:
        filters = {_TOKEN: _jwt(issuer), "envoy.filters.http.local_ratelimit": _bucket()}
        filters["envoy.filters.http.rbac"] = {"rules": {"action": "ALLOW", "policies": _rules()}}
    entries = [_typed(name, f"filters.http.{_KINDS[name]}", body) for name, body in filters.items()]
    entries.append(_typed("router", "filters.http.router.v3.Router", {"suppress_envoy_headers": True}))
    route = {"match": {"prefix": "/"}, "name": "shop", "route": {"cluster": "shop", "timeout": "0s"}}
    table = {
        "name": "edge",
        "virtual_hosts": [{"name": "shop", "domains": [_HOST], "routes": [route]}],
        "ignore_port_in_host_matching": True,
    }
    manager = {**_MANAGER, "route_config": table, "http_filters": entries}
    if issuer is not None:
        manager["access_log"] = [_log()]
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
    bucket = {"max_tokens": _LIMIT, "tokens_per_fill": _LIMIT, "fill_interval": "1s"}
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


def _log() -> Body:
    made = {"path": "/dev/null", "log_format": {"json_format": _LOGGED}}
    return _typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", made)


def _typed(name: str, kind: str, body: Mapping[str, Any]) -> Body:
    return {"name": name, "typed_config": {"@type": f"{_TYPES}.{kind}", **body}}


def _address(port: int) -> Body:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


async def measure(folder: Path) -> list[Table]:
    table = Table(
        "What a request costs as Dragoman configures Envoy, beside the same by hand",
        ("configuration", "CPU us, least", "CPU us, median", "to by hand, median of rounds"),
        notes=[
            f"{_ROUNDS} rounds of {_SECONDS} s in turns; one worker, 16 connections, a backend beside it",
            "to by hand: each round's CPU by that of the same round; the machine is shared",
            "full set: a token (RS256, remembered), a claim as a header, five rules, a local limit",
            "and a JSON access log to /dev/null, which is put into both by hand",
        ],
    )
    if shutil.which("wrk") is None:
        table.notes = ["left out: there is no `wrk`"]
        return [table]
    issuer = tokens.Issuer("https://issuer.example")
    token = issuer.token(aud="shop", scope="cart:read cart:write", role="clerk", exp=_EXPIRES)
    async with AsyncExitStack() as stack:
        backend = net.free_port()
        (folder / "backend").mkdir()
        answering = envoy.Envoy(requests.answering(backend, net.free_port()), folder / "backend")
        stack.push_async_callback(answering.stop)
        await answering.start()
        found = []
        for names, known in ((_BARE, None), (_FULL, issuer)):
            for name, make in zip(names, (written, generated), strict=True):
                shape = Shape(name, [], (_HOST, "/"), port=net.free_port())
                if known is not None:
                    shape.headers = (f"authorization: Bearer {token}",)
                admin = Admin(port=net.free_port())
                given = make(shape.port, backend, known, admin)
                started = await stack.enter_async_context(process.running(given, admin=admin, concurrency=1))
                await started.ready()
                shape.pid = started.pid
                found.append(shape)
        await asyncio.to_thread(_compare, found, token)
        costs: dict[str, list[float]] = {shape.name: [] for shape in found}
        for turn in range(_ROUNDS):
            for shape in found[::-1] if turn % 2 else found:
                costs[shape.name].append((await asyncio.to_thread(requests.load, shape, _SECONDS))[0])
    for hand, ours in (_BARE, _FULL):
        share = median([mine / theirs for theirs, mine in zip(costs[hand], costs[ours], strict=True)])
        for name, part in ((hand, 1.0), (ours, share)):
            table.rows.append((name, f"{min(costs[name]):.1f}", f"{median(costs[name]):.1f}", f"{part:.3f}x"))
        if ours == _FULL[1]:
            table.goals.append(Goal("full set, Dragoman to by hand", share, _MOST, "x"))
    return [table]


def _compare(found: list[Shape], token: str) -> None:
    """All let good requests pass, both of a kind with the same headers; the full ones refuse those without a
    token."""
    heads: dict[str, set[str]] = {}
    for shape in found:
        status, names = _ask(shape, {"authorization": f"Bearer {token}"})
        heads[shape.name] = names
        without, _ = _ask(shape, {})
        wanted = (200, 401 if shape.headers else 200)
        if (status, without) != wanted:
            raise RuntimeError(f"{shape.name}: {status} with a token, {without} without, instead of {wanted}")
    for hand, ours in (_BARE, _FULL):
        if heads[hand] != heads[ours]:
            raise RuntimeError(f"answers differ in {heads[hand] ^ heads[ours]}")


def _ask(shape: Shape, headers: Mapping[str, str]) -> tuple[int, set[str]]:
    """The status, and the names of the answer's headers."""
    connection = http.client.HTTPConnection("127.0.0.1", shape.port, timeout=30)
    try:
        connection.request("GET", "/", headers={"host": _HOST, **headers})
        reply = connection.getresponse()
        reply.read()
        return reply.status, {name.lower() for name, _ in reply.getheaders()}
    finally:
        connection.close()
