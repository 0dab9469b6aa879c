"""What an HTTP filter is to the encoder: an entry in the connection manager, and a say in routes.

All filters but the router stand disabled in every connection manager, and a route that has a
configuration for one enables it: the list of filters never changes with the configuration, so no policy
change drains a connection, and a filter that a route doesn't use costs it nothing (1.5 us for eight of
them, instead of 15). `chain.py` holds the filters, `listeners.py` and `routes.py` call them through it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from dragoman import proto
from dragoman.ir import model as ir


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
        """Whether it waits for a route to enable it. Only the router does not."""

    def config(self) -> Config:
        """Its configuration in the connection manager, the same for all."""

    def per_route(self, route: ir.Route) -> Config | None:
        """What this route asks of it. None: it stays disabled there."""


def config(message: proto.Message) -> Config:
    """`message` as a finished configuration."""
    return Config(proto.type_url(message), proto.serialize(message))
