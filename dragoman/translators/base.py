"""What every translator shares: decoded objects, their status, and the form of its output.

A language's translator (package `gateway` is the native one) turns documents into `Object`s with a typed
spec and builds its part of the graph out of them: from source collections to collections of IR values,
statuses and diagnostics. It does no I/O and knows nothing of protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dragoman import frozen
from dragoman.diagnostics import Diagnostic
from dragoman.document import Document
from dragoman.graph.collection import Collection, Graph, Source
from dragoman.ir import model as ir, rollouts
from dragoman.refs import Origin, Ref

S = TypeVar("S", covariant=True)


@dataclass(frozen=True, slots=True)
class Meta:
    """The part of `metadata` that translation reads. `created` is RFC 3339 or ""; `generation` 0 where
    there is none."""

    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    created: str = ""
    generation: int = 0

    def label(self, name: str) -> str | None:
        return next((value for key, value in self.labels if key == name), None)

    def annotation(self, name: str) -> str | None:
        return next((value for key, value in self.annotations if key == name), None)


@frozen.statically
@dataclass(frozen=True, slots=True)
class Object(Generic[S]):
    """A decoded document. `spec` is the kind's pydantic model (frozen), or for core kinds its whole body's
    model."""

    ref: Ref
    meta: Meta
    spec: S

    def origin(self, *path: str | int) -> Origin:
        return Origin(self.ref, path)


AnyObject = Object[Any]
Objects = Mapping[tuple[str, str], Source[Ref, AnyObject]]
"""(group, kind) -> the source collection of its objects."""


@frozen.statically
@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding yields. `object` None: nothing usable; the intake keeps the object's last good form,
    and without one takes `fallback`, which closes what the object was to protect."""

    object: AnyObject | None
    diagnostics: tuple[Diagnostic, ...] = ()
    fallback: AnyObject | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition as Gateway API words it."""

    type: str
    status: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of one object: the `status` field in the specification's shape, plain data ready for YAML.

    `observedGeneration` is filled in; `lastTransitionTime` is left to whoever writes it somewhere.
    """

    ref: Ref
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What the controller of rollouts reads, and where it puts how far they are."""

    plans: Collection[Ref, rollouts.Plan]
    progress: Source[Ref, rollouts.Progress]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave. `body` is the last good one, "" while there was none; `error`: why the last try
    failed."""

    body: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Fetches:
    """What is to be fetched from the network, and where the answers go."""

    wanted: Collection[str, bool]
    found: Source[str, Fetched]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Collections that a translator hands on. Keys: objects by `Ref`, clusters by `ClusterKey`, secrets by
    `SecretKey`.

    `clusters`, `endpoints` and `secrets` hold what some route or gateway uses, and nothing else. `unmatched`:
    what answers requests that no route of a listener matches, where that is not Envoy's plain 404.
    `contents`: what sets of credentials hold. `lookups`: what the companion that looks credentials up is
    told, by kind and policy. `rollouts` None: the language knows none.
    """

    gateways: Collection[Ref, ir.Gateway]
    routes: Collection[Ref, ir.RouteSet]
    streams: Collection[tuple[Ref, str], ir.StreamRoute]
    clusters: Collection[ir.ClusterKey, ir.Cluster]
    endpoints: Collection[ir.ClusterKey, ir.EndpointSet]
    secrets: Collection[ir.SecretKey, ir.Secret]
    statuses: Collection[Ref, Status]
    diagnostics: Collection[Ref, tuple[Diagnostic, ...]]
    unmatched: Collection[tuple[Ref, str], ir.Route]
    contents: Collection[ir.Shard, ir.Content]
    lookups: Collection[tuple[str, str], ir.Asked]
    rollouts: Rollouts | None = None
    fetches: Fetches | None = None


class Translator(Protocol):
    """One language. Found by entry point `dragoman.translators`."""

    kinds: tuple[tuple[str, str], ...]
    """The (group, kind)s that it reads."""

    def decode(self, document: Document) -> Decoded:
        """Validates a document of one of `kinds`. Never raises for what a user wrote."""

    def build(self, graph: Graph, objects: Objects) -> Outputs:
        """Adds this language's collections to the graph."""
