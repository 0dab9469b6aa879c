"""RateLimitPolicies: what the policies of all levels come to on a route."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir, ratelimit

SITE = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
kind: Service
metadata: {name: shop}
spec: {ports: [{port: 80}]}
---
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {name: first, backendRefs: [{name: shop, port: 80}]}
  - {matches: [{path: {value: /b}}], backendRefs: [{name: shop, port: 80}]}
"""
EDGE = "{kind: Gateway, name: edge}"
ROUTE = "{kind: HTTPRoute, name: route}"


def policy(name: str, target: str, limits: str) -> str:
    return (
        f"kind: RateLimitPolicy\nmetadata: {{name: {name}}}\n"
        f"spec: {{targetRefs: [{target}], limits: {{{limits}}}}}\n"
    )


@pytest.fixture
def site(world: Any) -> Any:
    return world.apply(SITE)


def limits(site: Any, rule: int = 0) -> dict[str, ir.RateLimit]:
    return {limit.name: limit for limit in site.routes().routes[rule].limits}


def codes(site: Any) -> set[str]:
    return {one.partition(" ")[0] for one in site.findings()} - {"DRG1405"}


def test_a_shadow_is_never_closed(site: Any) -> None:
    told = "requests: 9, per: Second, failure: Closed"
    site.apply(policy("p", ROUTE, f"a: {{{told}, shadow: true}}, b: {{{told}}}, c: {{{told}, where: Quota}}"))
    found = {name: limit.failure for name, limit in limits(site).items()}
    closed = ratelimit.Failure.CLOSED
    assert found == {"a": ratelimit.Failure.OPEN, "b": closed, "c": closed}


def test_limits_of_one_name_merge_field_by_field(site: Any) -> None:
    site.apply(
        policy(
            "edge", EDGE, "a: {requests: 9, per: Minute, key: [{type: Path}]}, b: {requests: 1, per: 90s}"
        ),
        policy("own", ROUTE, "a: {requests: 3}, c: {requests: 2, per: Week}"),
    )
    found = limits(site)
    assert {name: (one.amount, one.window) for name, one in found.items()} == {
        "a": (3, 60.0),
        "b": (1, 90.0),
        "c": (2, 604_800.0),
    }
    assert found["a"].key == (ratelimit.KeyPart(ratelimit.Part.PATH),)
    assert [one.id for one in found.values()] == [
        "default/edge+default/own/a",
        "default/edge/b",
        "default/own/c",
    ]
    assert found["a"].policy == "default/own"
    said = {one.name: str(one.origin.ref.name) for one in site.routes().routes[0].said}
    assert said["limits.a.requests"] == "own"
    assert said["limits.a.per"] == "edge"


def test_a_limit_is_switched_off_and_on(site: Any) -> None:
    site.apply(
        policy("edge", EDGE, "a: {requests: 9, per: Minute}"),
        policy("own", ROUTE, "a: {disabled: true}"),
        policy("first", "{kind: HTTPRoute, name: route, sectionName: first}", "a: {requests: 1}"),
    )
    assert limits(site)["a"].amount == 1
    assert limits(site, 1) == {}


def test_a_changed_number_is_the_same_limit_for_others(site: Any) -> None:
    site.apply(policy("own", ROUTE, "a: {requests: 9, per: Minute}"))
    before = limits(site)["a"]
    site.apply(policy("own", ROUTE, "a: {requests: 1, per: Hour}"))
    after = limits(site)["a"]
    assert before != after
    assert (before.id, list(ratelimit.shapes(before))) == (after.id, list(ratelimit.shapes(after)))


def test_scopes(site: Any) -> None:
    site.apply(
        policy(
            "edge",
            EDGE,
            "a: {requests: 1, per: Day, scope: Route}, b: {requests: 1, per: Day, scope: Rule},"
            " c: {requests: 1, per: Day}",
        )
    )
    first, second = limits(site), limits(site, 1)
    assert first["a"].place == second["a"].place != ""
    assert first["b"].place != second["b"].place
    assert first["c"].place == ""


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("{requests: 1}", "DRG1951"),
        ("{per: Day}", "DRG1951"),
        ("{shadow: true}", "DRG1951"),
        ("{requests: 1, per: Day, where: Local, cost: {header: x, of: Response}}", "DRG1952"),
        ("{requests: 1, per: Day, where: Local, algorithm: {type: LeakyBucket}}", "DRG1952"),
        ("{requests: 1, per: Day, where: Local, failure: Closed}", "DRG1952"),
        ("{requests: 1, per: Day, where: Local, headers: {rateLimit: true, xRateLimit: false}}", "DRG1952"),
        ("{requests: 9, per: Second, where: Quota, cost: {header: x}}", "DRG1952"),
        ("{requests: 9, per: Second, where: Quota, failure: Local}", "DRG1952"),
        ("{requests: 9, per: Second, where: Quota, status: 503}", "DRG1952"),
        ("{requests: 9, per: Second, where: Local, timeout: 1s}", "DRG1952"),
        (
            "{requests: 10, per: Second, algorithm: {type: LeakyBucket, burst: 20}, timeout: 1s}",
            "DRG1104",
        ),
        ("{requests: 9, per: Second, where: Quota, key: [{type: Claim, name: sub}]}", "DRG1973"),
        ("{requests: 1, per: Day, plans: {gold: {per: Hour}}}", "DRG1951"),
        ("{requests: 1, per: Day, plans: {gold: {requests: 1, unlimited: true}}}", "DRG1951"),
        ("{requests: 1, per: Day, plans: {gold: {requests: 1, burst: 1}}}", "DRG1108"),
        ("{requests: 1, per: Minute, algorithm: {type: LeakyBucket, burst: 2}}", "DRG1104"),
        (
            "{requests: 9, per: Day, algorithm: {type: LeakyBucket}, plans: {gold: {requests: 1, burst: 2}}}",
            "DRG1104",
        ),
        ("{requests: 100001, per: Minute, algorithm: {type: SlidingWindowLog}}", "DRG1104"),
    ],
)
def test_what_cannot_be_is_left_out_alone(site: Any, limit: str, code: str) -> None:
    site.apply(policy("own", ROUTE, f"bad: {limit}, good: {{requests: 1, per: Day}}"))
    assert codes(site) == {code}
    assert list(limits(site)) == ["good"]


@pytest.mark.parametrize(
    ("cost", "code"),
    [
        ("{}", "DRG1108"),
        ("{of: Response}", "DRG1108"),
        ("{header: x, metadata: {namespace: a, key: b}}", "DRG1108"),
        ("{metadata: {namespace: a, key: b..c}}", "DRG1103"),
        ("{metadata: {namespace: 'a:b', key: c}}", "DRG1103"),
    ],
)
def test_a_cost_is_said_in_one_place(site: Any, cost: str, code: str) -> None:
    site.apply(policy("own", ROUTE, f"one: {{requests: 1, per: Day, cost: {cost}}}"))
    refused = site.rejected[site.ref("RateLimitPolicy", "own")]
    assert code in {one.code for one in refused}
    site.apply(
        policy("own", ROUTE, "one: {requests: 1, per: Day, cost: {metadata: {namespace: a, key: b.c}}}")
    )
    assert limits(site)["one"].cost.path == ("a", "b", "c")


def test_conditions_become_expressions(site: Any) -> None:
    site.apply(
        policy(
            "own",
            ROUTE,
            "a: {requests: 1, per: Day, when: [{methods: [GET, PUT]}, {path: {value: /a.b/}},"
            " {path: {type: Exact, value: /}}, {path: {value: /}}, {header: {name: Host, value: x}}]}",
        )
    )
    found = [(one.header, one.value, one.regex) for one in limits(site)["a"].when]
    assert found == [
        (":method", "GET|PUT", True),
        (":path", r"^/a\.b([/?].*)?", True),
        (":path", r"^/(\?.*)?", True),
        (":path", "/.*", True),
        (":authority", "x", False),
    ]


def test_plans_merge_by_name_and_count_by_consumer(site: Any) -> None:
    plans = "gold: {requests: 9, burst: 20}, free: {unlimited: true}, old: {requests: 1}"
    algorithm = "algorithm: {type: TokenBucket}"
    site.apply(
        policy("edge", EDGE, f"a: {{requests: 1, per: Minute, plans: {{{plans}}}, {algorithm}}}"),
        policy("own", ROUTE, "a: {plans: {gold: {per: Hour}, old: {disabled: true}}}"),
    )
    found = limits(site)["a"]
    assert found.plans == (ratelimit.Plan("gold", 9, 3600.0, 20), ratelimit.Plan("free", None, 60.0))
    assert found.key == (ratelimit.KeyPart(ratelimit.Part.CONSUMER),)
    assert codes(site) == {"DRG1953"}, "nobody asks who a client is"
    keys = "apiKeys: {headers: [x-key]}"
    site.apply(f"kind: AuthPolicy\nmetadata: {{name: keys}}\nspec: {{targetRefs: [{EDGE}], {keys}}}\n")
    assert codes(site) == set()


def test_local_limits_that_cannot_be_told_apart(site: Any) -> None:
    """By their numbers they can; where they say the same it does not matter."""
    one = "{requests: 5, per: Day, where: Local, status: 503}"
    site.apply(policy("own", ROUTE, f"a: {one}, b: {{requests: 5, per: Hour, where: Local}}"))
    assert codes(site) == {"DRG1954"}
    assert list(limits(site)) == ["a", "b"]
    site.apply(policy("own", ROUTE, f"a: {one}, b: {{requests: 6, per: Hour, where: Local}}"))
    assert codes(site) == set()
    site.apply(policy("own", ROUTE, f"a: {one}, b: {{requests: 5, per: Hour, where: Local, status: 503}}"))
    assert codes(site) == set()
    hidden = "where: Local, headers: {xRateLimit: false}"
    site.apply(
        policy(
            "own",
            ROUTE,
            f"a: {{requests: 1, per: Day, {hidden}}}, b: {{requests: 2, per: Day,"
            f" {hidden}, body: {{message: Slowly}}}}",
        )
    )
    assert codes(site) == {"DRG1954"}


def test_quotas(site: Any) -> None:
    """A slow one is told to be inexact, and used; a request can pass two."""
    quota = "{requests: 9, per: Minute, where: Quota}"
    site.apply(policy("own", ROUTE, f"a: {quota}, b: {{requests: 1, per: Day}}, c: {quota}, d: {quota}"))
    assert codes(site) == {"DRG1974", "DRG1952"}
    assert [(one.name, one.where.value) for one in limits(site).values()] == [
        ("a", "Quota"),
        ("b", "Global"),
        ("c", "Quota"),
    ]
    assert limits(site)["a"].counting is ratelimit.Counting.TOKEN_BUCKET
