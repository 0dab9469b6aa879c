"""Small IR values for tests: one listener, some routes, in the fewest words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dragoman.ir import model as ir, order
from dragoman.refs import Origin, Ref

BIND = ir.Bind("127.0.0.1", 80)
TLS_BIND = ir.Bind("127.0.0.1", 443)
PLAIN = ir.Scope(BIND)
CERTIFICATE = ir.SecretKey(Ref("", "Secret", "shop", "cert"))
SHOP = Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart")


def service(name: str, port: int = 80) -> ir.ClusterKey:
    return ir.ClusterKey(Ref("", "Service", "shop", name), port)


def forward(*names: str | tuple[str, int]) -> ir.Forward:
    pairs = [(name, 1) if isinstance(name, str) else name for name in names]
    return ir.Forward(tuple(ir.WeightedBackend(service(name), weight) for name, weight in pairs))


def route(
    name: str,
    path: ir.PathMatch | str = "/",
    action: ir.Action | None = None,
    *,
    method: str = "",
    headers: Sequence[ir.HeaderMatch] = (),
    query: Sequence[ir.QueryMatch] = (),
    **more: object,
) -> ir.Route:
    match = ir.RouteMatch(
        ir.SegmentPrefix(path) if isinstance(path, str) else path, method, tuple(headers), tuple(query)
    )
    kind = {ir.ExactPath: order.EXACT, ir.RegexPath: order.REGEX}.get(type(match.path), order.PREFIX)
    text = match.path.pattern if isinstance(match.path, ir.RegexPath) else match.path.value
    place = order.order(
        path_kind=kind,
        path_length=len(text),
        has_method=bool(method),
        headers=len(match.headers),
        query=len(match.query),
        object_id=name,
    )
    origin = Origin(SHOP, ("spec", "rules", 0))
    return ir.Route(name, match, action or forward("cart"), place, origin=origin, **more)  # type: ignore[arg-type]


def plain(
    hosts: Mapping[str, Sequence[ir.Route]],
) -> tuple[dict[ir.Bind, ir.Listener], dict[ir.Scope, dict[str, ir.VirtualHost]]]:
    """One plain listener with these virtual hosts, routes in order of precedence."""
    made = {
        d: ir.VirtualHost(PLAIN, d, tuple(sorted(r, key=lambda each: each.order))) for d, r in hosts.items()
    }
    return {BIND: ir.Listener(BIND, (ir.FilterChain("", None, PLAIN),))}, {PLAIN: made}


def tls(
    hosts: Mapping[str, Mapping[str, Sequence[ir.Route] | None]],
) -> tuple[dict[ir.Bind, ir.Listener], dict[ir.Scope, dict[str, ir.VirtualHost]]]:
    """A TLS listener: chain host name -> domain -> routes; None: misdirected."""
    chains, tables = [], {}
    for name, domains in hosts.items():
        scope = ir.Scope(TLS_BIND, name or "*")
        chains.append(ir.FilterChain(name, ir.TlsTermination((CERTIFICATE,)), scope))
        tables[scope] = {d: ir.VirtualHost(scope, d, tuple(r or ()), r is None) for d, r in domains.items()}
    return {TLS_BIND: ir.Listener(TLS_BIND, tuple(chains))}, tables


@dataclass
class View:
    """A node group's IR, as `graph.pipeline.GroupIR` has it."""

    listeners: dict[ir.Bind, ir.Listener]
    hosts: dict[ir.Scope, dict[str, ir.VirtualHost]]
    clusters: dict[ir.ClusterKey, ir.Cluster] = field(default_factory=dict)
    endpoints: dict[ir.ClusterKey, ir.EndpointSet] = field(default_factory=dict)
    route_sets: dict[Ref, ir.RouteSet] = field(default_factory=dict)
    gateways: dict[Ref, ir.Gateway] = field(default_factory=dict)
    streams: dict[tuple[Ref, str], ir.StreamRoute] = field(default_factory=dict)


def view(
    hosts: Mapping[str, Sequence[ir.Route]], endpoints: Mapping[str, Sequence[ir.Endpoint]] | None = None
) -> View:
    """One plain listener, and the endpoints of Services by name."""
    made = View(*plain(hosts))
    for name, found in (endpoints or {}).items():
        key = service(name)
        made.clusters[key] = ir.Cluster(key, ir.Discovery.EDS)
        made.endpoints[key] = ir.EndpointSet(key, tuple(found))
    return made
