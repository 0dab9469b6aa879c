"""Consumers that are known by tokens which are looked up (RFC 7662): one client, however it comes in.

The backend's own log decides what reached it. All tests share a site; the last one changes who its clients
are.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.introspection_site import at, section, served
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, policy, token
from tests.envoy.test_auth_keys import heard, key, secret
from tests.envoy.test_consumers import consumer, names, providers, token_of
from tests.envoy.test_ratelimit_policy import change, limit, policy as limits
from tests.harness import net
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

KEY = "app-key-0001"
CLAIMED = (
    "X-Consumer-ID: root",
    "X-Consumer-Groups: admins",
    "X-Consumer-Plan: gold",
    "X-Dragoman-Client: AAAA",
    "X-Dragoman-Subject: app",
    "X-Dragoman-Token: CgA=",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as running:
        running.tokens |= {
            "app": {"active": True, "client_id": "app", "sub": "ann", "exp": time.time() + 3600},
            "named": {"active": True, "client_id": "app", "iss": running.url},
            "bob": {"active": True, "client_id": "other", "sub": "bob"},
        }
        yield running


def clients(issuer: Issuer) -> list[dict[str, object]]:
    """The app has a key as well; bob is known by checked tokens; another namespace has an app, too."""
    of_app = {"issuer": issuer.url, "claim": "client_id", "value": "app"}
    return [
        secret("app-keys", one=KEY),
        consumer("app", apiKeys=[{"name": "app-keys"}], tokens=[of_app], groups=["staff"], plan="gold"),
        consumer("bob", tokens=[token_of("bob")], groups=["admins"]),
        consumer("job", tokens=[token_of("job", claim="client_id")], groups=["admins"]),
        consumer("app", "elsewhere", tokens=[of_app], groups=["admins"]),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(
    tmp_path_factory: pytest.TempPathFactory, envoy_binary: Path, issuer: Issuer
) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("site")) as site:
        await start(site, issuer)
        yield site


async def start(site: Site, issuer: Issuer) -> None:
    """Everything needs a token that is looked up; `/staff`, `/admin` and `/app` a Consumer; `/keys` a key
    instead, `/both` a key as well; `/checked` a checked token as well, which says who it is; `/second` too,
    where a token may be looked up besides, which then does; `/open` nothing."""
    parts = ("staff", "admin", "app", "keys", "both", "checked", "second", "open")
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in parts)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write("clients.yaml", *clients(issuer))
    known = section(issuer, endpoint=None, issuer=issuer.url, consumerClaim="client_id")
    opaque = {"from": {"headers": [{"name": "X-Opaque"}]}}
    off, keys, jwt = {"disabled": True}, {"headers": ["X-API-Key"]}, providers(consumerClaim="sub")
    site.plane.write(
        "auth.yaml",
        secret("gateway", **{"client-secret": issuer.secret}),
        policy("all", GATEWAY, introspection=known),
        policy("staff", at("staff"), rules={"allow": [{"groups": ["staff"]}]}),
        policy("admin", at("admin"), rules={"allow": [{"groups": ["admins"]}]}),
        policy("app", at("app"), rules={"allow": [{"consumers": ["app"]}]}),
        policy("keys", at("keys"), introspection=off, apiKeys=keys),
        policy("both", at("both"), apiKeys=keys),
        policy("checked", at("checked"), jwt=jwt, introspection=section(issuer, **opaque)),
        policy("second", at("second"), jwt=jwt, introspection={**known, **opaque, "optional": True}),
        policy("open", at("open"), introspection=off),
    )
    await site.served(HOST, status=401)


async def who(site: Site, path: str, *lines: str) -> str:
    """Who the backend takes the client for; "-" for nobody."""
    headers = heard(await ask(site, path, *lines))
    assert not [name for name in headers if "dragoman" in name.lower()]
    return headers.get("X-Consumer-Id", ["-"])[0]


async def test_the_same_client_by_token_and_by_key(shop: Site) -> None:
    for path, line in (("/", bearer("app")), ("/", bearer("named")), ("/keys", key(KEY))):
        headers = heard(await ask(shop, path, line, *CLAIMED))
        assert headers["X-Consumer-Id"] == ["app"], path
        assert headers["X-Consumer-Groups"] == ["staff"]
        assert headers["X-Consumer-Plan"] == ["gold"]
        assert len(names(headers)) == 3
    assert (await ask(shop, "/staff", bearer("app"))).status == 200
    assert (await ask(shop, "/app", bearer("app"))).status == 200


async def test_who_is_nobody_and_who_may_not_pass(shop: Site, issuer: Issuer) -> None:
    """A token that no Consumer claims passes without identity, one that is not active not at all."""
    issuer.tokens |= {
        "list": {"active": True, "client_id": ["app"]},
        "spaced": {"active": True, "client_id": "app "},
        "by-sub": {"active": True, "sub": "app"},
        "revoked": {"active": False, "client_id": "app", "iss": issuer.url},
        "over": {"active": True, "client_id": "app", "exp": time.time() - 5},
        "foreign": {"active": True, "client_id": "app", "iss": "https://issuer.example"},
        "no-issuer": {"active": True, "client_id": "app", "iss": None},
    }
    for one in ("bob", "list", "spaced", "by-sub"):
        assert await who(shop, "/", bearer(one), *CLAIMED) == "-", one
        before = served(shop)
        for path in ("/staff", "/admin", "/app"):
            refused = await ask(shop, path, bearer(one), *CLAIMED)
            assert (refused.status, error(refused)) == (403, "forbidden"), (one, path)
        assert served(shop) == before
    before = served(shop)
    for one in ("unknown", "revoked", "over", "foreign", "no-issuer"):
        for path in ("/", "/staff", "/app", "/both"):
            refused = await ask(shop, path, bearer(one), key(KEY), *CLAIMED)
            assert refused.status == 401, (one, path)
    assert (await ask(shop, "/", *CLAIMED)).status == 401
    assert (await ask(shop, "/admin", bearer("app"), *CLAIMED)).status == 403, "groups of another namespace"
    assert served(shop) == before
    assert not names(heard(await ask(shop, "/open", bearer("app"), *CLAIMED)))


async def test_of_several_credentials_each_says_its_own(shop: Site, issuer: Issuer) -> None:
    """Nobody is taken for another because of whose claims stand where."""
    assert await who(shop, "/both", bearer("app"), key(KEY)) == "app"
    before, asked = served(shop), issuer.asked("app")
    for lines in ((bearer("app"),), (key(KEY),), (bearer("app"), key("unknown"))):
        assert (await ask(shop, "/both", *lines)).status == 401
    assert (await ask(shop, "/both", bearer("fresh"), key("unknown"))).status == 401
    assert (issuer.asked("app"), issuer.asked("fresh")) == (asked, 0), "a wrong key costs no question"
    assert served(shop) == before
    checked, opaque = bearer(token(sub="bob")), "X-Opaque: app"
    # Who issues opaque tokens must not say whose a checked one is, nor the other way round.
    issuer.tokens |= {
        "posing": {"active": True, "iss": "https://issuer.example", "sub": "bob"},
        "silent": {"active": True},
    }
    assert await who(shop, "/checked", checked, opaque) == "bob"
    assert await who(shop, "/checked", bearer(token(sub="mallory")), "X-Opaque: posing") == "-"
    assert await who(shop, "/second", checked, opaque) == "app"
    assert await who(shop, "/second", checked) == "bob"
    assert await who(shop, "/second", checked, "X-Opaque: silent") == "bob"
    posing = bearer(token(sub="mallory", client_id="job"))
    assert await who(shop, "/second", posing) == "-"
    assert await who(shop, "/second", posing, "X-Opaque: bob") == "-"
    before = served(shop)
    assert (await ask(shop, "/second", opaque)).status == 401
    assert (await ask(shop, "/checked", opaque)).status == 401
    assert (await ask(shop, "/second", checked, "X-Opaque: unknown")).status == 401
    assert served(shop) == before


async def test_limits_see_one_client(shop: Site) -> None:
    plans = {"gold": {"requests": 3}}
    await change(shop, limits(GATEWAY, plan=limit(1, plans=plans)), name="limits.yaml")
    asked = ((bearer("app"), "/"), (key(KEY), "/keys"), (bearer("named"), "/"), (bearer("app"), "/"))
    assert [(await ask(shop, path, line)).status for line, path in asked] == [200, 200, 200, 429]
    found = [(await ask(shop, "/", bearer("bob"), *CLAIMED)).status for _ in range(2)]
    assert found == [200, 429], "nobody chooses a plan"
    await change(shop, name="limits.yaml")


async def test_consumers_come_and_go_without_routes(shop: Site, issuer: Issuer) -> None:
    stats = r"lds.update_success|listener_modified|listener_added|rds\..*config_reload$"
    before = await shop.envoy.stats(stats)
    assert await who(shop, "/", bearer("app")) == "app"
    shop.plane.write("clients.yaml", *clients(issuer)[:1], *clients(issuer)[2:])

    async def gone() -> bool:
        return await who(shop, "/", bearer("app")) == "-"

    await net.until("the app is nobody", gone)
    assert (await ask(shop, "/staff", bearer("app"))).status == 403
    assert await shop.envoy.stats(stats) == before
