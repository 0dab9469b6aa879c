"""Explanations of requests: data, text, expectations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dragoman import explain
from dragoman.diagnostics import Span
from dragoman.ir import model as ir
from dragoman.refs import FieldPath, Ref
from tests.unit.ir.build import View, forward, route, service, view

UP = ir.Endpoint("10.0.0.1", 8080)
DRAINING = ir.Endpoint("10.0.0.2", 8080, health=ir.Health.DRAINING)
DOWN = ir.Endpoint("10.0.0.3", 8080, health=ir.Health.UNHEALTHY)


def ask(
    world: View, url: str = "http://shop.example/cart", method: str = "GET", **headers: str
) -> explain.Explanation:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return explain.explain_request(world, explain.parse(method, url, pairs))


def locate(ref: Ref, path: FieldPath) -> Span:
    return Span(f"{ref.name}.yaml", 3 + len(path))


def test_a_forwarded_request_is_told_whole() -> None:
    action = replace(
        forward(("cart", 90), ("cart-v2", 10)),
        rewrite=ir.ReplacePrefix("/cart", "/v1"),
        hostname="cart.internal",
        timeout=2.5,
        try_timeout=0.0,
        retry=ir.Retry(3, (502, 503)),
        session=ir.SessionPersistence(ir.SessionKind.COOKIE, "sid"),
        mirrors=(ir.Mirror(service("shadow"), 1, 1000),),
    )
    routes = [
        route("HTTPRoute/shop/cart/0/0", "/cart", headers=[ir.HeaderMatch("x-env", ir.Exact("canary"))]),
        route(
            "HTTPRoute/shop/cart/1/0",
            "/cart",
            action,
            request_headers=ir.HeaderMutation(set=(("x-by", "dragoman"),), remove=("x-no",)),
            cors=ir.Cors(("https://*.example",)),
        ),
    ]
    world = view({"shop.example": routes, "*.example": []}, {"cart": [UP, DRAINING], "cart-v2": [DOWN]})
    request = explain.parse("GET", "http://shop.example/cart/7?x=1", [("x-env", "blue")])
    answer = explain.explain_request(world, request, locate)
    json.dumps(answer.data)
    data = answer.data
    assert (data["outcome"], data["status"]) == ("routed", None)
    assert data["virtual_host"] == {
        "domain": "shop.example",
        "table": "127.0.0.1:80",
        "passed": ["*.example"],
    }
    assert data["route"] == {
        "name": "HTTPRoute/shop/cart/1/0",
        "object": "HTTPRoute shop/cart",
        "field": "spec.rules[0]",
        "place": "cart.yaml:6",
    }
    assert (data["action"]["path"], data["action"]["host"]) == ("/v1/7?x=1", "cart.internal")
    shares = {
        each["name"]: (each["percent"], each["endpoints"]["ready"]) for each in data["action"]["clusters"]
    }
    assert shares == {"Service/shop/cart/80": (90, 1), "Service/shop/cart-v2/80": (10, 0)}
    assert answer.lines() == [
        "GET http://shop.example/cart/7?x=1",
        "  listener      127.0.0.1:80",
        "  virtual host  shop.example (before *.example)",
        "  candidates",
        "     - HTTPRoute/shop/cart/0/0  prefix `/cart`, header `x-env` `canary`",
        "         header `x-env` is `blue`, wanted `canary`",
        "    => HTTPRoute/shop/cart/1/0  prefix `/cart`",
        "  route         HTTPRoute/shop/cart/1/0  (HTTPRoute shop/cart spec.rules[0], cart.yaml:6)",
        "  outcome       forwarded",
        "  as            /v1/7?x=1 for cart.internal",
        "  backend       90% Service/shop/cart/80  1 of 2 endpoints ready",
        "  backend       10% Service/shop/cart-v2/80  0 of 1 endpoints ready",
        "  mirror        0.1% Service/shop/shadow/80",
        "  timeout       2.5 s",
        "  per try       none",
        "  retry         3 times on 502, 503",
        "  session       by cookie sid",
        "  request       set x-by: dragoman; remove x-no",
        "  cors          allows https://*.example",
    ]


@pytest.mark.parametrize(
    ("action", "endpoints", "status"),
    [
        (forward("cart"), {"cart": [UP]}, None),
        (forward("cart"), {"cart": [DRAINING, DOWN]}, 503),
        (forward("cart"), {"cart": []}, 503),
        (forward(("cart", 0)), {"cart": [UP]}, 500),
        (ir.Forward(()), {}, 500),
        (ir.Forward((ir.WeightedBackend(None, 1, reason="no such Service"),)), {}, 500),
        (forward("cart", "other"), {"cart": [UP], "other": []}, None),
        (ir.Respond(418), {}, 418),
    ],
)
def test_the_status_is_told_where_envoy_answers_itself(
    action: ir.Action, endpoints: dict[str, list[ir.Endpoint]], status: int | None
) -> None:
    assert ask(view({"*": [route("it", "/", action)]}, endpoints)).data["status"] == status


def test_redirects_tell_their_location() -> None:
    world = view({"*": [route("it", "/", ir.Redirect(301, scheme="https", path=ir.ReplaceFullPath("/new")))]})
    data = ask(world).data
    assert data["action"] == {"kind": "redirect", "status": 301, "location": "https://shop.example/new"}


@pytest.mark.parametrize(
    ("origin", "method", "preflight", "allowed"),
    [
        ("https://a.example", "OPTIONS", True, True),
        ("https://a.example", "GET", False, True),
        ("https://.example", "OPTIONS", True, False),
        ("https://a.test", "OPTIONS", True, False),
        ("", "OPTIONS", False, False),
    ],
)
def test_preflights_are_answered_by_envoy(origin: str, method: str, preflight: bool, allowed: bool) -> None:
    cors = ir.Cors(("https://*.example",))
    world = view(
        {"*": [route("it", cors=cors), route("lame", "/lame", ir.Forward(()), cors=cors)]}, {"cart": [UP]}
    )
    headers = {"origin": origin, "access_control_request_method": "PUT"}
    data = ask(world, method=method, **headers).data
    assert (data["preflight"], data["origin_allowed"]) == (preflight, allowed)
    assert data["status"] == (200 if preflight else None)
    assert ask(world, "http://shop.example/lame", method=method, **headers).data["status"] == 500


@pytest.mark.parametrize(
    ("url", "outcome", "last"),
    [
        ("http://shop.example/none", "no route", "  outcome       404 from Envoy: no route"),
        ("http://other.example/", "no virtual host", "  outcome       404 from Envoy: no virtual host"),
        ("https://shop.example/", "no listener", "  outcome       no answer: no listener"),
        ("http://shop.example/a%2fb", "refused", "  outcome       307 to /a/b"),
    ],
)
def test_requests_that_reach_no_route(url: str, outcome: str, last: str) -> None:
    answer = ask(view({"shop.example": [route("it", "/cart")]}), url)
    assert answer.data["outcome"] == outcome
    assert answer.lines()[-1] == last


def test_expectations() -> None:
    world = view(
        {"*": [route("HTTPRoute/shop/cart/0/0", action=forward("a", ("b", 0)))]}, {"a": [UP], "b": [UP]}
    )
    answer = ask(world)
    held = [
        "cluster=Service/shop/a/80",
        "route=HTTPRoute/shop/cart",
        "route=HTTPRoute/shop/cart/0/0",
        "path=/cart",
        "host=shop.example",
        "listener=127.0.0.1:80",
        "domain=*",
        "outcome=routed",
    ]
    assert answer.unmet(held) == []
    assert answer.unmet(["cluster=Service/shop/b/80", "status=404", "route=HTTPRoute/shop/car"]) == [
        "expected cluster=Service/shop/b/80, found Service/shop/a/80",
        "expected status=404, found what the backend answers",
        "expected route=HTTPRoute/shop/car, found HTTPRoute/shop/cart/0/0",
    ]


@pytest.mark.parametrize("wrong", ["status", "colour=red", ""])
def test_what_is_no_expectation(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no expectation"):
        ask(view({})).unmet([wrong])


def test_many_candidates_are_counted() -> None:
    routes = [route(f"r{number:03}", f"/{'x' * (100 - number)}") for number in range(60)] + [
        route("it", "/cart")
    ]
    data: dict[str, Any] = ask(view({"*": routes}), "http://a/cart").data
    text = "\n".join(explain.lines(data))
    assert "... 40 more before" in text
    assert "=> it" in text


def test_where_the_token_decides_both_ways_are_told() -> None:
    cases = (
        ir.Case((ir.Claim(("realm", "tier"), ("gold", "platinum")),), forward(("cart-v2", 3)).backends),
        ir.Case((ir.Claim(("roles",), ("staff",)), ir.Claim(("eu",), ("y",))), forward("gone").backends),
    )
    world = view(
        {"*": [route("it", "/cart", replace(forward("cart"), cases=cases))]}, {"cart": [UP], "cart-v2": [UP]}
    )
    answer = ask(world)
    assert [one["words"] for one in answer.data["action"]["cases"]] == [
        "realm.tier gold or platinum",
        "roles staff and eu y",
    ]
    told = [line.strip() for line in answer.lines()]
    start = told.index("if            the token says realm.tier gold or platinum")
    assert told[start + 1].startswith("backend       100% Service/shop/cart-v2/80")
    assert told[start + 2] == "else if       the token says roles staff and eu y"
    assert told[start + 4] == "else"
    assert told[start + 5].startswith("backend       100% Service/shop/cart/80")


def test_a_token_that_is_told_of_decides() -> None:
    case = ir.Case((ir.Claim(("realm", "tier"), ("gold",)),), forward("cart-v2").backends)
    asked = ir.Auth(ir.Jwt((ir.JwtProvider("https://issuer.example", (), "{}"),)))
    rule = ir.AuthRule(claims=(ir.Claim(("scope",), ("cart:read",)),))
    auth = replace(asked, rules=ir.AuthRules((rule,)), scopes=("cart:read",))
    action = replace(forward("cart"), cases=(case,))
    world = view({"*": [route("it", "/cart", action, auth=auth)]}, {"cart": [UP], "cart-v2": [UP]})

    def told(*claims: tuple[str, str]) -> explain.Explanation:
        request = replace(explain.parse("GET", "http://shop.example/cart"), claims=claims)
        answer = explain.explain_request(world, request)
        json.dumps(answer.data)
        return answer

    assert told().data["status"] == 401
    scope = ("scope", "cart:write cart:read")
    gold = told(("realm.tier", "silver"), ("realm.tier", "gold"), scope)
    assert not gold.unmet(["cluster=Service/shop/cart-v2/80"])
    assert gold.data["access"]["verdict"] == "passes"
    assert gold.data["case"]["words"] == "realm.tier gold"
    assert any("its token says realm.tier silver, realm.tier gold" in line for line in gold.lines())
    silver = told(("realm.tier", "silver"), scope)
    assert not silver.unmet(["cluster=Service/shop/cart/80"])
    assert "case" not in silver.data
    refused = told(("realm.tier", "gold"))
    assert (refused.data["status"], refused.data["access"]["error"]) == (403, "insufficient_scope")
