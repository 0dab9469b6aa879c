"""What explain says where credentials are looked up."""

from __future__ import annotations

from dataclasses import replace

import re2

from dragoman.explain import access
from dragoman.ir import model as ir
from dragoman.ir.order import LAST
from dragoman.ir.request import Prepared, Request

MATCH = ir.RouteMatch(ir.SegmentPrefix("/"))


BEARER = ir.Places((("authorization", "Bearer "),), ("token",), ("session",))
KEY = ir.Places((("x-api-key", ""),))


def found(auth: ir.Auth, path: str = "/", query: str | None = None, **headers: str) -> access.Data:
    route = ir.Route("r", MATCH, ir.Respond(200), LAST, auth=auth)
    brought = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    prepared = Prepared("", "", path, query, brought)
    data = access.found(route, Request("shop.example", path), prepared, re2.compile)
    assert data is not None
    return data


def test_a_token_that_is_looked_up() -> None:
    tokens = ir.Introspection("shop/tokens", "https://issuer.example/introspect", places=BEARER)
    rules = ir.AuthRules((ir.AuthRule(claims=(ir.Claim(("scope",), ("cart:read",)),)),))
    auth = ir.Auth(introspection=tokens, rules=rules, scopes=("cart:read",))
    for missing in ({}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer "}, {"query": "token="}):
        data = found(auth, **missing)
        assert (data["verdict"], data["status"], data["why"]) == (access.REFUSED, 401, "there is no token")
    for there in ({"query": "a=b&%74oken=t"}, {"cookie": "a=b; session=t"}):
        assert found(auth, **there)["verdict"] == access.DEPENDS
    data = found(auth, authorization="bearer t")
    assert data["needs"] == ["an active token (introspected at https://issuer.example/introspect)"]
    assert data["verdict"] == access.DEPENDS
    assert data["depends"] == ["what https://issuer.example/introspect says", "the rules"]


def test_what_may_be_missing() -> None:
    tokens = ir.Introspection("shop/tokens", "https://i.example", optional=True, fail_open=True)
    keys = ir.RedisKeys("shop/keys", fail_open=True)
    rules = ir.AuthRules((ir.AuthRule(groups=("staff",)),))
    data = found(ir.Auth(introspection=tokens, redis_keys=keys, rules=rules))
    assert data["needs"] == [
        "an active token (introspected at https://i.example), if it brings any, unless nobody can be asked",
        "an API key that Redis knows, unless nobody can be asked",
    ]
    assert data["rules"][0]["holds"] is None, "Redis knows the groups"


def test_groups_of_whom_a_token_makes_a_consumer() -> None:
    rules = ir.AuthRules((ir.AuthRule(groups=("staff",)),))
    tokens = ir.Introspection("shop/tokens", "https://i.example")
    assert found(ir.Auth(introspection=tokens, rules=rules))["rules"][0]["holds"] is False
    known = replace(tokens, consumers=ir.Lookup("shop", ir.Proof("token", "sub")))
    assert found(ir.Auth(introspection=known, rules=rules))["rules"][0]["holds"] is None


def test_one_of_several_and_what_is_excluded() -> None:
    tokens = ir.Introspection("shop/tokens", "https://i.example", optional=True)
    keys = ir.RedisKeys("shop/keys", optional=True)
    health = ir.AuthRule(paths=(("exact", "/health"),))
    needs = ir.Needs(("introspected", "redis"), True, (health,))
    tokens, keys = replace(tokens, places=BEARER), replace(keys, places=KEY)
    auth = ir.Auth(introspection=tokens, redis_keys=keys, needs=needs)
    data = found(auth)
    assert data["needs"][0] == "one of them: active token or API key that Redis knows, but for path /health"
    assert "an API key that Redis knows, if it brings any" in data["needs"]
    assert (data["verdict"], data["status"]) == (access.REFUSED, 401)
    assert found(auth, "/health")["verdict"] == access.PASSES, "nobody is asked"
    assert found(auth, "/health", x_api_key="k")["depends"] == ["what Redis knows of the API key"]
    assert found(auth, x_api_key="k")["verdict"] == access.DEPENDS
