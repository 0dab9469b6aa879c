"""What a request needs to pass, and whether it does as far as that can be told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dragoman import explain
from dragoman.explain import access
from dragoman.ir import answers, model as ir
from dragoman.refs import Ref
from tests.unit.ir.build import route, view

ISSUER = ir.JwtProvider("https://issuer.example", ("shop",), "{}")
JWT = ir.Jwt((ISSUER,))
KEYS = ir.ApiKeys((ir.KeySet("shop"), ir.KeySet("shop", "partners")), ("x-api-key",), ("key",), ("ak",))
BASIC = ir.Basic((("alice", bytes(20)),), "r", "x-consumer-id")
LOGIN = ir.Login(
    "1234",
    ir.ClusterKey(Ref("", ir.HOST, "https", "id.example"), 443),
    "https://id.example/authorize",
    "https://id.example/token",
    "shop",
    ir.SecretKey(ir.NOBODY),
    ir.SecretKey(ir.NOBODY),
    ("openid",),
    "/cart/callback",
    "/cart/logout",
)


def told(
    auth: ir.Auth | None,
    path: str = "/cart",
    method: str = "GET",
    csrf: ir.Csrf | None = None,
    **headers: str,
) -> dict[str, Any]:
    """What is said of access; `status` of the whole is added as `answered`."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    made = replace(route("HTTPRoute/shop/cart/0/0", "/cart"), auth=auth, csrf=csrf)
    answer = explain.explain_request(
        view({"*": [made]}), explain.parse(method, f"http://shop.example{path}", pairs)
    )
    json.dumps(answer.data)
    assert answer.lines()
    found: dict[str, Any] = answer.data.get("access", {})
    return found | {"answered": answer.data["status"]}


def verdict(auth: ir.Auth | None, *args: Any, **more: Any) -> str:
    found = told(auth, *args, **more)
    if found["verdict"] == "refused":
        return f"{found['status']} {found['error']}"
    return str(found["verdict"])


def test_nothing_is_asked() -> None:
    assert "verdict" not in told(None)
    assert "verdict" not in told(ir.Auth(answers=(answers.Answer("forbidden"),)))


def test_a_token() -> None:
    found = told(ir.Auth(JWT))
    places = "header `authorization: Bearer` or parameter `access_token`"
    assert found["needs"] == [f"a token of https://issuer.example for shop, in {places}"]
    assert (found["verdict"], found["why"], found["answered"]) == ("refused", "there is no token", 401)
    assert verdict(ir.Auth(JWT), authorization="Bearer abc") == "depends"
    assert verdict(ir.Auth(JWT), "/cart?access_token=abc") == "depends"
    assert verdict(ir.Auth(JWT), authorization="Basic abc") == "401 unauthorized"
    assert verdict(ir.Auth(replace(JWT, optional=True))) == "passes"
    own = ir.Jwt((replace(ISSUER, headers=(("x-token", ""),), cookies=("t",)),))
    assert verdict(ir.Auth(own), authorization="Bearer abc") == "401 unauthorized"
    assert verdict(ir.Auth(own), x_token="abc") == "depends"
    assert verdict(ir.Auth(own), cookie="a=b; t=abc") == "depends"


def test_keys_and_passwords() -> None:
    found = told(ir.Auth(keys=KEYS))
    places = "header `x-api-key` or parameter `key` or cookie `ak`"
    assert found["needs"] == [f"an API key of Secret shop/partners or Consumers of shop, in {places}"]
    assert verdict(ir.Auth(keys=KEYS)) == "401 unauthorized"
    assert verdict(ir.Auth(keys=replace(KEYS, optional=True))) == "passes"
    for given in ({"x_api_key": "k"}, {"cookie": "ak=k"}):
        assert verdict(ir.Auth(keys=KEYS), **given) == "depends"
    assert verdict(ir.Auth(keys=KEYS), "/cart?key=k") == "depends"
    assert verdict(ir.Auth(basic=BASIC)) == "401 unauthorized"
    assert verdict(ir.Auth(basic=BASIC), authorization="Basic abc") == "depends"
    both = ir.Auth(JWT, keys=KEYS)
    assert verdict(both, authorization="Bearer a") == "401 unauthorized"
    assert told(both, authorization="Bearer a", x_api_key="k")["depends"] == ["the token", "the API key"]


def test_one_of_several() -> None:
    jwt, keys, basic = (
        replace(JWT, optional=True),
        replace(KEYS, optional=True),
        replace(BASIC, optional=True),
    )
    kinds = ("token", "user", "key")
    health = ir.AuthRule(methods=("GET",), paths=(("prefix", "/cart/health"),))
    either = ir.Auth(jwt, keys=keys, basic=basic, needs=ir.Needs(kinds, True, (health,)))
    found = told(either)
    assert found["needs"][-1] == (
        "one of them: token or password or API key, but for method GET and path /cart/health/*"
    )
    assert (found["answered"], found["error"], found["why"]) == (
        401,
        "unauthorized",
        "there is no token or password or API key",
    )
    for given in ({"authorization": "Bearer a"}, {"x_api_key": "k"}, {"authorization": "Basic a"}):
        assert verdict(either, **given) == "depends"
    assert verdict(either, "/cart/health/live") == "passes"
    assert verdict(either, "/cart/health/live", "POST") == "401 unauthorized"
    every = replace(either, needs=ir.Needs(kinds, False, (health,)))
    assert verdict(every, authorization="Bearer a") == "401 unauthorized"
    assert verdict(every, "/cart/health") == "passes"
    shown = ir.Auth(jwt, certificate=ir.Certificate(True), needs=ir.Needs(("token", "certificate"), True))
    assert verdict(shown) == "depends"
    assert verdict(ir.Auth(basic=basic)) == "passes"


def test_a_login() -> None:
    found = told(ir.Auth(login=LOGIN))
    assert found["needs"] == ["a session, after a login at id.example"]
    assert (found["answered"], found["error"]) == (302, "login")
    assert verdict(ir.Auth(login=LOGIN), accept="application/json") == "401 unauthorized"
    assert verdict(ir.Auth(login=LOGIN), x_requested_with="X") == "401 unauthorized"
    assert verdict(ir.Auth(login=LOGIN), accept="text/html", sec_fetch_mode="cors") == "401 unauthorized"
    assert verdict(ir.Auth(login=LOGIN), accept="text/html", sec_fetch_mode="navigate") == "302 login"
    assert verdict(ir.Auth(login=LOGIN), cookie="__Host-login-1234-mac=a") == "depends"
    assert verdict(ir.Auth(login=LOGIN), cookie="__Host-login-9999-mac=a") == "302 login"
    assert verdict(ir.Auth(login=LOGIN), "/cart/callback?code=a") == "depends"
    assert verdict(ir.Auth(login=LOGIN), "/cart/logout") == "302 logout"
    checked = ir.Auth(JWT, login=replace(LOGIN, checked=True, bearers=True))
    assert verdict(checked, authorization="Bearer a") == "depends"
    assert verdict(checked) == "302 login"
    assert told(checked, cookie="__Host-login-1234-mac=a")["depends"] == [
        "the session",
        "the session's token",
    ]
    assert verdict(ir.Auth(login=LOGIN), authorization="Bearer a") == "302 login"


def test_a_service_and_certificates() -> None:
    asked = ir.External(ir.ClusterKey(Ref("", "Service", "shop", "authz"), 9000))
    found = told(ir.Auth(external=asked, certificate=ir.Certificate()))
    assert (found["verdict"], found["depends"]) == (
        "depends",
        ["the certificate", "what Service shop/authz says"],
    )


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        (ir.AuthRule(methods=("POST",)), {}, "403 forbidden"),
        (ir.AuthRule(methods=("GET", "POST")), {}, "passes"),
        (ir.AuthRule(paths=(("prefix", "/cart"),)), {}, "passes"),
        (ir.AuthRule(paths=(("prefix", "/car"), ("exact", "/cart/x"))), {}, "403 forbidden"),
        (ir.AuthRule(paths=(("regex", "/c.*"),)), {}, "passes"),
        (ir.AuthRule(headers=(("x-a", "1", False),)), {"x_a": "1"}, "passes"),
        (ir.AuthRule(headers=(("x-a", "1", False),)), {}, "403 forbidden"),
        (ir.AuthRule(headers=(("x-a", "[0-9]+", True),)), {"x_a": "12"}, "passes"),
        (ir.AuthRule(addresses=("127.0.0.0/8",)), {}, "passes"),
        (ir.AuthRule(addresses=("10.0.0.0/8", "::/0")), {}, "403 forbidden"),
        (ir.AuthRule(addresses=("10.0.0.0/8",)), {"x_forwarded_for": "10.0.0.1"}, "depends"),
        (ir.AuthRule(user_agents=("curl/.*",)), {"user_agent": "curl/8"}, "passes"),
        (ir.AuthRule(claims=(ir.Claim(("x",), ("y",)),)), {}, "403 forbidden"),
        (ir.AuthRule(groups=("staff",)), {}, "403 forbidden"),
        (ir.AuthRule(), {}, "passes"),
    ],
)
def test_rules_that_can_be_told(rule: ir.AuthRule, given: dict[str, str], expected: str) -> None:
    assert verdict(ir.Auth(rules=ir.AuthRules((rule,))), **given) == expected
    denies = verdict(ir.Auth(rules=ir.AuthRules(None, (rule,))), **given)
    opposite = {"passes": "403 forbidden", "403 forbidden": "passes", "depends": "depends"}
    assert denies == opposite[expected]


def test_rules_on_what_a_token_says() -> None:
    scope = ir.AuthRule(claims=(ir.Claim(("scope",), ("cart:read",)),), methods=("GET",))
    auth = ir.Auth(JWT, ir.AuthRules((scope,)), ("cart:read",))
    found = told(auth, authorization="Bearer a")
    assert found["depends"] == ["the token", "the rules"]
    assert found["rules"] == [
        {"kind": "allow", "words": "scope cart:read and method GET", "holds": None},
    ]
    refused = told(auth, method="POST", authorization="Bearer a")
    assert (refused["answered"], refused["error"]) == (403, "insufficient_scope")
    assert refused["rules"][0]["fails"] == "method GET"
    # Without a token it does not come to the rules.
    assert verdict(auth, method="POST") == "401 unauthorized"
    # A dry run refuses nobody.
    assert verdict(ir.Auth(rules=ir.AuthRules((scope,), (), True)), method="POST") == "passes"


def test_pages_of_other_hosts() -> None:
    csrf = ir.Csrf(("app.example", "*.trusted.example"), (r"pr-[0-9]+\.example",))

    def asked(method: str = "POST", **headers: str) -> str:
        return verdict(None, "/cart", method, csrf, **headers)

    assert asked() == "403 forbidden"
    assert asked("GET") == "passes"
    assert asked(origin="https://evil.example") == "403 forbidden"
    assert asked(origin="null") == "403 forbidden"
    for page in ("http://shop.example", "https://app.example", "https://a.trusted.example"):
        assert asked(origin=page) == "passes"
    assert asked(referer="https://pr-7.example/cart") == "passes"


def test_a_status_of_its_own() -> None:
    words = (answers.Answer("unauthorized", 404),)
    assert told(ir.Auth(JWT, answers=words))["answered"] == 404


def test_what_a_route_needs_without_a_request() -> None:
    rules = ir.AuthRules(
        (ir.AuthRule(methods=("GET",)), ir.AuthRule(groups=("staff",))),
        (ir.AuthRule(user_agents=("bot.*",)),),
    )
    found = access.needed(replace(route("HTTPRoute/shop/cart/0/0", "/cart"), auth=ir.Auth(JWT, rules)))
    assert found[1:] == ["not user agent bot.*", "method GET or group staff"]
    assert found[0].startswith("a token of https://issuer.example")
