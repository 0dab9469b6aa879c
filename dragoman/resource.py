"""`Resource`: one named xDS resource as finished bytes.

The encoder (`envoy/`) makes them, the graph carries them, the server (`xds/`) sends them; the two never
import one another, so the value they share stands below both. A resource never holds a protobuf message:
payloads are serialised once and shared by all streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import xxhash

from dragoman import frozen

_PREFIX: Final = "type.googleapis.com/"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPE: Final = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
CHAIN: Final = _PREFIX + "envoy.config.listener.v3.FilterChain"
WHOLE: Final = "dragoman/whole-listener"
"""A listener with its filter chains in it, for who cannot fetch them one by one (`xds.whole`). It is sent as
a listener."""

FETCHING: Final = "-chains"
"""What the version of a listener ends with that names filter chains to be fetched (FCDS). A proxy that comes
back says the versions that it has, and so which of its listeners will ask for chains (`xds.planner`)."""

LIMITS: Final = _PREFIX + "dragoman.v1alpha1.RateLimits"
"""One Gateway's limits for our own rate-limit service (`dragoman.ratelimit.published`)."""
GO_LIMITS: Final = _PREFIX + "ratelimit.config.ratelimit.v3.RateLimitConfig"
"""The same for envoyproxy/ratelimit."""

TYPES: Final = (CLUSTER, ENDPOINT, EXTENSION, CHAIN, SCOPE, LISTENER, ROUTE, SECRET)
"""Every type that Envoys are served, in the order in which a change is sent (rule 59)."""

SERVED: Final = (*TYPES, LIMITS, GO_LIMITS)
"""Every type."""

SHORT: Final[Mapping[str, str]] = {
    CLUSTER: "CDS",
    ENDPOINT: "EDS",
    LISTENER: "LDS",
    ROUTE: "RDS",
    SCOPE: "SRDS",
    SECRET: "SDS",
    EXTENSION: "ECDS",
    CHAIN: "FCDS",
    WHOLE: "LDS with chains",
    LIMITS: "RateLimits",
    GO_LIMITS: "RateLimitConfig",
}


_FEW: Final = 3


class NameSet:
    """An immutable set of names, kept in parts so that one changed part costs only itself.

    A route table of 10,000 hosts refers to 10,000 clusters; its parts are shared between versions.
    """

    __slots__ = ("parts",)

    def __init__(self, *parts: frozenset[str] | tuple[str, ...]) -> None:
        """Each part without duplicates. A tuple is for a name or two: a set takes four times as much."""
        self.parts = parts

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self.parts)

    def __iter__(self) -> Iterator[str]:
        if len(self.parts) == 1:
            return iter(self.parts[0])
        return iter(frozenset().union(*self.parts))

    def __bool__(self) -> bool:
        return any(self.parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NameSet):
            return NotImplemented
        return frozenset(self) == frozenset(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"NameSet({', '.join(sorted(self))})"

    def isdisjoint(self, names: frozenset[str] | set[str]) -> bool:
        """Whether no name of `names` is in this set. Costs the smaller side, part by part."""
        return all(names.isdisjoint(part) for part in self.parts)


NO_NAMES: Final = NameSet()
NO_REFS: Final[Mapping[str, NameSet]] = MappingProxyType({})


class OneRef(Mapping[str, NameSet]):
    """That a resource refers to one other, as every cluster does to its endpoints: a dict with a set in it
    takes six times as much."""

    __slots__ = ("_name", "_type_url")

    def __init__(self, type_url: str, name: str) -> None:
        self._type_url = type_url
        self._name = name

    def __getitem__(self, type_url: str) -> NameSet:
        if type_url != self._type_url:
            raise KeyError(type_url)
        return NameSet((self._name,))

    def get(self, type_url: str, default: Any = None) -> Any:
        return NameSet((self._name,)) if type_url == self._type_url else default

    def __contains__(self, type_url: object) -> bool:
        return type_url == self._type_url

    def __iter__(self) -> Iterator[str]:
        return iter((self._type_url,))

    def __len__(self) -> int:
        return 1


@frozen.statically
@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One xDS resource.

    `chunks` joined are the serialised message (without `Any` framing); they stay apart so that large
    route tables share what did not change. `version` is a hash of the content: replicas and restarts
    agree (rule 42). `refs` maps a type URL to the names this resource refers to, so that `xds` can order
    a change without decoding. `sensitive` payloads are redacted in dumps, CSDS and the console. `spare`:
    only connections that come to their end use it still, so that a stream is sent it now and then.
    `again`: bytes that may stand behind the message any number of times and change nothing but its hash.
    `lazy`: a cluster that a proxy may fetch at the first request for it.
    """

    type_url: str
    name: str
    version: str
    chunks: tuple[bytes, ...] = field(repr=False)
    refs: Mapping[str, NameSet] = field(default_factory=dict, repr=False)
    sensitive: bool = False
    spare: bool = False
    again: bytes = field(default=b"", repr=False)
    lazy: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        return self.version == other.version and self.name == other.name and self.type_url == other.type_url

    def __hash__(self) -> int:
        return hash((self.type_url, self.name, self.version))

    @property
    def payload(self) -> bytes:
        """The serialised message."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    @property
    def size(self) -> int:
        """Bytes of the serialised message."""
        return sum(map(len, self.chunks))

    def anew(self, times: int) -> Resource:
        """The same for a client that would take it for known, if there is a form for that."""
        if not self.again:
            return self
        return replace(self, version=f"{self.version}.{times}", chunks=(*self.chunks, self.again * times))

    @property
    def fetches(self) -> bool:
        """Whether it is a listener whose filter chains are fetched, be there any by now or not."""
        return CHAIN in self.refs

    def refers(self, type_url: str) -> NameSet:
        """The names of `type_url` that this resource needs."""
        return self.refs.get(type_url, NO_NAMES)


def make(
    type_url: str,
    name: str,
    payload: bytes,
    refs: Mapping[str, Iterable[str]] | None = None,
    *,
    sensitive: bool = False,
) -> Resource:
    """A resource from one piece of bytes."""
    named = _refs(refs) if refs else NO_REFS
    version = digest(payload)
    if type_url == LISTENER and named.get(CHAIN):
        version += FETCHING
    return Resource(type_url, name, version, (payload,), named, sensitive)


def _refs(given: Mapping[str, Iterable[str]]) -> Mapping[str, NameSet]:
    made = {kind: _named(names) for kind, names in given.items()}
    if len(made) == 1:
        for kind, names in made.items():
            few = tuple(names)
            if len(few) == 1:
                return OneRef(kind, few[0])
    return made


def _named(names: Iterable[str]) -> NameSet:
    found = frozenset(names)
    return NameSet(tuple(found) if len(found) < _FEW else found)


def owner(chain: str) -> str:
    """The listener that a filter chain is for: `127.0.0.1:8443` of `127.0.0.1:8443/*.shop.example`."""
    return chain.partition("/")[0]


def digest(*chunks: bytes) -> str:
    """Content hash used as version: 32 hex digits of xxh3-128 (0.06 us for a small resource)."""
    if len(chunks) == 1:
        return xxhash.xxh3_128_hexdigest(chunks[0])
    state = xxhash.xxh3_128()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()
