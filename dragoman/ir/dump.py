"""IR values as plain data, for golden files (`ir.yaml`), `explain -o yaml` and bug reports.

What equals its default is left out; identities become one string; members of a union carry their class's
name. Secrets appear as fingerprints only. The result is made of dicts, lists, strings, numbers and booleans.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from dragoman.ir import client, model as ir, upstream
from dragoman.ir.order import Order
from dragoman.refs import Origin, Ref

_TAGGED: Final = (
    *(ir.ExactPath, ir.SegmentPrefix, ir.StringPrefix, ir.RegexPath),
    *(ir.Exact, ir.Regex, ir.Present),
    *(ir.ReplaceFullPath, ir.ReplacePrefix, ir.ReplacePattern),
    *(ir.HostFromHeader, ir.HostFromPath),
    *(ir.Forward, ir.Redirect, ir.Respond),
    *(upstream.RoundRobin, upstream.LeastRequest, upstream.Random, upstream.RingHash, upstream.Maglev),
    *(upstream.HashHeader, upstream.HashCookie, upstream.HashQuery, upstream.HashAddress),
    *(upstream.HttpProbe, upstream.TcpProbe, upstream.GrpcProbe),
    *(client.TrustedHops, client.TrustedNetworks, client.AddressHeader),
)
"""Members of unions: written as `{ClassName: ...}`, or the bare name where there is nothing to add."""


class View(Protocol):
    """What one node group has: `graph.pipeline.GroupIR`."""

    @property
    def listeners(self) -> Mapping[ir.Bind, ir.Listener]: ...
    @property
    def hosts(self) -> Mapping[ir.Scope, Mapping[str, ir.VirtualHost]]: ...
    @property
    def clusters(self) -> Mapping[ir.ClusterKey, ir.Cluster]: ...
    @property
    def endpoints(self) -> Mapping[ir.ClusterKey, ir.EndpointSet]: ...
    @property
    def route_sets(self) -> Mapping[Ref, ir.RouteSet]: ...
    @property
    def streams(self) -> Mapping[tuple[Ref, str], ir.StreamRoute]: ...
    @property
    def gateways(self) -> Mapping[Ref, ir.Gateway]: ...


def view(group: View) -> dict[str, Any]:
    """A node group's whole IR, sorted, each route written once: in its virtual hosts."""
    return {
        "gateways": [plain(group.gateways[ref]) for ref in sorted(group.gateways)],
        "attachments": {
            str(ref): [plain(each) for one in found for each in one.attachments]
            for ref, found in sorted(routes(group).items())
        },
        "listeners": {plain(bind): _listener(group.listeners[bind]) for bind in sorted(group.listeners)},
        "hosts": {
            plain(scope): {domain: _host(table[domain]) for domain in sorted(table)}
            for scope, table in sorted(group.hosts.items())
        },
        "clusters": {plain(key): _without(group.clusters[key], "key") for key in sorted(group.clusters)},
        "endpoints": {plain(key): plain(group.endpoints[key].endpoints) for key in sorted(group.endpoints)},
    }


def routes(group: View) -> dict[Ref, list[ir.RouteSet | ir.StreamRoute]]:
    """What each route object contributes: routes of connections may do so in several ways."""
    found: dict[Ref, list[ir.RouteSet | ir.StreamRoute]] = {}
    every: list[ir.RouteSet | ir.StreamRoute] = [*group.route_sets.values(), *group.streams.values()]
    for one in every:
        found.setdefault(one.ref, []).append(one)
    return found


def plain(value: Any) -> Any:
    """One IR value, or a container of them."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return int(value) if value.is_integer() else value
        case bytes():
            return fingerprint(value)
        case enum.Enum():
            return value.value
        case Ref() | Origin():
            return str(value)
        case ir.ClusterKey(ref, port, transport, certificate, policies):
            shown = f", with {certificate.id}" if certificate != ir.NOBODY else ""
            shown += f", as {', '.join(map(str, policies))} says" if policies else ""
            return f"{ref}{f':{port}' if port else ''}{f'/{transport}' if transport else ''}{shown}"
        case ir.Said(name, said, origin):
            return f"{name}: {said} ({origin})"
        case ir.SecretKey(ref, use, revoked):
            return f"{ref} ({use})" if revoked == ir.NOBODY else f"{ref} ({use}, less those of {revoked})"
        case ir.Bind(address, port, udp):
            place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            return f"{place}/udp" if udp else place
        case ir.Scope(bind, hostname):
            return f"{plain(bind)} {hostname}".rstrip()
        case Order():
            return list(value)
        case Mapping():
            return {plain(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case _ if isinstance(value, _TAGGED):
            return _tagged(value)
        case _ if dataclasses.is_dataclass(value):
            return _fields(value)
        case _:
            raise TypeError(f"{type(value).__name__} is no IR value")


def fingerprint(secret: bytes) -> str:
    """Tells two secrets apart and nothing else about them."""
    return f"sha256:{hashlib.sha256(secret).hexdigest()[:16]}" if secret else ""


def _tagged(value: Any) -> Any:
    name = type(value).__name__
    found = _fields(value)
    if not found:
        return name
    first = dataclasses.fields(value)[0].name
    return {name: found[first] if found.keys() == {first} else found}


def _fields(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        # Routes are listed in their order; the key behind it says nothing new.
        if isinstance(item, Order) or (default is not dataclasses.MISSING and item == default):
            continue
        found[field.name] = plain(item)
    return found


def _listener(listener: ir.Listener) -> Any:
    """Its chains; what holds for all of them only where it says something."""
    settings = _fields(listener.settings)
    chains = plain(listener.chains)
    return {"settings": settings, "chains": chains} if settings else chains


def _host(host: ir.VirtualHost) -> Any:
    routes = plain(host.routes)
    return "misdirected" if host.misdirected and not routes else routes


def _without(value: Any, name: str) -> dict[str, Any]:
    fields = _fields(value)
    fields.pop(name, None)
    return fields
