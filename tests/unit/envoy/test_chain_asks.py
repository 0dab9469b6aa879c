"""Routes that ask nothing of filters are passed over at once: no filter may want to look at what they say."""

from __future__ import annotations

import dataclasses

import pytest

from dragoman.envoy.filters import chain, tries
from dragoman.ir import model as ir
from dragoman.ir.order import LAST
from dragoman.refs import Ref

_CLUSTER = ir.ClusterKey(Ref("", "Service", "shop", "web"), 80)
_CHANGES = ir.HeaderMutation(set=(("x-one", "1"),))
_FORWARD = ir.Forward(
    (ir.WeightedBackend(_CLUSTER, 1),),
    hostname="other.example",
    timeout=3.0,
    try_timeout=2.0,
    mirrors=(ir.Mirror(_CLUSTER),),
    websocket=False,
    try_idle=1.0,
    stream_idle=1.0,
    duration=1.0,
    failure=503,
)
_ROUTES = {
    action.__class__.__name__: ir.Route(
        "HTTPRoute/shop/web/#0/0", ir.RouteMatch(ir.SegmentPrefix("/")), action, LAST, _CHANGES, _CHANGES
    )
    for action in (_FORWARD, ir.Redirect(), ir.Respond(404))
}


@pytest.mark.parametrize("name", _ROUTES)
def test_what_is_said_to_the_router_alone_wakes_no_filter(name: str) -> None:
    route = _ROUTES[name]
    assert chain.asks_nothing(route)
    sleeping = [each for each in (*chain.FILTERS, tries.FILTER) if each.disabled]
    assert [each.name for each in sleeping if each.per_route(route) is not None] == []


def test_a_field_that_is_not_named_there_has_the_filters_asked() -> None:
    plain = _ROUTES["Forward"]
    assert not chain.asks_nothing(dataclasses.replace(plain, rollout="shop/web"))
    assert not chain.asks_nothing(
        dataclasses.replace(plain, action=dataclasses.replace(_FORWARD, faults=ir.Faults()))
    )
