"""AuthPolicies' `routing`: cases of routes, and what their references lead to."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from tests.unit.gateway.conftest import spoken
from tests.unit.gateway.test_auth import closed, edge, inline, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, ROUTE

__all__ = ["edge"]

CLAIM = "claims: [{name: realm.tier, values: [gold]}]"
GOLD = f"routing: {{byClaim: [{{{CLAIM}, backendRefs: [{{name: gold, port: 80}}]}}]}}"
SERVICE = "kind: Service\nmetadata: {name: gold}\nspec: {ports: [{port: 80}]}\n"


def cases(edge: Any) -> list[tuple[ir.Case, ...]]:
    return [r.action.cases if isinstance(r.action, ir.Forward) else () for r in edge.routes().routes]


def led(edge: Any, at: int = 0) -> list[str]:
    """The backends of the first case of a route."""
    return [
        str(one.cluster.ref) if one.cluster is not None else one.reason for one in cases(edge)[at][0].backends
    ]


def resolved(edge: Any) -> str:
    (ancestor,) = edge.status("AuthPolicy", "q")["ancestors"]
    return spoken(ancestor)["ResolvedRefs"]


def test_a_rule_gets_cases_and_keeps_its_gateways_tokens(edge: Any) -> None:
    edge.apply(SERVICE, policy("p", EDGE, inline()), policy("q", FIRST, GOLD))
    first, second, third = cases(edge)
    assert [case.claims for case in first] == [(ir.Claim(("realm", "tier"), ("gold",)),)]
    assert led(edge) == ["Service default/gold"]
    assert (second, third) == ((), ())
    route = edge.routes().routes[0]
    assert route.auth is not None
    assert route.auth.jwt is not None
    assert any(key.ref.name == "gold" for key in route.clusters())
    assert resolved(edge).startswith("True")


def test_a_rule_switches_it_off(edge: Any) -> None:
    edge.apply(SERVICE, policy("p", EDGE, inline()), policy("q", ROUTE, GOLD))
    assert [len(one) for one in cases(edge)] == [1, 1, 1]
    edge.apply(policy("r", FIRST, "routing: {disabled: true}"))
    assert [len(one) for one in cases(edge)] == [0, 1, 1]


def test_backends_come_and_go(edge: Any) -> None:
    """A Service that appears or goes changes the routes that name it by way of a policy."""
    edge.apply(policy("p", EDGE, inline()), policy("q", FIRST, GOLD))
    assert led(edge) == ["Service default/gold is not there"]
    assert resolved(edge).startswith("False BackendNotFound")
    assert edge.finding("DRG2003").path[:3] == ("spec", "routing", "byClaim")
    assert closed(edge) == [False, False, False]
    edge.apply(SERVICE)
    assert led(edge) == ["Service default/gold"]
    assert resolved(edge).startswith("True")


def test_another_namespace_must_permit_it(edge: Any) -> None:
    far = GOLD.replace("name: gold,", "name: gold, namespace: far,")
    edge.apply(
        SERVICE.replace("name: gold", "name: gold, namespace: far"),
        policy("p", EDGE, inline()),
        policy("q", FIRST, far),
    )
    assert "may not refer to" in led(edge)[0]
    edge.apply(
        "kind: ReferenceGrant\nmetadata: {name: g, namespace: far}\nspec:\n"
        "  from: [{group: dragoman.dev, kind: AuthPolicy, namespace: default}]\n"
        "  to: [{group: '', kind: Service}]\n"
    )
    assert led(edge) == ["Service far/gold"]


def test_nothing_reads_tokens(edge: Any) -> None:
    edge.apply(SERVICE, policy("q", FIRST, GOLD))
    assert cases(edge) == [(), (), ()]
    assert "`routing`" in edge.finding("DRG1864").message


@pytest.mark.parametrize(
    ("target", "spec", "code"),
    [
        (EDGE, GOLD, "DRG1108"),
        (FIRST, "routing: {}", "DRG1102"),
        (FIRST, GOLD.replace("realm.tier", "realm..tier"), "DRG1103"),
        (FIRST, "rules: {allow: [{claims: [{name: a., values: [b]}]}]}", "DRG1103"),
        (FIRST, "routing: {byClaim: [{claims: [], backendRefs: [{name: gold, port: 80}]}]}", "DRG1107"),
        (FIRST, "routing: {byClaim: [{claims: [{name: a, values: [b]}], backendRefs: []}]}", "DRG1107"),
    ],
)
def test_what_is_wrong_closes(edge: Any, target: str, spec: str, code: str) -> None:
    edge.apply(SERVICE, policy("q", target, spec))
    assert {one.code for one in edge.rejected[edge.ref("AuthPolicy", "q")]} == {code}
    assert closed(edge)[0]


def test_what_a_backends_own_policy_says_holds_for_its_cluster(edge: Any) -> None:
    """Policies of the users of a backend are in its cluster's key, those of cases as well."""
    traffic = f"targetRefs: [{EDGE}], circuitBreaker: {{maxConnections: 7}}"
    edge.apply(f"kind: TrafficPolicy\nmetadata: {{name: t}}\nspec: {{{traffic}}}\n")
    edge.apply(SERVICE, policy("p", EDGE, inline()), policy("q", FIRST, GOLD))
    (backend,) = cases(edge)[0][0].backends
    assert backend.cluster is not None
    assert [ref.kind for ref in backend.cluster.policies] == ["TrafficPolicy"]


def test_calls_go_to_backends_that_speak_grpc(edge: Any) -> None:
    """As those of the rule itself."""
    edge.apply(
        SERVICE,
        "kind: GRPCRoute\nmetadata: {name: calls}\nspec:\n  parentRefs: [{name: edge}]\n"
        "  hostnames: [one.example]\n  rules: [{backendRefs: [{name: shop, port: 80}]}]\n",
        policy("p", EDGE, inline()),
        policy("q", "{kind: GRPCRoute, name: calls}", GOLD),
    )
    (route,) = edge.routes("calls", kind="GRPCRoute").routes
    assert [one.cluster.transport for one in route.action.shares()] == ["grpc", "grpc"]
