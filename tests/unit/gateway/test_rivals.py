"""HTTPRoutes and GRPCRoutes that want one host name: the older one gets it."""

from __future__ import annotations

from typing import Any

import pytest

EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: other, port: 81, protocol: HTTP}
"""


def route(
    kind: str,
    hosts: str = "[api.example]",
    *,
    created: int = 1,
    section: str = "http",
    name: str = "route",
) -> str:
    parent = f"{{name: edge, sectionName: {section}}}" if section else "{name: edge}"
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, creationTimestamp: "2026-01-0{created}T00:00:00Z"}}
spec:
  parentRefs: [{parent}]
  hostnames: {hosts}
  rules: [{{backendRefs: [{{name: shop, port: 8080}}]}}]
"""


def accepted(world: Any, kind: str, name: str = "route") -> str:
    return str(world.conditions(kind, name)["Accepted"])


def attached(world: Any, kind: str) -> int:
    found = world.outputs.routes.get(world.ref(kind, "route"))
    return len(found.attachments) if found is not None else 0


@pytest.mark.parametrize(("winner", "loser"), [("HTTPRoute", "GRPCRoute"), ("GRPCRoute", "HTTPRoute")])
@pytest.mark.parametrize("hosts", ["[api.example]", '["*.example"]', "[]"])
def test_the_older_one_has_it(winner: str, loser: str, hosts: str, shop: Any) -> None:
    shop.apply(EDGE, route(winner, created=1), route(loser, hosts, created=2))
    assert accepted(shop, winner) == "True Accepted"
    assert accepted(shop, loser) == "False Conflicted"
    assert (attached(shop, winner), attached(shop, loser)) == (1, 0)
    assert shop.finding("DRG1308").ref.kind == loser
    assert shop.listener("http")["attachedRoutes"] == 1
    shop.remove(winner, "route")
    assert accepted(shop, loser) == "True Accepted"


@pytest.mark.parametrize(
    ("hosts", "section"),
    [("[other.example]", "http"), ("[api.example]", "other"), ("['*.api.example']", "http")],
)
def test_those_that_do_not_meet_are_in_nobodys_way(hosts: str, section: str, shop: Any) -> None:
    shop.apply(EDGE, route("HTTPRoute"), route("GRPCRoute", hosts, section=section))
    assert (accepted(shop, "HTTPRoute"), accepted(shop, "GRPCRoute")) == ("True Accepted", "True Accepted")
    assert shop.findings() == []


@pytest.mark.parametrize(("winner", "loser"), [("HTTPRoute", "GRPCRoute"), ("GRPCRoute", "HTTPRoute")])
def test_a_listener_lost_spares_the_others(winner: str, loser: str, shop: Any) -> None:
    shop.apply(EDGE, route(winner), route(loser, created=2, section=""))
    assert accepted(shop, loser) == "True Accepted"
    found = shop.outputs.routes.get(shop.ref(loser, "route"))
    assert [one.listener for one in found.attachments] == ["other"]


@pytest.mark.parametrize(("one", "other"), [("HTTPRoute", "GRPCRoute"), ("GRPCRoute", "HTTPRoute")])
def test_who_has_lost_is_in_nobodys_way(one: str, other: str, shop: Any) -> None:
    """The second loses to the first, so the third has what only the second wanted too; and so on."""
    shop.apply(
        EDGE,
        route(one, "[a.example]", created=1, name="first"),
        route(other, "[a.example, b.example]", created=2, name="second"),
        route(one, "[b.example, c.example]", created=3, name="third"),
        route(other, "[c.example, d.example]", created=4, name="fourth"),
        route(one, "[d.example]", created=5, name="fifth"),
    )
    assert accepted(shop, one, "first") == "True Accepted"
    assert accepted(shop, other, "second") == "False Conflicted"
    assert accepted(shop, one, "third") == "True Accepted"
    assert accepted(shop, other, "fourth") == "False Conflicted"
    assert accepted(shop, one, "fifth") == "True Accepted"
    shop.remove(one, "first")
    assert accepted(shop, other, "second") == "True Accepted"
    assert accepted(shop, one, "third") == "False Conflicted"
    assert accepted(shop, other, "fourth") == "True Accepted"
    assert accepted(shop, one, "fifth") == "False Conflicted"
