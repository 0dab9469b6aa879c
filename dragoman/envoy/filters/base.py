"""What an HTTP filter has to say to take its place in the chain.

Every filter stands in every connection manager, disabled; a route that has a configuration for it enables
it. So the filter list is the same whatever users write (a policy that is attached or removed changes a
route, not the listener, and drains no connection), and a filter that a route doesn't use costs it nothing
(1.5 us for eight of them, instead of 15). `chain.py` holds the filters, `listeners.py` and `routes.py` call
them through it.

Most filters are told everything by the route. Some cannot be: what they check against (keys of token
issuers, credentials) stands in their own configuration, and routes name a part of it. That configuration is
a resource of its own (ECDS), made of all the parts that routes name (`Discovered.shared`), so that it too
changes without touching a listener.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Final, NamedTuple, Protocol

from dragoman import proto
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto


class Config(NamedTuple):
    """A finished extension configuration: what a `google.protobuf.Any` holds."""

    type_url: str
    value: bytes


class Filter(Protocol):
    """One HTTP filter. Stateless; `per_route` is called for every route and must be cheap."""

    @property
    def name(self) -> str:
        """Envoy's name for it, and the key of per-route configurations: `envoy.filters.http.cors`."""

    @property
    def disabled(self) -> bool:
        """Whether it waits for a route to enable it. Only what holds for every request does not."""

    def per_route(self, route: ir.Route) -> Config | None:
        """What this route asks of it. None: it stays disabled there."""


class Fixed(Filter, Protocol):
    """A filter whose configuration in the connection manager is the same for all."""

    def config(self) -> Config:
        """Its configuration in the connection manager."""


class Discovered(Filter, Protocol):
    """A filter whose configuration is made of what routes ask of it, and comes by ECDS under its name."""

    @property
    def type_url(self) -> str:
        """The type of its configuration."""

    @property
    def sensitive(self) -> bool:
        """Whether its configuration holds secrets."""

    def demands(self, route: ir.Route) -> Iterable[Hashable]:
        """The parts of the shared configuration that the route names: IR values. Of a `KeySet` the filter
        gets the content (`Keys`), as it is at the time: what is taken out of it is gone at once; likewise
        of a `SubjectSet`."""

    def slot(self, part: Hashable) -> Hashable:
        """What only one part can have: of two for the same slot, the one that routes still name is meant."""

    def shared(self, demands: Collection[Hashable]) -> Config:
        """The configuration with these parts, whatever order they come in; none is fine."""


class Sharded(Discovered, Protocol):
    """A discovered filter whose configuration is cut into shards (`ir.shards`), each a resource of its own:
    a credential that comes or goes changes one of them. Envoy runs the shard that a header's value belongs
    to; `shared` makes one shard's configuration."""

    @property
    def by(self) -> str:
        """The header."""


def config(message: proto.Message) -> Config:
    """`message` as a finished configuration."""
    return Config(proto.type_url(message), proto.serialize(message))


def _wake() -> Config:
    message = route_proto.FilterConfig()
    message.config.SetInParent()
    return config(message)


WAKE: Final = _wake()
"""What a route says to a filter that is to be awake there as the connection manager has it."""
