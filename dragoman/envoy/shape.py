"""How route tables are cut into resources. All knowledge of it is here, and only here.

Today a table (`ir.Scope`) is one RouteConfiguration, kept as a rope: its hosts are spread over 128
buckets by hash, so that a change among N hosts costs the bytes of one bucket and a join of 128 pieces
that are not copied, instead of all N. Envoy still applies the whole table (15 us per host); when tables
grow past some hundred hosts, scoped routes and matcher trees are cut here as well, and nobody else will
notice. Called by the pipeline.
"""

from __future__ import annotations

import functools
import operator
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import naming
from dragoman.envoy.filters import chain
from dragoman.envoy.routes import HostChunk
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto

_PLAIN: Final = ir.TableSettings()
BUCKETS: Final = 128
"""Near the square root of the 10,000 hosts that a table should bear; a power of two."""


_EXTENSIONS: Final = resource.NameSet(chain.NAMES)
"""Routes name parts of what these hold, so tables come after them."""


@dataclass(frozen=True, slots=True)
class BucketChunk:
    """The virtual hosts of one bucket. Compares by `digest`, which covers the rest."""

    chunk: bytes = field(repr=False, compare=False)
    digest: str
    clusters: frozenset[str] = field(compare=False)


def bucket(domain: str) -> int:
    """The bucket of a domain: stable across restarts and replicas."""
    return zlib.crc32(domain.encode()) % BUCKETS


def encode_bucket(hosts: Iterable[HostChunk]) -> BucketChunk:
    """One bucket's hosts, ordered by domain whatever order they come in."""
    ordered = sorted(hosts, key=operator.attrgetter("domain"))
    chunk = b"".join(host.chunk for host in ordered)
    clusters: frozenset[str] = frozenset().union(*(host.clusters for host in ordered))
    return BucketChunk(chunk, resource.digest(chunk), clusters)


def route_configuration(
    scope: ir.Scope, buckets: Mapping[int, BucketChunk], settings: ir.TableSettings = _PLAIN
) -> resource.Resource:
    """The table of `scope`, refering to every cluster of its routes, and to the inner listener of its cached
    ones. Copies no bytes."""
    ordered = [buckets[number] for number in sorted(buckets)]
    name = naming.route_config(scope)
    head = _head(name, settings)
    return resource.Resource(
        resource.ROUTE,
        name,
        resource.digest(head, *(part.digest.encode() for part in ordered)),
        (head, *(part.chunk for part in ordered if part.chunk)),
        _refs(scope, [part.clusters for part in ordered if part.clusters]),
    )


def _refs(scope: ir.Scope, clusters: list[frozenset[str]]) -> dict[str, resource.NameSet]:
    refs = {resource.CLUSTER: resource.NameSet(*clusters), resource.EXTENSION: _EXTENSIONS}
    inner = naming.inner(scope)
    if any(inner in part for part in clusters):
        refs[resource.LISTENER] = resource.NameSet(frozenset((inner,)))
    return refs


@functools.lru_cache(maxsize=4096)
def _head(name: str, settings: ir.TableSettings) -> bytes:
    """Everything of a RouteConfiguration but its hosts."""
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
    return proto.serialize(message)
