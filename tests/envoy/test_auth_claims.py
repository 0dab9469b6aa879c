"""Claims as headers through the real Envoy: lists, nested ones, and what a client may not bring along."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, ISSUER, ask, bearer, jwt, policy, token
from tests.envoy.test_auth_keys import heard
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ROLES = "x-user-roles"


@pytest.fixture
async def shop(site: Site) -> Site:
    rules = [rule("shop"), rule("shop", path="/open", name="open")]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    claims = [
        {"claim": "realm.roles", "header": "X-User-Roles", "format": "List"},
        {"claim": "aud", "header": "x-user-aud", "format": "List"},
        {"claim": "scope", "header": "x-user-scope", "format": "List"},
        {"claim": "email", "header": "x-user-email"},
    ]
    open_route = {"kind": "HTTPRoute", "name": "shop", "sectionName": "open"}
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt(claimsToHeaders=claims)),
        policy("open", open_route, jwt={"disabled": True}),
    )
    await site.served(HOST, status=401)
    return site


async def told(shop: Site, path: str = "/", *lines: str, **claims: Any) -> dict[str, list[str]]:
    headers = heard(await ask(shop, path, *lines, bearer(token(**claims))))
    return {name.lower(): values for name, values in headers.items()}


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["admin", "staff"], "admin,staff"),
        (["admin"], "admin"),
        ("admin", "admin"),
        (["a,admin", "100%", "a b", "é\r\nx: y"], "a%2Cadmin,100%25,a b,%C3%A9%0D%0Ax: y"),
        (["-._~!*'()[]{}:;/?#@&=+$\"\\"], "-._~!*'()[]{}:;/?#@&=+$\"\\"),
        ([1, True, 2.5], "1,true,2.5"),
        (["a", ["b"], {"c": "d"}, "e"], "a,e"),
    ],
)
async def test_lists(shop: Site, roles: Any, expected: str) -> None:
    headers = await told(shop, realm={"roles": roles}, email="a@b.c", scope="one two")
    assert headers[ROLES] == [expected]
    assert headers["x-user-scope"] == ["one,two"]
    assert headers["x-user-aud"] == ["shop"]
    assert headers["x-user-email"] == ["a@b.c"]


async def test_what_is_not_there_cannot_be_claimed(shop: Site) -> None:
    claimed = ("X-User-Roles: admin", "x-user-roles: root", "X-User-Scope: all")
    for claims in ({}, {"realm": "admin"}, {"realm": {"roles": []}}, {"realm": {"roles": {"a": "admin"}}}):
        headers = await told(shop, "/", *claimed, **claims)
        assert not {ROLES, "x-user-scope"} & headers.keys(), claims
    headers = await told(shop, "/open", *claimed)
    assert not {ROLES, "x-user-scope"} & headers.keys()
    assert ISSUER.name
