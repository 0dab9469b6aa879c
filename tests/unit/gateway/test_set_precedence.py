"""ListenerSets: a listener that loses to the Gateway's own is in nobody else's way."""

from __future__ import annotations

from typing import Any

EDGE = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: web, port: 80, protocol: HTTP}]
  allowedListeners: {namespaces: {from: Same}}
"""

MIXED = """
kind: ListenerSet
metadata: {name: more}
spec:
  parentRef: {kind: Gateway, group: gateway.networking.k8s.io, name: edge}
  listeners:
  - {name: good, port: 80, protocol: HTTP, hostname: a.example}
  - {name: lost, port: 80, protocol: TCP}
"""


def _accepted(world: Any, listener: str) -> str:
    conditions = world.listener(listener, "more", "ListenerSet")["conditions"]
    return next(f"{c['status']} {c['reason']}" for c in conditions if c["type"] == "Accepted")


def test_who_loses_to_the_gateway_takes_no_other_along(world: Any) -> None:
    world.apply(EDGE, MIXED)
    assert _accepted(world, "good") == "True Accepted"
    assert _accepted(world, "lost") == "False ProtocolConflict"
    assert world.conditions("ListenerSet", "more")["Accepted"] == "True ListenersNotValid"


def test_a_gateway_that_takes_sets_says_that_it_has_none(world: Any) -> None:
    world.apply(EDGE)
    assert world.status("Gateway", "edge")["attachedListenerSets"] == 0
