"""How route tables are cut into resources. All knowledge of it is here, in `scoping.py`, and in
`graph/pipeline/shapes.py`, which decides for each table.

A table (`ir.Scope`) is kept as a rope: its host names are spread over 1,024 buckets by their fold, wildcards
are in one of their own. A change among N hosts costs the bytes of one bucket. Small tables are one
RouteConfiguration of all buckets. Envoy applies that as a whole, at 15 to 35 us per host; so a table of some
hundred hosts is cut into 256 scopes (SRDS), each a RouteConfiguration of four buckets and the wildcards, and
one of thousands into 1,024 of one bucket each: a change costs Envoy one scope.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import framing, naming, scoping
from dragoman.envoy.filters import chain
from dragoman.envoy.routes import HostChunk
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto

_PLAIN: Final = ir.TableSettings()
WILDCARDS: Final = -1
"""The bucket of wildcards."""

_EXTENSIONS: Final = resource.NameSet(chain.NAMES)
"""Routes name parts of what these hold, so tables come after them."""


@dataclass(frozen=True, slots=True)
class BucketChunk:
    """The virtual hosts of one bucket. Compares by `digest`, which covers the rest."""

    chunk: bytes = field(repr=False, compare=False)
    digest: str
    clusters: frozenset[str] = field(compare=False)
    hosts: int = field(compare=False)
    sensitive: bool = field(default=False, compare=False)


def bucket(domain: str) -> int:
    """The bucket of a domain: stable across restarts and replicas."""
    return WILDCARDS if domain.startswith("*") else scoping.fold(domain)


def encode_bucket(hosts: Iterable[HostChunk]) -> BucketChunk:
    """One bucket's hosts, ordered by domain whatever order they come in."""
    ordered = sorted(hosts, key=operator.attrgetter("domain"))
    chunk = b"".join(host.chunk for host in ordered)
    clusters: frozenset[str] = frozenset().union(*(host.clusters for host in ordered))
    sensitive = any(host.sensitive for host in ordered)
    return BucketChunk(chunk, resource.digest(chunk), clusters, len(ordered), sensitive)


def route_configuration(
    scope: ir.Scope,
    buckets: Mapping[int, BucketChunk],
    settings: ir.TableSettings = _PLAIN,
    *,
    spare: bool = False,
) -> resource.Resource:
    """The table of `scope`, refering to every cluster of its routes, and to the inner listener of its
    cached ones. Copies no bytes. `spare`: it is cut into scopes as well, and connections of before use it
    still."""
    ordered = [buckets[number] for number in sorted(buckets)]
    name = naming.route_config(scope)
    head = _head(name, settings)
    return resource.Resource(
        resource.ROUTE,
        name,
        resource.digest(b"spare" if spare else b"", head, *(part.digest.encode() for part in ordered)),
        (head, *(part.chunk for part in ordered if part.chunk)),
        _refs(scope, [part.clusters for part in ordered if part.clusters]),
        any(part.sensitive for part in ordered),
        spare=spare,
    )


def scoped_route_configuration(
    scope: ir.Scope,
    cut: scoping.Cut,
    number: int,
    parts: Sequence[BucketChunk],
    settings: ir.TableSettings = _PLAIN,
) -> resource.Resource:
    """One scope of the table of `scope`: `parts` are its buckets and the wildcards. Without any, whoever
    comes to it gets 404."""
    name = scoping.name(naming.route_config(scope), cut, number)
    head = _scope_head(name, settings)
    size = len(head) + sum(len(part.chunk) for part in parts)
    return resource.Resource(
        resource.SCOPE,
        name,
        resource.digest(head, *(part.digest.encode() for part in parts)),
        (_scope_key(name), framing.head(_inline_tag(), size), head, *(part.chunk for part in parts)),
        _refs(scope, [part.clusters for part in parts if part.clusters]),
        any(part.sensitive for part in parts),
        again=_again(),
    )


def holds(name: str, scope: ir.Scope, domain: str) -> bool:
    """Whether the scope of this name holds a host of that table."""
    table, cut, number = scoping.within(name)
    return naming.route_config(scope) == table and bucket(domain) in (WILDCARDS, *scoping.folds(cut, number))


def scopes(table: str, cut: scoping.Cut) -> frozenset[str]:
    """The names of all scopes of a table that is cut like that."""
    return frozenset(scoping.name(table, cut, number) for number in cut.numbers)


def _refs(scope: ir.Scope, clusters: list[frozenset[str]]) -> dict[str, resource.NameSet]:
    refs = {resource.CLUSTER: resource.NameSet(*clusters), resource.EXTENSION: _EXTENSIONS}
    inner = naming.inner(scope)
    if any(inner in part for part in clusters):
        refs[resource.LISTENER] = resource.NameSet(frozenset((inner,)))
    return refs


@functools.lru_cache(maxsize=4096)
def _head(name: str, settings: ir.TableSettings) -> bytes:
    """Everything of a RouteConfiguration but its hosts."""
    return proto.serialize(_made(name, settings))


@functools.lru_cache(maxsize=4096)
def _scope_head(name: str, settings: ir.TableSettings) -> bytes:
    """The same within a scope. As over RDS, a route may be there before its cluster."""
    message = _made(name, settings)
    message.validate_clusters.value = False
    message.request_headers_to_remove.append(scoping.HEADER)
    return proto.serialize(message)


@functools.lru_cache(maxsize=4096)
def _scope_key(name: str) -> bytes:
    message = route_proto.ScopedRouteConfiguration(name=name)
    message.key.fragments.add().string_key = name
    return proto.serialize(message)


@functools.cache
def _inline_tag() -> bytes:
    return framing.tag("envoy.config.route.v3.ScopedRouteConfiguration", "route_configuration")


@functools.cache
def _again() -> bytes:
    """A header that is removed is named once more: the list grows, and nothing else comes of it."""
    message = route_proto.RouteConfiguration(request_headers_to_remove=(scoping.HEADER,))
    return framing.frame(_inline_tag(), proto.serialize(message))


def _made(name: str, settings: ir.TableSettings) -> route_proto.RouteConfiguration:
    message = route_proto.RouteConfiguration(name=name, ignore_port_in_host_matching=True)
    if settings.address:
        option = message.request_headers_to_add.add()
        option.header.key = "x-envoy-external-address"
        option.header.value = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
        option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if settings.http3 is not None:
        option = message.response_headers_to_add.add()
        option.header.key = "alt-svc"
        option.header.value = f'h3=":{settings.http3.port}"; ma={settings.http3.max_age}'
        # A backend behind the gateway has no say in where else the gateway can be reached.
        option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return message
