"""Routing by claims through the real Envoy: tokens that were checked say which backend it is, and nothing
else does. One site for all; in its two shapes: a table as one list, and cut into scopes with trees.

The backends' own logs decide.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.test_auth import (
    GATEWAY,
    HOST,
    IMPOSTOR,
    ISSUER,
    NOW,
    ask,
    bearer,
    error,
    jwt,
    policy,
    token,
)
from tests.harness import manifests, net, tokens
from tests.harness.load import read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OTHER = tokens.Issuer("https://other.example")
GOLD = {"claims": [{"name": "realm.tier", "values": ["gold", "platinum"]}]}
STAFF = {"claims": [{"name": "roles", "values": ["staff"]}, {"name": "region", "values": ["eu"]}]}


TREATED = [
    {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-treated", "value": "yes"}]},
    },
    {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-back", "value": "yes"}]},
    },
    {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}},
    },
]


def case(given: manifests.Body, *backends: str | tuple[str, int]) -> manifests.Body:
    return {**given, "backendRefs": rule(*backends)["backendRefs"]}


def routing(*cases: manifests.Body) -> manifests.Body:
    return {"byClaim": list(cases)}


def at(name: str) -> manifests.Body:
    return {"kind": "HTTPRoute", "name": "shop", "sectionName": name}


def weak() -> manifests.Body:
    """Another issuer, whose tokens are optional."""
    provider = {"name": "other", "issuer": OTHER.name, "jwks": {"inline": OTHER.jwks}}
    return {"providers": [provider], "optional": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["list", "scopes"])
async def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, envoy_binary: Path
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp(request.param)
    scoped = request.param == "scopes"
    environment = {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": "2"} if scoped else None
    async with Site(folder, environment=environment) as site:
        names = ("shop", "gold", "silver", "staff", "vault", "lounge", "astray")
        services = [each for name in names for each in await site.service(name)]
        rules = [
            rule("shop"),
            rule("shop", path="/changing", name="changing"),
            rule("shop", path="/admin", name="admin"),
            rule("shop", path="/weak", name="weak"),
            rule("shop", path="/nobody", name="nobody"),
            rule("shop", path="/excluded", name="excluded"),
            rule("shop", path="/limited", name="limited"),
            rule("shop", path="/paged", name="paged"),
            rule(
                ("shop", 1),
                ("silver", 1),
                path="/kept",
                name="kept",
                sessionPersistence={"sessionName": "cart"},
            ),
            rule("shop", path="/treated", name="treated", filters=TREATED, timeouts={"request": "2s"}),
        ]
        # What a filter sets may be what another route of the same path asks for.
        named = {
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"name": "x-user-id", "value": "alice"}],
        }
        carried = {
            "path": {"type": "PathPrefix", "value": "/carried"},
            "headers": [{"name": "authorization", "type": "RegularExpression", "value": "Bearer .*"}],
        }
        more = http_route(
            "more",
            {**rule("astray"), "matches": [named]},
            {**rule("shop"), "matches": [carried]},
            hostnames=[HOST],
        )
        crowd = []
        if scoped:
            crowd = [http_route(f"h{n}", rule("shop"), hostnames=[f"h{n}.example"]) for n in range(3)]
            crowd += [http_route(f"t{n}", *map(crowded, range(16)), hostnames=[HOST]) for n in range(8)]
        site.plane.write("shop.yaml", *services, http_route("shop", *rules), more, *crowd)
        gold = case(GOLD, "gold")
        site.plane.write(
            "auth.yaml",
            policy("all", GATEWAY, jwt=jwt(forward=False)),
            policy(
                "shop", {"kind": "HTTPRoute", "name": "shop"}, routing=routing(gold, case(STAFF, "staff"))
            ),
            policy("more", {"kind": "HTTPRoute", "name": "more"}, routing=routing(gold)),
            policy(
                "admin",
                at("admin"),
                rules={"allow": [{"scopes": {"allOf": ["admin"]}}]},
                routing=routing(case(GOLD, "vault")),
            ),
            policy("weak", at("weak"), jwt=weak(), routing=routing(case(GOLD, "lounge"))),
            policy("nobody", at("nobody"), routing=routing(case(GOLD, "gone"))),
            policy("excluded", at("excluded"), exclude=[{"methods": ["GET"]}]),
            policy("paged", at("paged"), cors={"allowOrigins": [{"value": "https://app.example"}]}),
            policy("kept", at("kept"), routing=routing(case(GOLD, "gold", "staff"))),
            {
                **policy(
                    "limited", at("limited"), limits={"own": {"requests": 4, "per": "Day", "where": "Local"}}
                ),
                "kind": "RateLimitPolicy",
            },
        )
        await site.served(HOST, status=401)
        if scoped:
            await net.until("scopes and a tree", lambda: cut(site))
        yield site


def crowded(number: int) -> manifests.Body:
    """One of many routes: a few paths, each with several, so that a tree pays."""
    path = {"type": "PathPrefix", "value": f"/t/{number // 4}"}
    headers = [{"name": "x-number", "value": str(number)}]
    return {**rule("astray"), "matches": [{"path": path, "headers": headers}]}


async def cut(site: Site) -> bool:
    """Whether Envoy looks in scopes, and in a tree of routes within them."""
    text = json.dumps(await site.envoy.config())
    return '"scoped_routes"' in text and '"prefix_match_map"' in text


async def reached(site: Site, path: str, *lines: str, **more: Any) -> str:
    """Which backend answered, or the status."""
    reply = await ask(site, path, *lines, **more)
    return str(json.loads(reply.body)["pod"]) if reply.status == 200 else str(reply.status)


def gold(tier: Any = "gold", **claims: Any) -> str:
    return token(realm={"tier": tier}, **claims)


async def test_what_a_token_says_decides(shop: Site) -> None:
    for expected, claims in (
        ("gold", {"realm": {"tier": "gold"}}),
        ("gold", {"realm": {"tier": ["silver", "platinum"]}}),
        ("shop", {"realm": {"tier": "silver"}}),
        ("shop", {"realm": {"tier": "Gold"}}),
        ("shop", {"realm": {"tier": ["silver"]}}),
        ("shop", {"realm": {"tier": {"gold": "gold"}}}),
        ("shop", {"realm": {"tier": 1}}),
        ("shop", {"realm": "gold"}),
        ("shop", {"tier": "gold"}),
        ("shop", {"realm.tier": "gold"}),
        ("shop", {}),
        ("staff", {"roles": ["user", "staff"], "region": "eu"}),
        ("shop", {"roles": ["user", "staff"], "region": "us"}),
        ("shop", {"roles": ["staff"]}),
        ("gold", {"roles": ["staff"], "region": "eu", "realm": {"tier": "gold"}}),
    ):
        assert await reached(shop, "/", bearer(token(**claims))) == expected, claims
    reply = await ask(shop, "/x?y=z", bearer(gold()), method="POST")
    said = json.loads(reply.body)
    assert (said["pod"], said["path"], said["method"]) == ("gold", "/x?y=z", "POST")
    assert said["headers"]["X-User-Id"] == ["alice"]
    assert "Authorization" not in said["headers"]


async def test_nothing_else_does(shop: Site) -> None:
    forged = (
        "realm.tier: gold",
        "x-tier: gold",
        "dragoman.cases: 1",
        "x-payload: gold",
        "x-user-roles: staff",
    )
    assert await reached(shop, "/", *forged) == "401"
    assert await reached(shop, "/", bearer(token()), *forged) == "shop"
    assert await reached(shop, "/?dragoman.cases=1&realm.tier=gold", bearer(token())) == "shop"
    before = {name: list(each.echo.seen) for name, each in shop.backends.items()}
    claims: dict[str, Any] = {"realm": {"tier": "gold"}, "aud": "shop", "exp": NOW + 3600}
    for attack, text in {
        "another key": IMPOSTOR.token(**claims),
        "alg none": ISSUER.token({"alg": "none"}, **claims),
        "HS256 with the public key": ISSUER.token({"alg": "HS256"}, **claims),
        "expired": gold(exp=NOW - 3600),
        "another audience": gold(aud="bank"),
        "another issuer": OTHER.token(**claims),
    }.items():
        assert await reached(shop, "/", bearer(text)) == "401", attack
    assert before == {name: each.echo.seen for name, each in shop.backends.items()}


async def test_from_where_little_is_asked_nobody_comes_to_where_much_is(shop: Site) -> None:
    """Two rules of one host, each with a case that the same claim meets: each asks for what it asks."""
    theirs = OTHER.token(realm={"tier": "gold"}, scope="admin")
    ours = gold(scope="user")
    before = list(shop.backends["vault"].echo.seen), list(shop.backends["lounge"].echo.seen)
    for path, lines, expected in (
        ("/admin", (), "401"),
        ("/admin", (bearer(theirs),), "401"),
        ("/admin", (bearer(ours),), "403"),
        ("/admin", (bearer(token(scope="admin")),), "shop"),
        ("/weak", (bearer(ours),), "401"),
        ("/weak", (), "shop"),
        ("/weak", (bearer(OTHER.token(scope="admin")),), "shop"),
        ("/weak/../admin", (bearer(theirs),), "401"),
        ("/weak/%2e%2e/admin", (bearer(theirs),), "401"),
        ("/weak/..;/admin", (bearer(theirs),), "401"),
        ("//admin", (bearer(theirs),), "401"),
        ("/weak/%61dmin", (bearer(OTHER.token()),), "shop"),
    ):
        assert await reached(shop, path, *lines) == expected, (path, lines)
    assert before == (shop.backends["vault"].echo.seen, shop.backends["lounge"].echo.seen)
    assert await reached(shop, "/admin", bearer(gold(scope="admin user"))) == "vault"
    assert await reached(shop, "/weak", bearer(theirs)) == "lounge"


async def test_what_filters_do_to_a_request_leads_nowhere_else(shop: Site) -> None:
    """A header that the token became is what a route before this one asks for; the one that this route
    asked for is gone."""
    assert await reached(shop, "/", bearer(gold(sub="alice"))) == "gold"
    assert await reached(shop, "/carried", bearer(gold(sub="bob"))) == "gold"
    assert await reached(shop, "/carried", bearer(token(sub="bob"))) == "shop"


async def test_a_case_without_a_backend_is_answered(shop: Site) -> None:
    assert await reached(shop, "/nobody", bearer(token())) == "shop"
    assert await reached(shop, "/nobody", bearer(gold())) == "500"


async def test_all_else_of_a_route_holds_for_its_cases(shop: Site) -> None:
    reply = await ask(shop, "/treated/x", bearer(gold()))
    said = json.loads(reply.body)
    assert (said["pod"], said["path"], said["headers"]["X-Treated"]) == ("gold", "/new/x", ["yes"])
    assert reply.headers["x-back"] == "yes"
    assert (await ask(shop, "/treated/x?delay=20", bearer(gold()))).status == 504
    found = [
        await reached(shop, "/limited", bearer(text)) for text in (gold(), token(), gold(), token(), gold())
    ]
    assert found == ["gold", "shop", "gold", "shop", "429"]


async def test_who_needs_no_token_may_bring_one(shop: Site) -> None:
    assert await reached(shop, "/excluded") == "shop"
    assert await reached(shop, "/excluded", bearer(gold())) == "gold"
    assert (
        await reached(shop, "/excluded", bearer(IMPOSTOR.token(realm={"tier": "gold"}, aud="shop"))) == "401"
    )


async def test_preflights_are_answered_before(shop: Site) -> None:
    before = {name: len(each.echo.seen) for name, each in shop.backends.items()}
    asked = ("Origin: https://app.example", "Access-Control-Request-Method: GET")
    reply = await ask(shop, "/paged", *asked, method="OPTIONS")
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert before == {name: len(each.echo.seen) for name, each in shop.backends.items()}
    reply = await ask(shop, "/paged", asked[0], bearer(gold()))
    assert json.loads(reply.body)["pod"] == "gold"
    assert reply.headers["access-control-allow-origin"] == "https://app.example"


async def test_sessions_hold_within_a_case(shop: Site) -> None:
    """A client that gets another token leaves the one session and begins another."""
    cookies: dict[str, str] = {}
    for text, among in ((gold(), {"gold", "staff"}), (token(), {"shop", "silver"})):
        pods: set[str] = set()
        for _ in range(8):
            held = f"Cookie: {'; '.join(f'{name}={value}' for name, value in cookies.items())}"
            reply = await ask(shop, "/kept", bearer(text), *([held] if cookies else []))
            pods.add(json.loads(reply.body)["pod"])
            for line in reply.headers.get("set-cookie", "").split(", "):
                name, equals, value = line.partition(";")[0].partition("=")
                cookies |= {name: value} if equals else {}
        assert len(pods) == 1
        assert pods <= among


async def test_many_on_one_connection(shop: Site) -> None:
    """What one request was is nothing to the next one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
    try:
        for number in range(30):
            text = gold() if number % 3 else token()
            writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{bearer(text)}\r\n\r\n".encode())
            reply = await read_reply(reader)
            assert json.loads(reply.body)["pod"] == ("gold" if number % 3 else "shop")
    finally:
        writer.close()


async def test_backends_change_without_a_lost_request(shop: Site) -> None:
    """The backends of a case, their weights, the cases, under load: every request is answered, those with
    the claim by what the case says at the time."""
    stop = asyncio.Event()
    wrong: list[str] = []
    pods: set[str] = set()
    done = 0
    text = gold()

    async def clients() -> None:
        nonlocal done
        while not stop.is_set():
            with_claim, without = await asyncio.gather(
                reached(shop, "/changing", bearer(text)), reached(shop, "/changing", bearer(token()))
            )
            pods.add(with_claim)
            wrong.extend({with_claim} - {"gold", "silver"})
            wrong.extend({without} - {"shop"})
            done += 2

    def write(*backends: str | tuple[str, int]) -> None:
        shop.plane.write(
            "changing.yaml", policy("changing", at("changing"), routing=routing(case(GOLD, *backends)))
        )

    async def led(name: str) -> bool:
        return await reached(shop, "/changing", bearer(text)) == name

    write("silver")
    await net.until("silver", lambda: led("silver"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients())
        for number in range(8):
            backends = (("gold", "silver"), ("gold",), (("gold", 9), ("silver", 1)), ("silver",))[number % 4]
            write(*backends)
            goal = done + 30
            await net.until("more requests", lambda goal=goal: done >= goal)
        write("gold")
        await net.until("gold", lambda: led("gold"))
        stop.set()
    assert not wrong
    assert pods == {"gold", "silver"}
    assert error(await ask(shop, "/changing")) == "unauthorized"
