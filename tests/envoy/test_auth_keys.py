"""API keys and Consumers through the real Envoy: who passes, what the backend learns, and what it never
sees."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, ask, error, policy
from tests.harness import manifests, net
from tests.harness.load import Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

OLD, NEW, BOB, PARTNER = "alice-old-0001", "alice-new-0002", "bob-0003", "partner-0004"


def secret(name: str, namespace: str = "shop", **entries: str) -> manifests.Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": entries,
    }


def consumer(name: str, namespace: str = "shop", **spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Consumer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"apiKeys": [{"name": f"{name}-keys"}], **spec},
    }


def write_clients(site: Site, **alices: str) -> None:
    site.plane.write(
        "clients.yaml",
        secret("alice-keys", **alices),
        secret("bob-keys", key=BOB),
        secret("partners", partner=PARTNER),
        consumer("alice", groups=["staff", "admins"], plan="gold"),
        consumer("bob", groups=["staff"]),
    )


def route_target(name: str) -> manifests.Body:
    return {"kind": "HTTPRoute", "name": "shop", "sectionName": name}


@pytest.fixture
async def shop(site: Site) -> Site:
    """Everything needs a key; `/admin` one of a group, `/bob` bob's; `/open` none."""
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in ("admin", "bob", "open"))]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    write_clients(site, one=OLD, two=NEW)
    where = {"headers": ["X-API-Key", "Authorization"], "queryParams": ["api_key"], "cookies": ["ak"]}
    keys = {**where, "secretRefs": [{"name": "partners"}]}
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, apiKeys=keys),
        policy("admin", route_target("admin"), rules={"allow": [{"groups": ["admins"]}]}),
        policy("bob", route_target("bob"), apiKeys={**where, "consumers": ["bob"]}),
        policy("open", route_target("open"), apiKeys={"disabled": True}),
    )
    await site.served(HOST, status=401)
    return site


def key(text: str) -> str:
    return f"X-API-Key: {text}"


def heard(reply: Reply) -> dict[str, list[str]]:
    assert reply.status == 200, reply.body
    return dict(json.loads(reply.body)["headers"])


async def test_the_backend_learns_who_it_is_and_never_the_key(shop: Site) -> None:
    headers = heard(await ask(shop, "/", key(OLD)))
    assert headers["X-Consumer-Id"] == ["alice"]
    assert headers["X-Consumer-Groups"] == ["staff,admins"]
    assert headers["X-Consumer-Plan"] == ["gold"]
    for path, line in (
        ("/", key(OLD)),
        ("/", f"Authorization: Bearer {OLD}"),
        (f"/?api_key={OLD}&x=1", "X: y"),
        ("/", f"Cookie: a=b; ak={OLD}; c=d"),
    ):
        reply = await ask(shop, path, line)
        assert heard(reply)["X-Consumer-Id"] == ["alice"]
        assert OLD.encode() not in reply.body
        assert b"dragoman" not in reply.body.lower()
    assert all(OLD not in str(seen) for seen in shop.backends["shop"].echo.seen)


async def test_without_groups_and_plan_there_are_no_such_headers(shop: Site) -> None:
    headers = heard(await ask(shop, "/", key(PARTNER), "X-Consumer-Groups: admins", "X-Consumer-Plan: gold"))
    assert headers["X-Consumer-Id"] == ["partner"]
    assert not {"X-Consumer-Groups", "X-Consumer-Plan"} & headers.keys()


STRANGERS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "unauthorized"),
    ((key(""),), "unauthorized"),
    ((key("wrong"),), "invalid_key"),
    ((key(OLD[:-1]),), "invalid_key"),
    ((key(OLD.upper()),), "invalid_key"),
    ((key("wrong"), key(OLD)), "invalid_key"),
    ((key(OLD), key("wrong")), "invalid_key"),
    ((key(OLD), key(OLD)), "invalid_key"),
    ((f"Authorization: Bearer {OLD}", "Authorization: Bearer wrong"), "invalid_key"),
    ((f"Cookie: ak={OLD}; a=b; ak=wrong",), "invalid_key"),
    ((f"Cookie: ak={OLD}", "Cookie: ak=wrong"), "invalid_key"),
    ((f"X-Dragoman-Key: {OLD}",), "unauthorized"),
    (("X-Consumer-ID: alice",), "unauthorized"),
    (("X-Consumer-ID: alice", key("wrong")), "invalid_key"),
)
"""Lines, what is said."""


async def test_nobody_else_passes(shop: Site, subtests: pytest.Subtests) -> None:
    for lines, expected in STRANGERS:
        with subtests.test(lines=lines):
            before = list(shop.backends["shop"].echo.seen)
            reply = await ask(shop, "/", *lines)
            assert (reply.status, error(reply)) == (401, expected)
            assert reply.headers["content-type"] == "application/json"
            assert reply.headers["www-authenticate"] == "ApiKey"
            assert shop.backends["shop"].echo.seen == before


async def test_the_key_of_nobody_is_good_for_nothing(shop: Site) -> None:
    before = list(shop.backends["shop"].echo.seen)
    assert (await ask(shop, "/", key("no-key-was-sent"))).status == 403
    assert shop.backends["shop"].echo.seen == before


async def test_a_key_that_is_there_twice_is_refused(shop: Site) -> None:
    before = list(shop.backends["shop"].echo.seen)
    for query in (
        f"api_key={OLD}&api_key=wrong",
        f"a=1&api_key={OLD}&b=2&api_key={OLD}",
        f"api_key=&api_key={OLD}",
    ):
        reply = await ask(shop, f"/?{query}")
        assert (reply.status, error(reply)) == (401, "invalid_key"), query
    assert shop.backends["shop"].echo.seen == before
    assert (await ask(shop, f"/?xapi_key=a&api_key={OLD}&api_keyx=b")).status == 200


async def test_a_second_key_is_never_forwarded(shop: Site) -> None:
    reply = await ask(
        shop, f"/?api_key={BOB}", key(OLD), f"Authorization: Bearer {NEW}", f"Cookie: ak={PARTNER}"
    )
    assert heard(reply)["X-Consumer-Id"] == ["alice"]
    assert not [one for one in (OLD, NEW, BOB, PARTNER) if one.encode() in reply.body]


async def test_identity_cannot_be_claimed(shop: Site) -> None:
    claims = ("X-Consumer-ID: root", "X-Consumer-Groups: admins", "X-Consumer-Plan: gold")
    headers = heard(await ask(shop, "/open", *claims, "X-Dragoman-Client: AAAA"))
    assert not [name for name in headers if "consumer" in name.lower() or "dragoman" in name.lower()]
    headers = heard(await ask(shop, "/", key(BOB), *claims, "X-Dragoman-Client: AAAA"))
    assert headers["X-Consumer-Id"] == ["bob"]
    assert headers["X-Consumer-Groups"] == ["staff"]
    assert "X-Consumer-Plan" not in headers
    assert (await ask(shop, "/admin", key(BOB), *claims)).status == 403


async def test_groups_and_names(shop: Site) -> None:
    assert (await ask(shop, "/admin", key(OLD))).status == 200
    for path, text in (("/admin", BOB), ("/admin", PARTNER), ("/bob", OLD), ("/bob", PARTNER)):
        refused = await ask(shop, path, key(text))
        assert (refused.status, error(refused)) == (403, "forbidden")
    assert (await ask(shop, "/bob", key(BOB))).status == 200
    assert (await ask(shop, "/admin")).status == 401


async def test_two_keys_during_rotation_and_a_revoked_one_is_refused_at_once(shop: Site) -> None:
    """A key that is taken away goes by ECDS alone: no listener and no route table is sent again."""
    for text in (OLD, NEW):
        assert (await ask(shop, "/", key(text))).status == 200
    before = await updates(shop)
    write_clients(shop, two=NEW)
    start = time.monotonic()

    async def refused() -> bool:
        assert (await ask(shop, "/", key(NEW))).status == 200
        return (await ask(shop, "/", key(OLD))).status == 401

    await net.until("the old key is refused", refused)
    took = time.monotonic() - start
    assert took < 10, took  # seconds on a busy machine; what lingers would stay a minute
    after = await updates(shop)
    assert after == before


async def updates(site: Site) -> tuple[int, ...]:
    """How often Envoy took listeners and routes."""
    stats = await site.envoy.stats(r"lds.update_success|listener_modified|listener_added|config_reload$")
    assert len(stats) > 3
    return tuple(value for name, value in sorted(stats.items()) if "extension_config" not in name)


async def test_a_client_that_is_taken_away_and_the_last_one(shop: Site) -> None:
    shop.plane.remove("clients.yaml")

    async def refused() -> bool:
        return (await ask(shop, "/", key(OLD))).status == 401

    await net.until("nobody passes", refused)
    for text in (NEW, BOB, PARTNER):
        reply = await ask(shop, "/", key(text))
        assert (reply.status, error(reply)) == (401, "invalid_key")
    write_clients(shop, one=OLD)

    async def passes() -> bool:
        return (await ask(shop, "/", key(OLD))).status == 200

    await net.until("alice is back", passes)


async def test_nobody_learns_a_key_from_the_control_plane(shop: Site) -> None:
    assert (await ask(shop, "/", key(OLD))).status == 200
    shown = [shop.plane.log]
    # As `dragoman snapshot show` and the console have it.
    pages = ("status", "objects", "diagnostics", "snapshot?body=1", "proxies", "collections")
    asked = (*pages, f"explain?url=http://{HOST}/admin")
    shown += [str(await shop.plane.get(f"/api/v1/{page}")) for page in asked]
    assert "[redacted]" in "".join(shown)
    shown.append(await shop.plane.get("/metrics"))
    for text in (OLD, NEW, BOB, PARTNER):
        assert not [one for one in shown if text in one]
