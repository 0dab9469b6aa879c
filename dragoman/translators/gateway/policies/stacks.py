"""The layers of policies that meet somewhere: at a listener, at a rule of a route, at a backend.

From the most general to the most specific (GEP-713): Gateway, ListenerSet, listener, route, rule, backend,
port of the backend. A stack is compared by identity of its layers, so that what is made of it is made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.refs import Ref
from dragoman.translators.gateway import attachment
from dragoman.translators.gateway.models import (
    authpolicy,
    clientpolicy,
    httppolicy,
    policy,
    ratelimitpolicy,
    trafficpolicy,
)
from dragoman.translators.gateway.policies import attach, merge

S = TypeVar("S", bound=policy.Policy)


class Stack(NamedTuple):
    """Layers by kind of policy, the most general first."""

    traffic: tuple[merge.Layer[trafficpolicy.TrafficPolicy], ...] = ()
    http: tuple[merge.Layer[httppolicy.HttpPolicy], ...] = ()
    client: tuple[merge.Layer[clientpolicy.ClientPolicy], ...] = ()
    auth: tuple[merge.Layer[authpolicy.AuthPolicy], ...] = ()
    limits: tuple[merge.Layer[ratelimitpolicy.RateLimitPolicy], ...] = ()

    def over(self, more: Mapping[str, attach.AnyLayer] | None) -> Stack:
        """With the policies of something more specific."""
        if not more:
            return self
        return Stack(
            _over(self.traffic, more.get("TrafficPolicy")),
            _over(self.http, more.get("HTTPPolicy")),
            _over(self.client, more.get("ClientPolicy")),
            _over(self.auth, more.get("AuthPolicy")),
            _over(self.limits, more.get("RateLimitPolicy")),
        )


EMPTY: Final = Stack()


def _over(layers: tuple[merge.Layer[S], ...], more: attach.AnyLayer | None) -> tuple[merge.Layer[S], ...]:
    return layers if more is None else (*layers, more)


Listeners = Collection[tuple[Ref, str], Stack]
"""(Gateway or ListenerSet, listener's name) -> its stack, where there is any policy."""


def of_listeners(
    graph: Graph,
    doors: Collection[Ref, attachment.Doors],
    gateway_of: Collection[Ref, Ref],
    policies: attach.Policies,
) -> Listeners:
    """What is in force at each listener. `gateway_of`: the Gateway of a ListenerSet."""

    def found(ctx: Context, ref: Ref, item: attachment.Doors) -> Iterator[tuple[tuple[Ref, str], Stack]]:
        own = ctx.fetch(policies.at, ref) or {}
        gateway = ctx.fetch(gateway_of, ref) if ref.kind == "ListenerSet" else None
        above = (ctx.fetch(policies.at, gateway) or {}) if gateway is not None else {}
        if not own and not above:
            return
        shared = EMPTY.over(above.get("")).over(own.get(""))
        for door in item.listeners:
            stack = shared.over(own.get(door.name))
            if stack != EMPTY:
                yield (ref, door.name), stack

    return graph.map_many("policies of listeners", doors, found)
