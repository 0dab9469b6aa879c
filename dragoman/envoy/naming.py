"""Every name that Envoy sees, made from identity and read back to the object.

A name never holds a position: re-ordering rules renames nothing, so no connection is drained and no
statistic restarts. Names are injective (two objects never share one) and stable (versions of resources
hang on them). The encoders make them, the pipeline uses them as keys, and `ref_of` leads from a NACK back to
the object.

    Service/shop/checkout/8080          a cluster and its endpoints
    Service/shop/db/5432/tcp            the same, spoken to in plain bytes (`tls`: passed through, `udp`)
    Service/shop/pay/443//Secret%2Finfra%2Fid   the same, with a client certificate
    Service/shop/pay/443///TrafficPolicy%2Fshop%2Fslow   the same, as a policy of its users wants it
    Service/shop/pay/443////Backend%2Fshop%2Fext   the pair of a cluster and the one that takes over
    Backend/shop/ext                    the same for an object without ports
    127.0.0.1:8080                      a listener, and the route table of its plain HTTP
    127.0.0.1:8443/*.shop.example       the route table and filter chain of one TLS host name (`*`: any)
    manager:127.0.0.1:8443/*.shop.example@0123456789ab   the connection manager of that host name
    cache:127.0.0.1:8080                the inner listener behind the cache of a route table, and its cluster
    Secret/shop/cert/tls                a secret and what it is used for
    Gateway/shop/edge/ca/ClientPolicy%2Fshop%2Fmtls   authorities, with the certificates revoked that it lists
    127.0.0.1:8443/udp                  the same port's HTTP/3
"""

from __future__ import annotations

import functools
from typing import Final
from urllib.parse import unquote

from dragoman import resource
from dragoman.ir import model as ir
from dragoman.refs import Ref

INVALID_CLUSTER: Final = "invalid-backend"
"""A cluster that never exists: its share of traffic gets a 500. No object has this name (no slash)."""

_GATEWAY_API: Final = (
    *("Gateway", "ListenerSet", "BackendTLSPolicy"),
    *("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"),
)
_OWN: Final = (
    *("Backend", "TrafficPolicy", "HTTPPolicy", "ClientPolicy", "AuthPolicy", "Consumer"),
    "RateLimitPolicy",
)
_GROUPS: Final = {
    **dict.fromkeys(_OWN, "dragoman.dev"),
    **dict.fromkeys(_GATEWAY_API, "gateway.networking.k8s.io"),
}
"""The groups that bare kinds stand for, where that is not the core group; others are written `Kind.group`."""


def _escape(text: str) -> str:
    """Keeps `/` for separators and `%` for this escape. Names that Kubernetes accepts come out unchanged."""
    if "/" in text or "%" in text:
        return text.replace("%", "%25").replace("/", "%2F")
    return text


def _object(ref: Ref) -> str:
    kind = _escape(ref.kind).replace(".", "%2E")
    if ref.group != _GROUPS.get(ref.kind, ""):
        kind = f"{kind}.{_escape(ref.group)}"
    return f"{kind}/{_escape(ref.namespace)}/{_escape(ref.name)}"


def _ref(kind_and_group: str, namespace: str, name: str) -> Ref:
    kind, dot, group = kind_and_group.partition(".")
    kind = unquote(kind)
    return Ref(unquote(group) if dot else _GROUPS.get(kind, ""), kind, unquote(namespace), unquote(name))


@functools.lru_cache(maxsize=65536)  # asked for by route, cluster and endpoints alike
def cluster(key: ir.ClusterKey) -> str:
    """The name of a cluster and of its endpoints: `Service/shop/checkout/8080`; without port 0."""
    parts = [
        _object(key.ref),
        str(key.port or ""),
        _escape(key.transport),
        _escape(_object(key.certificate)) if key.certificate != ir.NOBODY else "",
        "+".join(_escape(_object(policy)).replace("+", "%2B") for policy in key.policies),
        *(_escape(cluster(one)) for one in key.reserve),
    ]
    while not parts[-1]:
        parts.pop()
    return "/".join(parts)


def secret(key: ir.SecretKey) -> str:
    """`Secret/shop/cert/tls`."""
    name = f"{_object(key.ref)}/{_escape(key.use)}"
    return name if key.revoked == ir.NOBODY else f"{name}/{_escape(_object(key.revoked))}"


def listener(bind: ir.Bind) -> str:
    """`127.0.0.1:8080`, `[::1]:8080`, `127.0.0.1:53/udp`."""
    name = f"[{bind.address}]:{bind.port}" if ":" in bind.address else f"{bind.address}:{bind.port}"
    return f"{name}/udp" if bind.udp else name


def route_config(scope: ir.Scope) -> str:
    """`127.0.0.1:8080` for plain HTTP, `127.0.0.1:8443/*.shop.example` for one TLS host name."""
    return f"{listener(scope.bind)}/{scope.hostname}" if scope.hostname else listener(scope.bind)


def manager(scope: ir.Scope, mark: str, version: str) -> str:
    """The connection manager of one TLS host name, where it is a resource of its own:
    `manager:127.0.0.1:8443/*.shop.example@0123456789ab`. `mark`: of how its table is cut
    (`scoping.Cut`). `version`: a hash of its content. Another content is another resource: Envoy 1.40
    crashes when the manager changes of a chain that it has kept through a change of its listener."""
    return f"manager:{route_config(scope)}{mark}@{version[:12]}"


def inner(scope: ir.Scope) -> str:
    """What the cache of a route table asks (`envoy.inner`): `cache:127.0.0.1:8080`. No object's name is like
    it (less than two slashes)."""
    return f"cache:{route_config(scope)}"


def virtual_host(scope: ir.Scope, domain: str) -> str:
    """Unique within its route table, as Envoy asks: the domain itself."""
    del scope  # the table's name already says it
    return domain


def refs_of(type_url: str, name: str) -> tuple[Ref, ...]:
    """The objects behind a cluster (its policies too), its endpoints or a secret; none for tables and
    listeners."""
    parts = name.split("/")
    match type_url:
        case resource.CLUSTER | resource.ENDPOINT if 3 <= len(parts) <= 8:
            policies = [policy for policy in parts[6].split("+") if policy] if len(parts) > 6 else ()
            reserve = refs_of(type_url, unquote(parts[7])) if len(parts) > 7 else ()
            return _ref(*parts[:3]), *(_ref(*unquote(policy).split("/")) for policy in policies), *reserve
        case resource.SECRET if 4 <= len(parts) <= 5:
            return _ref(*parts[:3]), *(_ref(*unquote(revoked).split("/")) for revoked in parts[4:])
        case _:
            return ()


def backend_of(name: str) -> tuple[Ref, int] | None:
    """Object and port (0: none) behind a cluster's name, however it is spoken to."""
    parts = name.split("/")
    if not 3 <= len(parts) <= 7:
        return None
    port = parts[3] if len(parts) > 3 else ""
    return _ref(*parts[:3]), int(port) if port.isdigit() else 0


def route_ref(name: str) -> Ref | None:
    """The object behind an Envoy route, from its name: `HTTPRoute/shop/cart/#0/1`."""
    parts = name.split("/")
    return _ref(*parts[:3]) if len(parts) > 3 else None
