"""What Rollouts do to routes: weights, testers, and what runs again when one is a step further."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dragoman.ir import model as ir, rollouts
from dragoman.refs import Ref

TWO = """
kind: Service
metadata: {name: next}
spec: {ports: [{name: http, port: 8080}]}
---
kind: Service
metadata: {name: other}
spec: {ports: [{name: http, port: 8080}]}
"""
REF = Ref("dragoman.dev", "Rollout", "default", "r")


def route(
    stable: int = 100, canary: int = 0, other: int | None = None, more: str = "", name: str = "route"
) -> str:
    third = f"\n    - {{name: other, port: 8080, weight: {other}}}" if other is not None else ""
    return f"""
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - backendRefs:
    - {{name: shop, port: 8080, weight: {stable}}}
    - {{name: next, port: 8080, weight: {canary}{more}}}{third}
"""


def rollout(more: str = "", name: str = "r", target: str = "name: route") -> str:
    return f"""
kind: Rollout
metadata: {{name: {name}}}
spec:
  targetRef: {{{target}}}
  stable: {{name: shop, port: 8080}}
  canary: {{name: next, port: 8080}}
  steps: [{{weight: 10}}, {{weight: 50}}]
{more}
"""


def at(world: Any, weight: int, phase: rollouts.Phase = rollouts.Phase.PROGRESSING, ref: Ref = REF) -> None:
    """Puts a progress of the Rollout's own plan."""
    found = world.outputs.rollouts
    plan = found.plans.get(ref)
    progress = rollouts.Progress(plan.digest, phase, weight, 0, 1.0, 1.0, "Pausing", "said")
    found.progress.put(ref, progress)
    world.graph.commit()


def weights(world: Any, name: str = "route") -> list[int]:
    return [one.weight for one in world.action(name).backends]


@pytest.fixture
def split(shop: Any) -> Any:
    return shop.apply(TWO, route(), rollout())


def test_nothing_goes_to_a_canary_before_it_has_begun(shop: Any) -> None:
    shop.apply(TWO, route(50, 50))
    assert weights(shop) == [50, 50]
    shop.apply(rollout())
    assert weights(shop) == [1, 0]


def test_the_weight_is_the_progress_of_this_plan(split: Any) -> None:
    at(split, 10)
    assert weights(split) == [9, 1]
    assert split.action().backends[1].origin == split.objects[REF.group, "Rollout"].get(REF).origin(
        "spec", "canary"
    )
    assert split.conditions("Rollout", "r") == {"Accepted": "True Accepted", "Progressing": "True Pausing"}
    at(split, 100, rollouts.Phase.PROMOTED)
    assert weights(split) == [0, 1]
    at(split, 0, rollouts.Phase.ROLLED_BACK)
    assert weights(split) == [1, 0]
    assert split.conditions("Rollout", "r")["RolledBack"] == "True Pausing"
    at(split, 50)
    split.apply(rollout(more="  onFailure: Hold"))
    assert weights(split) == [1, 1], "not another plan"
    split.apply(rollout().replace("weight: 10", "weight: 11"))
    assert weights(split) == [1, 0], "another plan: what was is of no account"


def test_an_annotation_makes_another_plan(split: Any) -> None:
    at(split, 50)
    split.apply(
        rollout().replace("{name: r}", "{name: r, annotations: {dragoman.dev/rollout-restart: again}}")
    )
    assert weights(split) == [1, 0]


@pytest.mark.parametrize(
    ("given", "percent", "expected"),
    [
        ((60, 0, 40), 10, [27, 3, 20]),
        ((30, 30, 40), 50, [3, 3, 4]),
        ((0, 0, 40), 50, [0, 0, 1]),
        ((0, 0, 0), 50, [1, 1, 0]),
        ((1, 0, 0), 33, [67, 33, 0]),
        ((999_999, 0, 1_000_000), 1, [989_999, 10_000, 1_000_000]),
    ],
)
def test_the_other_backends_keep_their_part(
    shop: Any, given: tuple[int, int, int], percent: int, expected: list[int]
) -> None:
    shop.apply(TWO, route(*given), rollout())
    at(shop, percent)
    assert weights(shop) == expected


def test_a_route_that_gives_everything_to_the_canary_is_left_alone(split: Any) -> None:
    at(split, 10)
    split.apply(route(0, 7))
    assert weights(split) == [0, 7]
    assert split.conditions("Rollout", "r") == {"Accepted": "True Idle"}
    assert split.outputs.rollouts.plans.get(REF).idle


def test_testers_come_before_the_rule_and_nobody_else(shop: Any) -> None:
    testers = "  testers: [{headers: [{name: X-T, value: a}]}, {cookies: [{name: c, value: a.b}]}]"
    shop.apply(TWO, route(), rollout(testers))
    found = sorted(shop.routes().routes, key=lambda one: one.order)
    assert [one.name.rpartition("#0/")[2] for one in found] == ["0/testers/0", "0/testers/1", "0"]
    assert [len(one.action.backends) for one in found] == [1, 1, 2]
    assert found[0].match.headers == (ir.HeaderMatch("x-t", ir.Exact("a")),)
    (cookie,) = found[1].match.headers
    assert isinstance(cookie.value, ir.Regex)
    at(shop, 0, rollouts.Phase.ROLLED_BACK)
    assert len(shop.routes().routes) == 1


def test_a_canary_with_filters_of_its_own_has_them_for_testers_too(shop: Any) -> None:
    rewrite = (
        ", filters: [{type: URLRewrite, urlRewrite: {hostname: next.example}},"
        " {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: next}]}}]"
    )
    shop.apply(TWO, route(more=rewrite), rollout("  testers: [{headers: [{name: X-T, value: a}]}]"))
    at(shop, 25)
    found = sorted(shop.routes().routes, key=lambda one: one.order)
    assert [(one.action.hostname, one.match.share) for one in found] == [
        ("next.example", 0),
        ("", 750_000),
        ("next.example", 0),
    ]


def test_requests_are_reported_while_somebody_asks(shop: Any) -> None:
    shop.apply(TWO, route(), rollout())
    assert shop.routes().routes[0].rollout == ""
    shop.apply(rollout("  checks: [{prometheus: {address: 'http://p', query: up, min: 1}}]"))
    assert shop.routes().routes[0].rollout == ""
    shop.apply(rollout("  checks: [{successRate: {min: 99}}]"))
    assert shop.routes().routes[0].rollout == "default/r"
    at(shop, 100, rollouts.Phase.PROMOTED)
    assert shop.routes().routes[0].rollout == ""


def test_a_step_reruns_its_route_and_no_other(split: Any) -> None:
    split.apply(route(name="neighbour"))
    before = split.runs()
    at(split, 10)
    after = split.runs()
    ran = {name: after[name] - count for name, count in before.items() if after[name] != count}
    assert ran["HTTPRoute rules"] == 1
    assert not ran.keys() & {
        "clusters",
        "endpoints",
        "HTTPRoute attached alone",
        "Rollouts judged",
        "services",
    }
    before = split.runs()
    found = split.outputs.rollouts
    progress = found.progress.get(REF)
    found.progress.put(REF, replace(progress, message="a verdict"))
    split.graph.commit()
    assert split.runs()["HTTPRoute rules"] == before["HTTPRoute rules"], "a verdict moves no route"


def test_a_backend_that_is_not_there_keeps_it_from_beginning(shop: Any) -> None:
    shop.apply(route(), rollout())
    assert shop.outputs.rollouts.plans.get(REF).waiting == "Service default/next is not there"
    assert shop.conditions("Rollout", "r")["Progressing"] == "False NotBegun"
    shop.apply(TWO)
    assert shop.outputs.rollouts.plans.get(REF).waiting == ""


def test_ports_tell_backends_apart(shop: Any) -> None:
    shop.apply(
        TWO, route(), rollout().replace("canary: {name: next, port: 8080}", "canary: {name: next, port: 81}")
    )
    assert "DRG1703 spec.canary" in shop.findings()
    assert weights(shop) == [100, 0]
