"""What became of one object: where it stands, its status, its effective values and who set each, what uses
it.

For `dragoman explain httproute/shop/cart`, as plain data. It reads the IR, which carries origins, so that
what is shown is what Envoy gets and not what was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dragoman.admin import views, wording
from dragoman.explain import access
from dragoman.graph.pipeline import GroupIR, Pipeline
from dragoman.ir import describe, dump, model as ir
from dragoman.refs import FieldPath, Origin, Ref, format_path

Data = views.Data


class UnknownObject(LookupError):  # noqa: N818  (reads as what happened)
    """No object, or more than one, answers to a name; the message says which there are."""


def find(pipeline: Pipeline, name: str) -> Ref:
    """The object behind `kind/namespace/name` or `kind/name`; the kind in any case, singular or plural.

    Raises UnknownObject.
    """
    kind, *rest = name.split("/")
    wanted = {kind.lower(), kind.lower().removesuffix("s"), kind.lower().removesuffix("es")}
    of_kind = [ref for ref in pipeline.objects if ref.kind.lower() in wanted]
    match rest:
        case [namespace, own]:
            found = [ref for ref in of_kind if (ref.namespace, ref.name) == (namespace, own)]
        case [own]:
            found = [ref for ref in of_kind if ref.name == own]
        case _:
            raise UnknownObject(f"`{name}` is not of the form kind/namespace/name")
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownObject(
            f"{name} could be {', '.join(f'{ref.kind.lower()}/{ref.id}' for ref in sorted(found))}"
        )
    kinds = sorted({ref.kind for ref in pipeline.objects})
    others = (
        ", ".join(sorted(ref.id for ref in of_kind)[:10])
        or f"none; kinds there are: {', '.join(kinds) or 'none'}"
    )
    raise UnknownObject(f"there is no {name}; objects of that kind: {others}")


def explain(pipeline: Pipeline, group: str, ref: Ref) -> Data:
    """Everything about one object. Sections that say nothing are left out."""
    view = pipeline.view(group)
    status = pipeline.statuses().get(ref)
    place = pipeline.locate(ref, ())
    placed = _places(pipeline)
    sections: dict[str, list[Data]] = {
        "listeners": list(_listeners(view, ref, placed)),
        "attached": list(_attached(view, ref)),
        "routes": list(_routes(view, ref, placed)),
        "cluster": list(_clusters(view, ref, placed)),
        "used_by": list(_used_by(view, ref)),
    }
    return {
        "object": views.identity(ref),
        "place": f"{place.file}:{place.line}" if place else "",
        "conditions": views.conditions(status.body) if status else [],
        "diagnostics": views.diagnostics(
            (d for d in pipeline.diagnostics() if d.ref == ref), pipeline.locate
        ),
        **{name: rows for name, rows in sections.items() if rows},
    }


Placed = Callable[[Origin | None, FieldPath], Data]


def _places(pipeline: Pipeline) -> Placed:
    """Who set a value: object, field, file and line; `default` where nobody did."""

    def placed(origin: Origin | None, path: FieldPath) -> Data:
        if origin is None:
            return {"from": "default"}
        span = pipeline.locate(origin.ref, origin.path + path)
        at = {"place": f"{span.file}:{span.line}"} if span else {}
        return {"from": f"{origin.ref} {format_path(origin.path + path)}", **at}

    return placed


def _listeners(view: GroupIR, ref: Ref, placed: Placed) -> Iterable[Data]:
    """A Gateway's listeners, where Envoy listens for them, and what policies say of their clients."""
    gateway = view.gateways.get(ref)
    if gateway is None:
        return
    for listener in gateway.listeners:
        binds = [
            dump.plain(bind)
            for bind, one in view.listeners.items()
            if any(o.ref == ref and o == listener.origin for chain in one.chains for o in chain.origins)
        ]
        yield {
            "name": listener.name,
            "protocol": listener.protocol.value,
            "hostname": listener.hostname or "*",
            "envoy": binds,
            "certificates": [str(key.ref) for key in listener.tls.certificates] if listener.tls else [],
            "closed": listener.client.closed,
            "values": list(_settled(view, ref, listener, placed)),
            "routes": sorted(
                str(route)
                for route, found in dump.routes(view).items()
                if any(
                    (a.parent, a.listener) == (ref, listener.name) for one in found for a in one.attachments
                )
            ),
        }


def _settled(view: GroupIR, ref: Ref, listener: ir.GatewayListener, placed: Placed) -> Iterator[Data]:
    """What policies say of a listener's clients, as it holds: listeners of one port share some of it."""
    ways = [
        way for one in view.compromises if (one.gateway, one.name) == (ref, listener.name) for way in one.ways
    ]
    lost = {said.name: way for way in ways for said in way.lost}
    for row in _said(listener.said, placed):
        way = lost.get(row["name"])
        if way is not None:
            row["value"] += f" (not in force: listener {way.name} of {way.winner} decides)"
        yield row
    for way in ways:
        yield from _said(way.taken, placed)


def _attached(view: GroupIR, ref: Ref) -> Iterable[Data]:
    for attachment in (each for one in dump.routes(view).get(ref, ()) for each in one.attachments):
        yield {
            "gateway": attachment.parent.id,
            "listener": attachment.listener,
            "hostnames": list(attachment.hostnames),
        }


def _routes(view: GroupIR, ref: Ref, placed: Placed) -> Iterable[Data]:
    """A route object's matches in order of precedence, with every value that is in force. Where policies make
    them differ between listeners, those of each."""
    found = view.route_sets.get(ref)
    for stand in found.stands if found is not None else ():
        apart = found is not None and len(found.stands) > 1
        where = {"listeners": [f"{a.parent.name} {a.listener}" for a in stand.attachments]} if apart else {}
        for route in sorted(stand.routes, key=lambda r: r.order):
            yield {
                "name": route.name,
                "match": describe.conditions(route.match),
                "action": wording.action(route.action),
                **where,
                **({"needs": needs} if (needs := access.needed(route)) else {}),
                **placed(route.origin, ()),
                "values": [
                    *(
                        {"name": name, "value": value, **placed(_rule(route.origin) if path else None, path)}
                        for name, value, path in _values(route)
                        if not _by_policy(route, name)
                    ),
                    *_said(route.said, placed),
                ],
            }


_POLICY_FIELDS: Final = {
    "timeout": "timeouts.request",
    "timeout per try": "timeouts.perTry",
    "retry": "retries.",
    "host": "rewrite.",
    "path": "rewrite.",
}
"""Values of routes, and the policies' fields that may have set them."""


def _by_policy(route: ir.Route, name: str) -> bool:
    field = _POLICY_FIELDS.get(name)
    return field is not None and any(one.name.startswith(field) for one in route.said)


def _said(said: Iterable[ir.Said], placed: Placed) -> Iterator[Data]:
    """What policies say, each with the one that says it."""
    for one in said:
        yield {"name": one.name, "value": one.value, **placed(one.origin, ())}


_DEFAULT: Final[FieldPath] = ()


def _rule(origin: Origin | None) -> Origin | None:
    """The rule around a match: values are set there."""
    if origin is None or "matches" not in origin.path:
        return origin
    return Origin(origin.ref, origin.path[: origin.path.index("matches")])


def _values(route: ir.Route) -> Iterable[tuple[str, str, FieldPath]]:
    """(name, value, field within the rule); an empty field is a default."""
    filters: FieldPath = ("filters",)
    if route.request_headers:
        yield "request headers", wording.mutation(route.request_headers), filters
    if route.response_headers:
        yield "response headers", wording.mutation(route.response_headers), filters
    if route.cors is not None:
        yield "cors", f"origins {', '.join(route.cors.allow_origins)}", filters
    action = route.action
    if not isinstance(action, ir.Forward):
        return
    if action.rewrite is not None:
        yield "path", wording.rewrite(action.rewrite), filters
    if action.hostname:
        yield "host", f"becomes {action.hostname}", filters
    for mirror in action.mirrors:
        share = 100 * mirror.numerator / mirror.denominator
        yield "mirror", f"{share:.3g}% to {wording.cluster(mirror.cluster)}", filters
    yield "timeout", *_timeout(action.timeout, "request")
    if action.try_timeout is not None:
        yield "timeout per try", *_timeout(action.try_timeout, "backendRequest")
    if action.retry is not None:
        codes = ", ".join(map(str, action.retry.codes))
        yield "retry", f"{action.retry.tries} times{f' on {codes}' if codes else ''}", ("retry",)
    else:
        yield "retry", "none", _DEFAULT
    if action.session is not None:
        kind = action.session.kind.value.lower()
        yield "session persistence", f"by {kind} {action.session.name}", ("sessionPersistence",)


def _timeout(seconds: float | None, field: str) -> tuple[str, FieldPath]:
    if seconds is None:
        return "none", _DEFAULT
    return (f"{seconds:g}s" if seconds else "none"), ("timeouts", field)


def _clusters(view: GroupIR, ref: Ref, placed: Placed) -> Iterable[Data]:
    """What a Service or Backend became."""
    for key, cluster in view.clusters.items():
        if key.ref != ref:
            continue
        found = view.endpoints.get(key.place)
        endpoints = found.endpoints if found else cluster.endpoints
        yield {
            "port": key.port,
            "discovery": cluster.discovery.value,
            "protocol": cluster.protocol.value,
            "tls": (cluster.tls.sni or "yes") if cluster.tls else "no",
            "connect_timeout": f"{cluster.connect_timeout:g}s",
            "endpoints": [wording.endpoint(one) for one in endpoints],
            "policies": [str(policy) for policy in key.policies],
            "values": list(_said(cluster.said, placed)),
        }


def _used_by(view: GroupIR, ref: Ref) -> Iterable[Data]:
    """Routes that send traffic to a backend; listeners and backends that use a secret."""
    for routes in view.route_sets.values():
        if any(key.ref == ref for key in routes.clusters()):
            names = [route.name for route in routes.routes if _uses(route, ref)]
            yield {"object": str(routes.ref), "routes": names}
    for stream in view.streams.values():
        if any(key.ref == ref for key in stream.clusters()):
            yield {"object": str(stream.ref), "routes": []}
    for gateway in view.gateways.values():
        for listener in gateway.listeners:
            if listener.tls and any(key.ref == ref for key in listener.tls.certificates):
                yield {"object": str(gateway.ref), "listener": listener.name}
    for key, cluster in view.clusters.items():
        if cluster.tls and ref in {k.ref for k in (cluster.tls.ca, cluster.tls.certificate) if k}:
            yield {"object": wording.cluster(key)}


def _uses(route: ir.Route, ref: Ref) -> bool:
    if not isinstance(route.action, ir.Forward):
        return False
    keys = [b.cluster for b in route.action.shares()] + [m.cluster for m in route.action.mirrors]
    return any(key is not None and key.ref == ref for key in keys)
