"""The values and protocols that the xDS server shares with whoever feeds it.

A node group is a name for a set of Gateways: `*` for all of them, `shop/*` for a namespace's, `shop/edge` for
one, `shop/edge,shop/internal` for several (sorted). Every node of a group gets the same resources. The feeder
(the runtime) keeps one live `View` per group that some stream uses and applies changes to it; the server's
sessions read it and are woken by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dragoman.resource import Resource

Changes = Mapping[str, Mapping[str, Resource | None]]
"""type URL -> name -> the new resource, or None where it is gone."""

Transitions = Mapping[str, Mapping[str, tuple[Resource | None, Resource | None]]]
"""type URL -> name -> (before, after), None where there is nothing. Before and after always differ."""


@dataclass(frozen=True, slots=True)
class Locality:
    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """What a proxy says of itself in its first request; `extensions` is dropped (it is 60 KB)."""

    id: str
    cluster: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    locality: Locality = Locality()
    user_agent: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the transport vouches for it. `sans` empty: no client certificate."""

    address: str
    sans: tuple[str, ...] = ()


class ResourceView(Protocol):
    """A live, read-only view of one group's resources. Implemented by `snapshot.View`."""

    def get(self, type_url: str, name: str) -> Resource | None: ...

    def resources(self, type_url: str) -> Mapping[str, Resource]: ...

    def version(self, type_url: str) -> str:
        """Order-independent hash of the type's content: SotW's `version_info` for wildcard subscriptions."""

    def subscribe(self, observer: Callable[[Changes], None]) -> Callable[[], None]:
        """Calls `observer` after each applied change; returns the function that ends it."""

    def follow(self, observer: Callable[[Transitions], None]) -> Callable[[], None]:
        """Like `subscribe`, and says what was there before: what a session needs to know what its client
        has."""


class Provider(Protocol):
    """Where the server gets views from. Implemented by the runtime over `graph.pipeline`."""

    @property
    def ready(self) -> asyncio.Event:
        """Set once the first configuration is complete."""

    def acquire(self, group: str) -> ResourceView:
        """The group's view, built at its first use. To be called when all is `ready`; every `acquire` is
        paired with a `release`.
        """

    def release(self, group: str) -> None:
        """One stream less; the view may be dropped after a grace period."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What one proxy refuses of a type, in its own words. `names` are the resources named in its messages,
    where one names none all of its response. `words`: those about each, if not all of `detail`."""

    node: str
    group: str
    type_url: str
    names: tuple[str, ...]
    detail: str
    version: str
    time: float
    words: Mapping[str, str] = field(default_factory=dict)
