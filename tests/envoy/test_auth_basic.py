"""User names and passwords through the real Envoy: who passes, and what the backend learns."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, ask, error, policy
from tests.envoy.test_auth_keys import heard, route_target, secret
from tests.harness import net
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ALICE, BOB = "correct horse", "battery: staple"
BCRYPT = "$2y$05$abcdefghijklmnopqrstuuJ8m0rVxwJY6vCqg3H1qk2o9n5sKZx8i"


def line(name: str, password: str) -> str:
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{name}:{{SHA}}{base64.b64encode(digest).decode()}"


def login(name: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.fixture
async def shop(site: Site) -> Site:
    """Everything needs a password; `/alice` alice's, `/others` one of another Secret; `/open` none."""
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in ("alice", "others", "open"))]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    users = f"# people\n{line('alice', ALICE)}\n\n{line('bob', BOB)}\ncarol:{BCRYPT}\n"
    site.plane.write(
        "users.yaml",
        secret("users", **{".htpasswd": users}),
        secret("others", list=line("dave", "of others")),
    )
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, basic={"secretRefs": [{"name": "users"}], "realm": "the shop"}),
        policy("alice", route_target("alice"), basic={"secretRefs": [{"name": "users"}], "users": ["alice"]}),
        policy(
            "others",
            route_target("others"),
            basic={
                "secretRefs": [{"name": "others", "key": "list"}],
                "userHeader": "x-user",
                "forwardCredentials": True,
            },
        ),
        policy("open", route_target("open"), basic={"disabled": True}),
    )
    await site.served(HOST, status=401)
    return site


async def test_the_backend_learns_the_name_and_never_the_password(shop: Site) -> None:
    for name, password in (("alice", ALICE), ("bob", BOB)):
        reply = await ask(shop, "/", login(name, password), "X-Consumer-ID: root")
        headers = heard(reply)
        assert headers["X-Consumer-Id"] == [name]
        assert "Authorization" not in headers
        assert password.encode() not in reply.body
    headers = heard(await ask(shop, "/others", login("dave", "of others"), "x-user: root"))
    assert headers["X-User"] == ["dave"]
    assert headers["Authorization"] == [login("dave", "of others").partition(": ")[2]]


STRANGERS = (
    ("/", (), "unauthorized"),
    ("/", ("Authorization: Bearer abc",), "unauthorized"),
    ("/", ("X-Consumer-ID: alice",), "unauthorized"),
    ("/", (login("alice", "wrong"),), "invalid_credentials"),
    ("/", (login("alice", ""),), "invalid_credentials"),
    ("/", (login("", ALICE),), "invalid_credentials"),
    ("/", (login("ALICE", ALICE),), "invalid_credentials"),
    ("/", (login("alice", BOB),), "invalid_credentials"),
    ("/", (login("nobody", ""),), "invalid_credentials"),
    ("/", (login("dave", "of others"),), "invalid_credentials"),
    ("/", ("Authorization: Basic !!!",), "invalid_credentials"),
    ("/", (f"Authorization: Basic {base64.b64encode(b'alice').decode()}",), "invalid_credentials"),
    ("/", (login("carol", BCRYPT),), "invalid_credentials"),
    ("/alice", (login("bob", BOB),), "invalid_credentials"),
    ("/others", (login("alice", ALICE),), "invalid_credentials"),
)
"""Path, lines, what is said."""


async def test_nobody_else_passes(shop: Site, subtests: pytest.Subtests) -> None:
    for path, lines, expected in STRANGERS:
        with subtests.test(path=path, lines=lines):
            before = list(shop.backends["shop"].echo.seen)
            reply = await ask(shop, path, *lines)
            assert (reply.status, error(reply)) == (401, expected)
            assert reply.headers["content-type"] == "application/json"
            assert reply.headers["www-authenticate"].startswith("Basic realm=")
            assert shop.backends["shop"].echo.seen == before


async def test_per_route(shop: Site) -> None:
    assert heard(await ask(shop, "/alice", login("alice", ALICE)))["X-Consumer-Id"] == ["alice"]
    assert (await ask(shop, "/")).headers["www-authenticate"] == 'Basic realm="the shop"'
    headers = heard(await ask(shop, "/open", "X-Consumer-ID: root", "x-user: root"))
    assert not {"X-Consumer-Id", "X-User"} & headers.keys()


async def test_users_come_and_go_without_a_listener(shop: Site) -> None:
    found = await shop.envoy.stats(r"listener_manager\.listener_(added|modified|in_place_updated)$")
    assert (await ask(shop, "/", login("bob", BOB))).status == 200
    shop.plane.write("users.yaml", secret("users", **{".htpasswd": line("erin", "new")}))

    async def changed() -> bool:
        return (await ask(shop, "/", login("erin", "new"))).status == 200

    await net.until("the new user", changed)
    assert (await ask(shop, "/", login("bob", BOB))).status == 401
    assert await shop.envoy.stats(r"listener_manager\.listener_(added|modified|in_place_updated)$") == found
    # A policy whose Secret is gone lets nobody in.
    assert (await ask(shop, "/others")).status == 500


async def test_nobody_learns_a_password_or_its_hash(shop: Site) -> None:
    assert (await ask(shop, "/", login("alice", ALICE))).status == 200
    pages = ("status", "objects", "diagnostics", "snapshot?body=1", "proxies", "collections")
    shown = [str(await shop.plane.get(f"/api/v1/{page}")) for page in pages]
    assert "DRG1851" in shown[2]
    assert "bcrypt" in shown[2]
    shown.append(str(await shop.plane.get(f"/api/v1/explain?url=http://{HOST}/alice")))
    # Envoy's own admin page shows routes, too.
    dump = await shop.envoy.get("/config_dump?resource=dynamic_route_configs")
    assert "BasicAuthPerRoute" in dump
    shown += [shop.plane.log, dump]
    hashed = line("alice", ALICE).partition("}")[2]
    for text in (ALICE, hashed, BCRYPT):
        assert not [one for one in shown if text in one]
