"""A request's way as plain data: listener, virtual host, candidates, winner, action, backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

import re2

from dragoman.diagnostics import Locate
from dragoman.envoy import naming
from dragoman.explain import access, expect, limits, text
from dragoman.ir import describe, dump, model as ir, rewrite, treated
from dragoman.ir.match import Candidate, Compile, Match, Matcher, Outcome
from dragoman.ir.request import Prepared, Request
from dragoman.refs import Origin, format_path

Data = dict[str, Any]

_NO_ENDPOINT: Final = 503
_PREFLIGHT: Final = 200

_SAID_BY_FORWARD: Final = (
    *("timeout", "try_timeout", "try_idle", "stream_idle", "duration"),
    *("retry", "session", "fallback", "faults"),
)
"""What a forwarding action may have, as it stands."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer. `data` is JSON-ready and holds everything that `lines` says."""

    match: Match
    data: Data

    def lines(self) -> list[str]:
        """The answer for people, without colour."""
        return list(text.lines(self.data))

    def unmet(self, expectations: Iterable[str]) -> list[str]:
        """One sentence for each expectation (`key=value`) that does not hold.

        Raises ValueError for what is no expectation.
        """
        return expect.unmet(self.data, expectations)


def explain_request(
    view: dump.View, request: Request, locate: Locate | None = None, compile: Compile = re2.compile
) -> Explanation:
    """What Envoy does with `request` in one node group. `locate` finds file and line of fields."""
    match = Matcher(view.listeners, view.hosts, compile).match(request)
    return Explanation(match, describe_match(view, match, locate, compile))


def describe_match(
    view: dump.View, match: Match, locate: Locate | None = None, compile: Compile = re2.compile
) -> Data:
    """A match as an explanation's data."""
    place = _places(locate)
    prepared = match.prepared
    data: Data = {
        "request": str(match.request),
        "outcome": match.outcome.value,
        "status": match.status,
        "notes": list(match.notes),
    }
    if match.bind is not None:
        data["listener"] = _listener(match, place)
    if match.chain is not None and match.chain.stream is not None:
        scheme = "udp" if match.request.udp else "tls" if match.request.scheme == "https" else "tcp"
        data["request"] = f"{scheme}://{match.request.authority}"
        data["action"] = _stream(view, match.chain.stream, place)
    if match.host is not None:
        table = naming.route_config(match.host.scope)
        data["virtual_host"] = {"domain": match.host.domain, "table": table, "passed": list(match.passed)}
        data["candidates"] = [_candidate(each, match, place) for each in match.candidates]
    if match.outcome is Outcome.REFUSED and prepared.reply is not None and prepared.reply.location:
        data["action"] = {"kind": "redirect", "status": match.status, "location": prepared.reply.location}
    if match.winner is not None:
        data |= _won(view, match, match.winner, place, compile)
    return data


_Place = Callable[[Origin | None], Data]


def _places(locate: Locate | None) -> _Place:
    """Object, field, and file and line where they are known."""

    def place(origin: Origin | None) -> Data:
        if origin is None:
            return {}
        found = {"object": str(origin.ref), "field": format_path(origin.path)}
        span = locate(origin.ref, origin.path) if locate is not None else None
        return found if span is None else {**found, "place": f"{span.file}:{span.line}"}

    return place


def _listener(match: Match, place: _Place) -> Data:
    assert match.bind is not None
    found: Data = {"name": naming.listener(match.bind)}
    if match.chain is not None:
        if match.chain.tls is not None:
            found["server_name"] = match.chain.hostname or "*"
            found["certificates"] = [naming.secret(key) for key in match.chain.tls.certificates]
        found["from"] = [place(origin) for origin in match.chain.origins]
    return found


def _candidate(candidate: Candidate, match: Match, place: _Place) -> Data:
    route = candidate.route
    found: Data = {
        "route": route.name,
        "match": describe.conditions(route.match),
        "won": route is match.winner,
        "reason": candidate.reason,
    }
    if candidate.failure is not None:
        failure = candidate.failure
        found["failure"] = {
            "condition": failure.condition,
            "name": failure.name,
            "wanted": failure.wanted,
            "found": failure.found,
        }
    return found | place(route.origin)


def _won(view: dump.View, match: Match, route: ir.Route, place: _Place, compile: Compile) -> Data:
    """The parts that only a request with a route has; `status` where Envoy answers itself."""
    found: Data = {"route": {"name": route.name, **place(route.origin)}}
    action = treated.action(route, match.request, match.prepared)
    maintenance = action is not route.action
    match action:
        case ir.Respond(status):
            body = action.content.text if action.content is not None else action.body
            found |= {"status": status, "action": {"kind": "respond", "status": status, "body": body}}
            if action.headers:
                found["action"]["headers"] = dump.plain(action.headers)
        case ir.Redirect():
            where = rewrite.location(action, match.request, match.prepared, compile)
            found["status"] = action.status
            found["action"] = {"kind": "redirect", "status": action.status, "location": where}
        case ir.Forward():
            case = treated.case(action, match.request)
            if case is not None:
                found["case"] = {"words": describe.claims(case.claims), **place(case.origin)}
                action = replace(action, backends=case.backends)
            if match.request.claims:
                action = replace(action, cases=())  # it is decided
            found["action"] = _forward(view, action, route, match.prepared, place, compile)
            found["status"] = _own_status(found["action"]["clusters"], action.failure)
        case _:
            assert_never(action)
    for name in ("request_headers", "response_headers"):
        if getattr(route, name):
            found[name] = dump.plain(getattr(route, name))
    if route.treatment:
        found["treatment"] = dump.plain(route.treatment)
    if route.limits:
        found["limits"] = list(limits.found(route, match.request, match.prepared, compile))
    if route.said:
        found["policies"] = [{"name": e.name, "value": e.value, **place(e.origin)} for e in route.said]
    if route.cors is not None:
        found["cors"] = dump.plain(route.cors)
        origin = ",".join(match.prepared.headers.get("origin", ()))
        found["origin_allowed"] = any(_allows(each, origin) for each in route.cors.allow_origins) or any(
            compile(pattern).fullmatch(origin) for pattern in route.cors.patterns
        )
        found["preflight"] = (
            bool(origin) and _forwards(route.action) and _preflight(match.request, match.prepared)
        )
        if found["preflight"]:
            found["status"] = _PREFLIGHT
    asked = access.found(route, match.request, match.prepared, compile)
    if asked is not None and not maintenance:  # that answers before anybody asks who it is
        found["access"] = asked
        if asked["verdict"] == access.REFUSED and not found.get("preflight"):
            found["status"] = asked["status"]
    return found


def _stream(view: dump.View, stream: ir.Stream, place: _Place) -> Data:
    """Where a connection or datagram goes that nobody looks into."""
    return {
        "kind": "stream",
        "route": stream.name,
        "clusters": [_share(view, each, stream.backends, place) for each in stream.backends],
    }


def _forward(
    view: dump.View, action: ir.Forward, route: ir.Route, prepared: Prepared, place: _Place, compile: Compile
) -> Data:
    asked = replace(prepared, query=treated.query(route.treatment.query, prepared.query))
    found: Data = {
        "kind": "forward",
        "path": rewrite.path(action.rewrite, asked, compile),
        "host": treated.host(action, route, prepared, compile),
        "clusters": [_share(view, each, action.backends, place, action.failure) for each in action.backends],
        "websocket": action.websocket,
    }
    if action.cases:
        found["cases"] = [
            {
                "words": describe.claims(case.claims),
                "clusters": [
                    _share(view, each, case.backends, place, action.failure) for each in case.backends
                ],
                **place(case.origin),
            }
            for case in action.cases
        ]
    for name in _SAID_BY_FORWARD:
        value = getattr(action, name)
        if value is not None:
            found[name] = dump.plain(value)
    if action.mirrors:
        found["mirrors"] = [
            {
                "name": naming.cluster(each.cluster),
                "percent": round(100 * each.numerator / each.denominator, 3),
            }
            for each in action.mirrors
        ]
    return found


def _share(
    view: dump.View,
    backend: ir.WeightedBackend,
    all_of_them: Sequence[ir.WeightedBackend],
    place: _Place,
    failure: int | None = None,
) -> Data:
    """`failure`: what its share is answered where it has no cluster; None: connections are closed."""
    total = sum(each.weight for each in all_of_them)
    found: Data = {
        "name": naming.cluster(backend.cluster) if backend.cluster is not None else None,
        "weight": backend.weight,
        "percent": round(100 * backend.weight / total, 2) if total else 0,
    }
    if backend.cluster is None:
        found["reason"] = backend.reason
        if failure is not None:
            found["status"] = failure
    else:
        found["endpoints"] = _endpoints(view, backend.cluster)
        cluster = view.clusters.get(backend.cluster)
        if cluster is not None and cluster.said:
            found["policies"] = [{"name": e.name, "value": e.value, **place(e.origin)} for e in cluster.said]
    for name in ("request_headers", "response_headers"):
        if getattr(backend, name):
            found[name] = dump.plain(getattr(backend, name))
    return found | place(backend.origin)


def _endpoints(view: dump.View, key: ir.ClusterKey) -> Data:
    """How many there are and how many get requests. Host names count as ready: Envoy resolves them."""
    cluster, own = view.clusters.get(key), view.endpoints.get(key.place)
    inside = cluster.endpoints if cluster is not None else ()
    there = [each for each in (own.endpoints if own is not None else inside) if each.weight > 0]
    ready = [each for each in there if each.health is ir.Health.HEALTHY]
    found: Data = {"ready": len(ready), "total": len(there)}
    if cluster is not None and cluster.discovery is ir.Discovery.DNS:
        found["by"] = "dns"
    return found | {"addresses": [_address(each) for each in there]}


def _address(endpoint: ir.Endpoint) -> str:
    where = dump.plain(ir.Bind(endpoint.address, endpoint.port)) if endpoint.port else endpoint.address
    return f"{where}" if endpoint.health is ir.Health.HEALTHY else f"{where} {endpoint.health.value}"


def _own_status(clusters: Sequence[Data], failure: int) -> int | None:
    """What Envoy answers when no share of the traffic can be served; None: a backend answers."""
    shares = [each for each in clusters if each["weight"] > 0]
    if all(each["name"] is None for each in shares):
        return failure
    if all(each["name"] is not None and not each["endpoints"]["ready"] for each in shares):
        return _NO_ENDPOINT
    return None


def _forwards(action: ir.Action) -> bool:
    """Whether Envoy's CORS filter answers preflights: not where Envoy answers everything itself."""
    return isinstance(action, ir.Forward) and any(
        each.cluster is not None and each.weight for each in action.backends
    )


def _preflight(request: Request, prepared: Prepared) -> bool:
    """Whether Envoy's CORS filter answers itself; an origin that is not allowed gets no CORS headers."""
    return request.method == "OPTIONS" and any(prepared.headers.get("access-control-request-method", ()))


def _allows(pattern: str, origin: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return bool(origin) and pattern == origin
    long_enough = len(origin) > len(before) + len(after)
    return long_enough and origin.startswith(before) and origin.endswith(after)
