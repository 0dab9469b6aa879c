"""Bytes in, bytes out: the discovery messages on the wire.

Requests are decoded by protobuf into small values; the 60 KB of extensions that Envoy lists in its node are
dropped here. Responses are framed by hand around payloads that were serialised long before: a `Resource`
never becomes a message again. What was framed is kept for a while (`Encoder`), so that a thousand streams
that get the same response share one framing of it; only version and nonce, a few bytes, are made per stream.

A protobuf message is a concatenation of its fields, in any order: that is all the knowledge needed. Lengths
are base-128 varints.
"""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from dragoman import proto
from dragoman.proto import varint
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.resource import Resource
from dragoman.xds.types import Locality, Node

if TYPE_CHECKING:
    from dragoman.proto.envoy.config.core import v3 as core

V = TypeVar("V")

DecodeError = proto.DecodeError


class Form(enum.Enum):
    """The two forms of the protocol. The service's method decides, not the request."""

    SOTW = "sotw"
    DELTA = "delta"


@dataclass(slots=True)
class Request:
    """One DiscoveryRequest or DeltaDiscoveryRequest.

    `names` are SotW's resource_names or delta's resource_names_subscribe; `unsubscribe` and `versions`
    (initial_resource_versions) are delta's alone. `error` is not None exactly when error_detail is there: a
    NACK (71).
    """

    type_url: str
    nonce: str = ""
    version: str = ""
    names: Collection[str] = ()
    unsubscribe: Collection[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    node: Node | None = None


def parse(form: Form, data: bytes) -> Request:
    """The request in `data`. Raises `DecodeError`."""
    if form is Form.DELTA:
        delta = discovery.DeltaDiscoveryRequest.FromString(data)
        return Request(
            sys.intern(delta.type_url),
            delta.response_nonce,
            "",
            [sys.intern(name) for name in delta.resource_names_subscribe],
            list(delta.resource_names_unsubscribe),
            dict(delta.initial_resource_versions),
            _error(delta),
            node_of(delta.node) if delta.HasField("node") else None,
        )
    sotw = discovery.DiscoveryRequest.FromString(data)
    return Request(
        sys.intern(sotw.type_url),
        sotw.response_nonce,
        sotw.version_info,
        [sys.intern(name) for name in sotw.resource_names],
        (),
        {},
        _error(sotw),
        node_of(sotw.node) if sotw.HasField("node") else None,
    )


def _error(message: discovery.DiscoveryRequest | discovery.DeltaDiscoveryRequest) -> str | None:
    if not message.HasField("error_detail"):
        return None
    return message.error_detail.message or f"status {message.error_detail.code} without a message"


def node_of(message: core.Node) -> Node:
    """A node without its extensions."""
    build = message.user_agent_build_version.version
    version = message.user_agent_version
    if not version and (build.major_number or build.minor_number):
        version = f"{build.major_number}.{build.minor_number}.{build.patch}"
    metadata: dict[str, Any] = proto.to_dict(message.metadata) if message.HasField("metadata") else {}
    where = message.locality
    return Node(
        message.id,
        message.cluster,
        metadata,
        Locality(where.region, where.zone, where.sub_zone),
        message.user_agent_name,
        version,
    )


def text(tag: int, value: str) -> bytes:
    """A string field; `tag` is its number shifted left by three, or two."""
    data = value.encode()
    return bytes((tag,)) + varint.write(len(data)) + data


_TYPE_URL: Final = 4 << 3 | 2
_NONCE: Final = 5 << 3 | 2
_VERSION: Final = 1 << 3 | 2
_RESOURCE: Final = bytes((2 << 3 | 2,))
_REMOVED: Final = 6 << 3 | 2

_LARGE: Final = 64 * 1024


def _any(resource: Resource) -> tuple[bytes, ...]:
    """`google.protobuf.Any{type_url: 1, value: 2}` around the resource's chunks, as parts to join."""
    size = resource.size
    return (text(1 << 3 | 2, resource.type_url), b"\x12", varint.write(size), *resource.chunks)


Rope = tuple[bytes, ...]
"""Bytes in pieces, to be joined once, when they go out: a large resource is never copied before."""


def frame_sotw(resource: Resource) -> Rope:
    """Field 2 of DiscoveryResponse: an Any."""
    parts = _any(resource)
    return _rope((_RESOURCE, varint.write(sum(map(len, parts))), *parts))


def frame_delta(resource: Resource) -> Rope:
    """Field 2 of DeltaDiscoveryResponse: `Resource{version: 1, resource: 2, name: 3}`."""
    packed = _any(resource)
    inner = (
        text(1 << 3 | 2, resource.version),
        text(3 << 3 | 2, resource.name),
        b"\x12",
        varint.write(sum(map(len, packed))),
        *packed,
    )
    return _rope((_RESOURCE, varint.write(sum(map(len, inner))), *inner))


def _rope(parts: Rope) -> Rope:
    """One piece where that is cheap."""
    return parts if sum(map(len, parts)) >= _LARGE else (b"".join(parts),)


@dataclass(frozen=True, slots=True)
class Body:
    """A response without its version and nonce: what streams share. `names`: the resources in it and those
    removed."""

    parts: Rope = field(repr=False)
    names: frozenset[str]

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))

    def finish(self, version: str, nonce: str) -> bytes:
        """The whole response. Both forms have version and nonce at the same field numbers."""
        return b"".join((*self.parts, text(_VERSION, version), text(_NONCE, nonce)))


class Encoder:
    """Frames resources and bodies, and keeps what is asked for again and again (`_Kept`): a thousand streams
    get the same response within seconds, and nobody gets it later.

    One per server. Keys are content (versions are hashes), so streams of different groups share as well.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._frames: _Kept[Rope] = _Kept(limit // 2, clock)
        self._bodies: _Kept[Body] = _Kept(limit // 2, clock)

    def whole(
        self, form: Form, type_url: str, version: str, resources: Callable[[], Iterable[Resource]]
    ) -> Body:
        """A body with a whole set of resources, whose content hash is `version`; `resources` is asked only if
        need be."""
        key = (form, type_url, version)
        body = self._bodies.get(key)
        if body is None:
            items = list(resources())
            body = self._join(form, type_url, items, ())
            self._bodies.put(key, body, body.size + 64 * len(items))
        return body

    def some(
        self, form: Form, type_url: str, resources: tuple[Resource, ...], removed: tuple[str, ...] = ()
    ) -> Body:
        """A body with these resources and, in delta, these removals."""
        if len(resources) + len(removed) > 16:
            return self._join(form, type_url, resources, removed, keep=True)
        key = (form, type_url, tuple((r.name, r.version) for r in resources), removed)
        body = self._bodies.get(key)
        if body is None:
            body = self._join(form, type_url, resources, removed)
            self._bodies.put(key, body, body.size)
        return body

    def _join(
        self,
        form: Form,
        type_url: str,
        resources: Collection[Resource],
        removed: tuple[str, ...],
        *,
        keep: bool = False,
    ) -> Body:
        """`keep` the frames: those of a body that is not kept itself."""
        parts: list[bytes] = []
        small = [text(_TYPE_URL, type_url), *(text(_REMOVED, name) for name in removed)]
        for resource in resources:
            frame = self._frame(form, resource) if keep else _framed(form, resource)
            if len(frame) == 1:
                small += frame
            else:
                parts += frame
        return Body(
            (b"".join(small), *parts), frozenset((*(resource.name for resource in resources), *removed))
        )

    def _frame(self, form: Form, resource: Resource) -> Rope:
        key = (form, resource.type_url, resource.name, resource.version)
        frame = self._frames.get(key)
        if frame is None:
            frame = _framed(form, resource)
            if len(frame) == 1:  # the pieces of a large one are the resource's own
                self._frames.put(key, frame, len(frame[0]))
        return frame


def _framed(form: Form, resource: Resource) -> Rope:
    return frame_delta(resource) if form is Form.DELTA else frame_sotw(resource)


_AGE: Final = 10.0


class _Kept(Generic[V]):
    """Values by key, from the second time that they are made: most are wanted once. Two generations: what
    nobody asks for goes after ten to twenty seconds of others' use, or earlier where all weigh more than
    `limit` bytes."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._young: dict[Hashable, tuple[V, int] | None] = {}  # None: asked for once
        self._old: dict[Hashable, tuple[V, int] | None] = {}
        self._weight = 0  # of the young
        self._since = clock()

    def get(self, key: Hashable) -> V | None:
        if key not in self._young:
            self._turn()
            if key not in self._old:
                return None
            self._enter(key, self._old.pop(key))
        entry = self._young[key]
        return None if entry is None else entry[0]

    def put(self, key: Hashable, value: V, weight: int) -> None:
        """What `get` did not have. `weight` in bytes."""
        self._enter(key, (value, weight) if key in self._young else None)

    def _enter(self, key: Hashable, entry: tuple[V, int] | None) -> None:
        self._young[key] = entry
        self._weight += 200 + (0 if entry is None else entry[1])  # the key and its place

    def _turn(self) -> None:
        now = self._clock()
        if self._weight > self._limit // 2 or now > self._since + _AGE:
            self._old, self._young = self._young, {}
            self._weight, self._since = 0, now
