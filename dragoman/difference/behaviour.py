"""Differences by behaviour: which requests are answered differently, which ports open and close.

Samples are taken of every route that only one side has, of all routes of a virtual host whose order
changed, and of all routes of a virtual host that is new or gone. A route that stays the same can be
answered differently only where one of these comes before it, and their samples show that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import re2

from dragoman.difference import clients, samples
from dragoman.difference.change import Change, kind
from dragoman.difference.resources import fields
from dragoman.envoy import naming
from dragoman.explain import request as explanation, treatment
from dragoman.explain.text import mutation
from dragoman.ir import dump, model as ir, request as requests
from dragoman.ir.match import Compile, Matcher
from dragoman.ir.request import Request

Answer = Mapping[str, str]
"""What happens to a request, aspect by aspect, in words."""

_GOES: Final = "goes to"
_TIMES: Final = (
    ("timeout", "timeout"),
    ("try_timeout", "timeout per try"),
    ("try_idle", "idle timeout per try"),
    ("stream_idle", "idle timeout"),
    ("duration", "longest stream"),
)


def behaviour(before: dump.View, after: dump.View, compile: Compile = re2.compile) -> list[Change]:
    """Every difference that a client or a backend could notice: listeners, requests, clusters, endpoints."""
    return [
        *_listeners(before, after),
        *_requests(before, after, compile),
        *_clusters(before, after),
        *_endpoints(before, after),
    ]


# --- listeners --------------------------------------------------------------------------------------------


def _listeners(before: dump.View, after: dump.View) -> Iterator[Change]:
    for bind in sorted(before.listeners.keys() | after.listeners.keys()):
        was, now = before.listeners.get(bind), after.listeners.get(bind)
        if was == now:
            continue
        name = naming.listener(bind)
        if was is None or now is None:
            some = was or now
            assert some is not None
            word = "opens" if was is None else "closes"
            yield Change(kind(was, now), "listener", name, (f"{word} for {_protocol(some)}",))
        else:
            yield Change("changed", "listener", name, tuple(_chains(was, now)))


def _protocol(listener: ir.Listener) -> str:
    if listener.bind.udp and not any(chain.quic for chain in listener.chains):
        return "UDP"
    names: dict[str, list[str]] = {}
    for chain in listener.chains:
        names.setdefault(_kind(chain), []).append(chain.hostname or "any name")
    return ", ".join(
        f"{kind} ({', '.join(found)})" if kind in ("HTTPS", "HTTP/3", "TLS") else kind
        for kind, found in names.items()
    )


def _kind(chain: ir.FilterChain) -> str:
    if chain.quic:
        return "HTTP/3"
    if chain.stream is None:
        return "HTTPS" if chain.tls is not None else "HTTP"
    return "TLS" if chain.tls is not None or chain.stream.passthrough else "TCP"


def _chains(was: ir.Listener, now: ir.Listener) -> Iterator[str]:
    old = {chain.hostname: chain for chain in was.chains}
    new = {chain.hostname: chain for chain in now.chains}
    if {*map(_kind, was.chains)} != {*map(_kind, now.chains)}:
        yield f"{_protocol(was)} → {_protocol(now)}"
        return
    yield from clients.settings("", was.settings, now.settings)
    for name in sorted(old.keys() | new.keys()):
        first, second = old.get(name), new.get(name)
        server = f"server name {name or '(any)'}"
        if first is None or second is None:
            yield f"{server}: {kind(first, second)}"
        elif first.stream != second.stream:
            yield f"{server}: {_goes(first)} → {_goes(second)}"
        else:
            for what, tell in (("certificates", _certificates), ("clients", _clients)):
                if tell(first) != tell(second):
                    yield f"{server}: {what} {tell(first)} → {tell(second)}"
            yield from clients.chain(server, first, second)


def _goes(chain: ir.FilterChain) -> str:
    backends = chain.stream.backends if chain.stream is not None else ()
    shares = [
        f"{naming.cluster(each.cluster) if each.cluster is not None else 'nowhere'} {each.weight}"
        for each in backends
    ]
    return ", ".join(shares) or "closed"


def _certificates(chain: ir.FilterChain) -> str:
    return (
        ", ".join(naming.secret(key) for key in chain.tls.certificates) if chain.tls is not None else "none"
    )


def _clients(chain: ir.FilterChain) -> str:
    asked = chain.tls.clients if chain.tls is not None else None
    if asked is None:
        return "unchecked"
    return f"{'asked for' if asked.optional else 'must have'} a certificate of {naming.secret(asked.ca)}"


# --- requests ---------------------------------------------------------------------------------------------


def _requests(before: dump.View, after: dump.View, compile: Compile) -> Iterator[Change]:
    """Ports that only one side has are told as such; their requests are not."""
    sides = (
        (before, Matcher(before.listeners, before.hosts, compile)),
        (
            after,
            Matcher(after.listeners, after.hosts, compile),
        ),
    )
    told: set[Request] = set()
    for bind in sorted(before.listeners.keys() & after.listeners.keys()):
        for listener, chain, domain, routes in _differing(before, after, bind):
            for route in routes:
                seen: set[tuple[str, ...]] = set()
                for sample in samples.requests(listener, chain, domain, route.match):
                    if sample in told:
                        continue
                    told.add(sample)
                    was, now = (_answer(view, matcher, sample) for view, matcher in sides)
                    gist = tuple(_aspects(_without_paths(was), _without_paths(now)))
                    if was != now and gist not in seen:
                        seen.add(gist)
                        yield Change("changed", "request", _title(sample), tuple(_aspects(was, now)))


def _differing(
    before: dump.View, after: dump.View, bind: ir.Bind
) -> Iterator[tuple[ir.Listener, ir.FilterChain, str, list[ir.Route]]]:
    """Where samples are taken: listener, chain, domain, and the routes to sample."""
    chains = {
        chain.scope: (view.listeners[bind], chain)
        for view in (before, after)
        for chain in view.listeners[bind].chains
        if not chain.quic  # its requests are those of the same table over TCP
    }
    for scope, (listener, chain) in sorted(chains.items()):
        old, new = before.hosts.get(scope, {}), after.hosts.get(scope, {})
        for domain in sorted(old.keys() | new.keys()):
            was, now = old.get(domain), new.get(domain)
            if was != now:
                yield listener, chain, domain, list(_to_sample(was, now))


def _to_sample(was: ir.VirtualHost | None, now: ir.VirtualHost | None) -> Iterator[ir.Route]:
    """The routes that only one side has; all of them where the order of the others changed."""
    old, new = (host.routes if host is not None else () for host in (was, now))
    known = frozenset(old) & frozenset(new)
    reordered = [r for r in old if r in known] != [r for r in new if r in known]
    for route in dict.fromkeys((*new, *old)):
        if reordered or route not in known:
            yield route


def _answer(view: dump.View, matcher: Matcher, request: Request) -> Answer:
    """What a client or a backend sees of it. Which route it was plays no part, nor do endpoints."""
    data = explanation.describe_match(view, matcher.match(request, thorough=False))
    action = data.get("action", {})
    found: dict[str, str] = {_GOES: _destination(data)}
    if action.get("kind") == "forward":
        found |= {"path": action["path"], "host": action["host"]}
        for each in action["clusters"]:
            for name in ("request_headers", "response_headers"):
                if name in each:
                    found[f"{name.replace('_', ' ')} for {each['name']}"] = mutation(each[name])
        found |= {
            f"if the token says {each['words']}": _shares(each["clusters"])
            for each in action.get("cases", ())
        }
        found |= {f"mirror to {each['name']}": f"{each['percent']:g}%" for each in action.get("mirrors", ())}
        for name, title in _TIMES:
            if name in action:
                found[title] = f"{action[name]:g} s"
        for name in ("retry", "session", "fallback", "faults"):
            if name in action:
                found[name] = _flat(action[name])
        if not action["websocket"]:
            found["websocket"] = "refused"
    elif action.get("body"):
        found["body"] = action["body"]
    for name in ("request_headers", "response_headers"):
        if name in data:
            found[name.replace("_", " ")] = mutation(data[name])
    if "cors" in data:
        found["cors"] = _flat(data["cors"])
    if "treatment" in data:
        found |= dict(treatment.words(data["treatment"]))
    return found


def _without_paths(answer: Answer) -> Answer:
    """What samples of one route, which differ in their paths, have in common."""
    return {name: value.partition(" to ")[0] for name, value in answer.items() if name != "path"}


def _destination(data: Mapping[str, Any]) -> str:
    action = data.get("action", {})
    if action.get("kind") == "redirect":
        return f"{action['status']} to {action['location']}"
    if action.get("kind") != "forward":
        return str(data["status"] or data["outcome"])
    return _shares(action["clusters"])


def _shares(clusters: Sequence[Mapping[str, Any]]) -> str:
    shares = [each for each in clusters if each["weight"]]
    if len(shares) == 1 and shares[0]["name"]:
        return str(shares[0]["name"])
    return ", ".join(f"{each['name'] or 500} {each['percent']:g}%" for each in shares) or "500"


def _aspects(was: Answer, now: Answer) -> Iterator[str]:
    """`Service/a/80 → Service/b/80`, then what else differs; no more where only one side forwards."""
    if was[_GOES] != now[_GOES]:
        yield f"{was[_GOES]} → {now[_GOES]}"
        if ("path" in was) is not ("path" in now):
            return
    for name in dict.fromkeys((*was, *now)):
        if name != _GOES and was.get(name) != now.get(name):
            yield f"{name}: {was.get(name, 'none')} → {now.get(name, 'none')}"


def _flat(data: Mapping[str, Any]) -> str:
    parts = []
    for name, value in data.items():
        match value:
            case list():
                shown = ", ".join(map(str, value))
            case dict():
                shown = f"({_flat(value)})"
            case _:
                shown = str(value)
        parts.append(f"{name} {shown}")
    return "; ".join(parts)


def _title(request: Request) -> str:
    port = f":{request.port}" if request.port != requests.WELL_KNOWN[request.scheme] else ""
    headers = "".join(f" [{name}: {value}]" for name, value in request.headers)
    return f"{request.method} {request.scheme}://{request.authority}{port}{request.path}{headers}"


# --- backends ---------------------------------------------------------------------------------------------


def _clusters(before: dump.View, after: dump.View) -> Iterator[Change]:
    for key in sorted(before.clusters.keys() & after.clusters.keys()):
        was, now = before.clusters[key], after.clusters[key]
        if was != now:
            details = tuple(fields(_settings(was), _settings(now)))
            if details:
                yield Change("changed", "cluster", naming.cluster(key), details)


def _settings(cluster: ir.Cluster) -> Any:
    found = dump.plain(cluster)
    for name in ("endpoints", "origin"):
        found.pop(name, None)
    return found


def _endpoints(before: dump.View, after: dump.View) -> Iterator[Change]:
    """Of clusters that both sides use: a new cluster's endpoints are no news."""
    for key in sorted(before.clusters.keys() & after.clusters.keys()):
        was, now = _members(before, key), _members(after, key)
        details = [
            f"{address} {kind(was.get(address), now.get(address))}"
            if address not in was or address not in now
            else f"{address}: {was[address]} → {now[address]}"
            for address in sorted(was.keys() | now.keys())
            if was.get(address) != now.get(address)
        ]
        if details:
            yield Change("changed", "endpoints", naming.cluster(key), tuple(details))


def _members(view: dump.View, key: ir.ClusterKey) -> dict[str, str]:
    """Address -> state, in words."""
    own = view.endpoints.get(key.place)
    found: dict[str, str] = {}
    for each in own.endpoints if own is not None else view.clusters[key].endpoints:
        where = dump.plain(ir.Bind(each.address, each.port)) if each.port else each.address
        state = [each.health.value]
        state += [f"weight {each.weight}"] if each.weight != 1 else []
        state += [f"zone {each.zone}"] if each.zone else []
        state += [f"priority {each.priority}"] if each.priority else []
        found[where] = ", ".join(state)
    return found
