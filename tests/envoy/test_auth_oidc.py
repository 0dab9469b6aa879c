"""Logins of browsers (OpenID Connect) through the real Envoy, a control plane and a small identity provider.

The provider checks what it must (codes once, PKCE, the client's secret, refresh tokens once), and the
backend's own log decides what reached it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, error, policy
from tests.envoy.test_auth_keys import secret
from tests.envoy.test_consumers import consumer
from tests.harness import manifests, net
from tests.harness.browser import PAGE, Browser, ask
from tests.harness.manifests import http_route, rule
from tests.harness.provider import CLIENT, SECRET, Provider
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def oidc(provider: Provider, **more: Any) -> manifests.Body:
    return {
        "issuer": provider.issuer,
        "clientID": CLIENT,
        "clientSecretRef": {"name": "login"},
        "scopes": ["cart"],
        **more,
    }


def jwt(provider: Provider, **more: Any) -> manifests.Body:
    return {
        "providers": [
            {
                "name": "main",
                "issuer": provider.issuer,
                "audiences": ["shop"],
                "claimsToHeaders": [{"claim": "sub", "header": "x-user-id"}],
                **more,
            }
        ]
    }


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


async def shop(site: Site, *policies: manifests.Body, status: int = 302, paths: tuple[str, ...] = ()) -> None:
    """A shop whose pages are at `/`, and a rule for each of `paths`."""
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in paths)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write("login.yaml", secret("login", **{"client-secret": f"{SECRET}\n"}))
    site.plane.write("auth.yaml", *policies)

    async def there() -> bool:
        return (await ask(site, "/", PAGE)).status == status

    await net.until(f"the shop answers {status}", there)


def reached(site: Site) -> list[str]:
    return list(site.backends["shop"].echo.seen)


async def test_a_login_from_the_first_page_to_the_last(site: Site, provider: Provider) -> None:
    """Endpoints by discovery; PKCE, state and nonce; cookies that scripts and other hosts cannot touch; the
    backend learns who it is, and sees neither tokens nor cookies of the session."""
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider), jwt=jwt(provider)))
    before = reached(site)
    browser = Browser(site)
    first = await browser.get("/cart?a=b", PAGE)
    assert first.status == 302
    assert first.location.startswith(f"{provider.issuer}/authorize?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(first.location).query).items()}
    assert asked["scope"] == "openid cart"
    assert asked["redirect_uri"] == f"http://{HOST}/oauth2/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    await browser.log_in()
    assert provider.exchanges
    assert not provider.refused
    assert reached(site) == before
    page = await browser.get("/cart?a=b", PAGE, "Cookie: theme=dark", "x-user-id: mallory")
    assert page.seen["x-user-id"] == ["alice"]
    assert page.seen["cookie"] == ["theme=dark"]
    assert "authorization" not in page.seen
    assert not page.cookies
    text = page.body.decode()
    assert not [value for value in browser.jar.values() if value in text]
    assert "eyJ" not in text  # no token in any form


async def test_cookies_are_for_the_gateway_alone(site: Site, provider: Provider) -> None:
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    browser = Browser(site)
    back = await browser.sent_to_provider("/")
    answer = await browser.get(back, PAGE)
    set_now = [line for line in answer.cookies.values() if "1970" not in line]
    assert len(set_now) == 5
    for line in set_now:
        parts = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= parts, line
        assert not [part for part in parts if part.startswith("domain")]
        assert line.startswith("__Host-login-")
        assert "eyJ" not in line  # encrypted
    # Without `jwt` and `forwardToken`, nobody behind the gateway learns of a token.
    page = await browser.get("/", PAGE, "Authorization: Bearer forged")
    assert not {"authorization", "cookie"} & page.seen.keys()


async def test_answers_of_strangers_are_refused(site: Site, provider: Provider) -> None:
    """Forged or stolen answers of the provider: without the browser's own cookies a code is worth nothing."""
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    victim, thief = Browser(site), Browser(site)
    stolen = await victim.sent_to_provider("/")
    await thief.sent_to_provider("/")
    before = reached(site)
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    state = parse_qs(urlsplit(stolen).query)["state"][0]
    forged = [
        (Browser(site), stolen),
        (thief, stolen),
        (victim, f"/oauth2/callback?code={code}"),
        (victim, f"/oauth2/callback?state={state}"),
        (victim, f"/oauth2/callback?code={code}&state={state[:-6]}AAAAAA"),
        (victim, "/oauth2/callback?error=access_denied"),
    ]
    for browser, path in forged:
        answer = await Browser(site, dict(browser.jar)).get(path, PAGE)
        assert (answer.status, error(answer)) == (401, "unauthorized"), (path, answer)
        assert not [line for line in answer.cookies.values() if "1970" not in line]
    assert not provider.exchanges
    assert reached(site) == before
    # Someone else's code under one's own state and nonce: the provider asks for the verifier.
    own = parse_qs(urlsplit(await thief.sent_to_provider("/")).query)["state"][0]
    answer = await thief.get(f"/oauth2/callback?code={code}&state={own}", PAGE)
    assert answer.status in (401, 503)
    assert provider.refused == ["invalid_pkce"]
    assert (await thief.get("/", PAGE)).status == 302
    assert reached(site) == before


async def test_cookies_that_were_changed_are_no_session(site: Site, provider: Provider) -> None:
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider, refreshTokens=False), jwt=jwt(provider)))
    browser = Browser(site)
    await browser.log_in()
    assert (await browser.get("/", PAGE)).status == 200
    assert not [name for name in browser.jar if "refresh" in name]
    other = Browser(site)
    await other.log_in()
    before = reached(site)
    kept = {name.rpartition("-")[2]: name for name in browser.jar}
    for part in ("mac", "until", "access", "id"):
        name = kept[part]
        value = browser.jar[name]
        changed = value[:-8] + "AAAAAAAA" if part != "until" else str(int(value) + 9999)
        for jar in (
            browser.jar | {name: changed},
            {key: one for key, one in browser.jar.items() if key != name},
            browser.jar | {name: other.jar[name]} if part != "until" else {},
        ):
            answer = await Browser(site, dict(jar)).get("/", PAGE)
            assert answer.status == 302, (part, answer)
    # A session is for one host.
    jar = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    assert (await ask(site, "/", PAGE, f"Cookie: {jar}", host="other.example")).status in (302, 404)
    assert reached(site) == before


async def test_a_session_goes_on_by_refresh_tokens(site: Site, provider: Provider) -> None:
    provider.lifetime = 1
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider), jwt=jwt(provider)))
    browser = Browser(site)
    await browser.log_in()
    (name,) = (name for name in browser.jar if name.endswith("-refresh"))
    provider.lifetime = 300
    # As a browser that has dropped all others, whose time is over.
    browser.jar = {name: browser.jar[name]}
    page = await browser.get("/", PAGE)
    assert page.seen["x-user-id"] == ["alice"]
    assert "cookie" not in page.seen
    assert len(provider.refreshes) == 1
    assert not provider.refused
    assert len(browser.jar) == 5
    again = await browser.get("/", PAGE)
    assert again.status == 200
    assert len(provider.refreshes) == 1
    # A refresh token is good once, and a made-up one never: back to the login.
    for value in (browser.jar[name][:-8] + "AAAAAAAA", "AAAA"):
        assert (await Browser(site, {name: value}).get("/", PAGE)).status == 302


async def test_logging_out(site: Site, provider: Provider) -> None:
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    browser = Browser(site)
    await browser.log_in()
    answer = await browser.get("/logout", PAGE)
    assert answer.status == 302
    where = urlsplit(answer.location)
    asked = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert f"{where.scheme}://{where.netloc}{where.path}" == f"{provider.issuer}/end"
    assert asked["id_token_hint"].count(".") == 2
    assert asked["post_logout_redirect_uri"] == f"http://{HOST}/"
    assert browser.jar == {}
    assert all("Secure" in line for line in answer.cookies.values())  # or browsers would keep them
    assert (await browser.get("/", PAGE)).status == 302


async def test_scripts_and_clients_get_401_instead_of_a_redirect(site: Site, provider: Provider) -> None:
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    before = reached(site)
    for lines in (
        ("Accept: application/json",),
        ("Accept: */*",),
        (PAGE, "X-Requested-With: XMLHttpRequest"),
        (PAGE, "Sec-Fetch-Mode: cors"),
        ("Accept: image/png", "Sec-Fetch-Mode: no-cors"),
    ):
        answer = await ask(site, "/", *lines)
        assert (answer.status, error(answer)) == (401, "unauthorized"), lines
        assert dict(answer.headers)["content-type"] == "application/json"
        assert not answer.cookies
    for lines in ((PAGE,), (PAGE, "Sec-Fetch-Mode: navigate"), ()):
        assert (await ask(site, "/", *lines)).status == 302, lines
    assert reached(site) == before
    browser = Browser(site)
    await browser.log_in()
    assert (await browser.get("/", "Accept: application/json", "Sec-Fetch-Mode: cors")).status == 200


async def test_claims_of_a_session_and_tokens_of_clients(site: Site, provider: Provider) -> None:
    """Rules read the token that the login gave, and know the Consumer by it. Clients that bring their own
    need no session, and gain nothing by a wrong one."""
    tokens = {**jwt(provider), "consumerClaim": "sub"}
    of_alice = {"issuer": provider.issuer, "value": "alice"}
    await shop(
        site,
        consumer("alice", tokens=[of_alice], groups=["members"], plan="gold"),
        consumer("alice", "elsewhere", tokens=[of_alice], groups=["owners"]),
        policy("login", GATEWAY, oidc=oidc(provider, forwardToken=True), jwt=tokens),
        *(
            policy(
                name,
                {"kind": "HTTPRoute", "name": "shop", "sectionName": name},
                rules={"allow": [{"groups": [name]}]},
            )
            for name in ("members", "owners")
        ),
        policy(
            "cart",
            {"kind": "HTTPRoute", "name": "shop", "sectionName": "cart"},
            rules={"allow": [{"scopes": {"allOf": ["cart"]}}]},
        ),
        policy(
            "admin",
            {"kind": "HTTPRoute", "name": "shop", "sectionName": "admin"},
            rules={"allow": [{"scopes": {"allOf": ["admin"]}}]},
        ),
        paths=("cart", "admin", "members", "owners"),
    )
    browser = Browser(site)
    await browser.log_in("/cart")
    page = await browser.get("/cart", PAGE)
    assert page.seen["x-user-id"] == ["alice"]
    assert page.seen["authorization"][0].startswith("Bearer eyJ")
    assert "cookie" not in page.seen
    assert page.seen["x-consumer-id"] == ["alice"]
    assert page.seen["x-consumer-plan"] == ["gold"]
    assert "x-consumer-groups" in (await browser.get("/members", PAGE)).seen
    refused = await browser.get("/admin", PAGE)
    assert (refused.status, error(refused)) == (403, "insufficient_scope")
    claimed = ("X-Consumer-Groups: owners", "X-Consumer-ID: root", "X-Dragoman-Subject: alice")
    refused = await browser.get("/owners", PAGE, *claimed)
    assert (refused.status, error(refused)) == (403, "forbidden")
    stranger = f"Authorization: Bearer {provider.token(sub='mallory')}"
    page = await ask(site, "/cart", stranger, *claimed)
    assert page.seen["x-user-id"] == ["mallory"]
    assert not [name for name in page.seen if name.startswith("x-consumer")]
    assert error(await ask(site, "/members", stranger, *claimed)) == "forbidden"
    assert (await ask(site, "/cart", f"Authorization: Bearer {provider.token()}")).status == 200
    before = reached(site)
    forged = Provider()
    forged.signer.name = provider.issuer
    for text in ("junk", provider.token(aud="other"), forged.token(iss=provider.issuer)):
        answer = await ask(site, "/cart", f"Authorization: Bearer {text}", PAGE)
        assert (answer.status, error(answer)) == (401, "invalid_token")
    # Basic credentials are no token: they neither pass nor reach anybody.
    assert (await ask(site, "/cart", "Authorization: Basic YTpi", PAGE)).status == 302
    assert reached(site) == before


async def test_where_tokens_are_optional_a_wrong_one_is_no_way_around(site: Site, provider: Provider) -> None:
    tokens = jwt(provider, **{"from": {"headers": [{"name": "x-token"}]}}) | {"optional": True}
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider), jwt=tokens))
    before = reached(site)
    for lines in (("Authorization: Bearer junk",), (f"Authorization: Bearer {provider.token()}",), ()):
        assert (await ask(site, "/", PAGE, *lines)).status == 302
    assert reached(site) == before
    browser = Browser(site)
    await browser.log_in()
    assert (await browser.get("/", PAGE)).seen["x-user-id"] == ["alice"]


async def test_the_id_token_where_access_tokens_are_opaque(site: Site, provider: Provider) -> None:
    claims = [{"claim": "email", "header": "x-user-email"}]
    tokens = jwt(provider, audiences=[CLIENT], claimsToHeaders=claims)
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider, token="IdToken"), jwt=tokens))
    browser = Browser(site)
    await browser.log_in()
    page = await browser.get("/", PAGE)
    assert page.seen["x-user-email"] == ["alice@shop.example"]
    assert "authorization" not in page.seen


async def test_long_tokens(site: Site, provider: Provider) -> None:
    """A browser keeps 4 KB of a cookie."""
    provider.claims = {"groups": ["g" * 40 + str(number) for number in range(150)]}
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider), jwt=jwt(provider)))
    browser = Browser(site)
    await browser.log_in()
    assert max(len(name) + len(value) for name, value in browser.jar.items()) <= 4096
    page = await browser.get("/", PAGE, "Cookie: a=b")
    assert page.seen["x-user-id"] == ["alice"]
    assert page.seen["cookie"] == ["a=b"]
    await browser.get("/logout", PAGE)
    assert browser.jar == {}


async def test_two_logins_on_one_host(site: Site, provider: Provider) -> None:
    """Each has its own cookies: a session of one is none of the other, and neither ends the other's."""

    def under(name: str) -> manifests.Body:
        paths = {"redirectPath": f"/{name}/callback", "logoutPath": f"/{name}/logout"}
        target = {"kind": "HTTPRoute", "name": "shop", "sectionName": name}
        return policy(name, target, oidc=oidc(provider, **paths))

    await shop(site, under("one"), under("two"), status=200, paths=("one", "two"))

    async def asks() -> bool:
        return {(await ask(site, f"/{one}", PAGE)).status for one in ("one", "two")} == {302}

    await net.until("both logins", asks)
    browser = Browser(site)
    await browser.log_in("/one")
    assert (await browser.get("/one", PAGE)).status == 200
    assert (await browser.get("/two", PAGE)).status == 302
    await browser.log_in("/two")
    for path in ("/one", "/two"):
        assert "cookie" not in (await browser.get(path, PAGE)).seen
    await browser.get("/two/logout", PAGE)
    assert (await browser.get("/one", PAGE)).status == 200
    assert (await browser.get("/two", PAGE)).status == 302


async def test_a_new_login_changes_no_listener(site: Site, provider: Provider) -> None:
    await shop(site, status=200)
    before = await listeners(site)
    site.plane.write("auth.yaml", policy("login", GATEWAY, oidc=oidc(provider)))

    async def asks() -> bool:
        return (await ask(site, "/", PAGE)).status == 302

    await net.until("the login", asks)
    assert await listeners(site) == before


async def listeners(site: Site) -> dict[str, int]:
    found = await site.envoy.stats(r"listener_manager\.listener_(added|modified|in_place_updated)$")
    assert found
    return found


async def test_sessions_outlive_the_control_plane_and_end_with_the_client_secret(
    site: Site, provider: Provider
) -> None:
    """What seals cookies is derived: the same after a restart, another with a new client secret."""
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    browser = Browser(site)
    await browser.log_in()
    await site.plane.stop()
    await site.plane.start()
    assert (await browser.get("/", PAGE)).status == 200
    shown = [str(await site.plane.get(f"/api/v1/{page}")) for page in ("snapshot?body=1", "objects")]
    assert "[redacted]" in shown[0]
    shown += [site.plane.log, str(await site.plane.get("/api/v1/status"))]
    assert not [one for one in shown if SECRET in one]
    site.plane.write("login.yaml", secret("login", **{"client-secret": "another"}))

    async def ended() -> bool:
        browser.jar.pop(next((name for name in browser.jar if name.endswith("-refresh")), ""), None)
        return (await browser.get("/", PAGE)).status == 302

    await net.until("the session ended", ended)


async def test_a_provider_that_is_down(site: Site, provider: Provider) -> None:
    """Nobody new gets in, those with a session stay."""
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider)))
    inside, outside = Browser(site), Browser(site)
    await inside.log_in()
    back = await outside.sent_to_provider("/")
    provider.up = False
    before = reached(site)
    answer = await outside.get(back, PAGE)
    assert (answer.status, error(answer)) == (503, "unavailable"), answer
    assert reached(site) == before
    assert (await inside.get("/", PAGE)).status == 200


async def test_a_provider_behind_a_backend(site: Site, provider: Provider) -> None:
    """Envoy reaches it where the reference leads, whatever host its endpoint has."""
    given = {
        "authorizationEndpoint": f"{provider.issuer}/authorize",
        "tokenEndpoint": "http://id.invalid/token",
        "backendRef": {"name": "provider", "port": 80},
    }
    await shop(site, policy("login", GATEWAY, oidc=oidc(provider, **given)), status=500)
    assert error(await ask(site, "/", PAGE)) == "misconfigured"
    found = str(await site.plane.get("/api/v1/diagnostics"))
    assert "Service shop/provider is not there" in found
    endpoints = [manifests.service("provider"), manifests.endpoint_slice("provider", provider.port)]
    site.plane.write("provider.yaml", *endpoints)

    async def asks() -> bool:
        return (await ask(site, "/", PAGE)).status == 302

    await net.until("the login", asks)
    browser = Browser(site)
    await browser.log_in()
    assert (await browser.get("/", PAGE)).status == 200
    assert provider.exchanges


async def test_it_fails_closed(site: Site, provider: Provider) -> None:
    """Without the client's secret, or the provider's endpoints, nobody passes."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served(HOST)
    site.plane.write("auth.yaml", policy("login", GATEWAY, oidc=oidc(provider)))
    await site.served(HOST, status=500)
    assert error(await ask(site, "/", PAGE)) == "misconfigured"
    site.plane.write("login.yaml", secret("login", **{"client-secret": SECRET}))

    async def asks() -> bool:
        return (await ask(site, "/", PAGE)).status == 302

    await net.until("the login", asks)
    nowhere = f"http://127.0.0.1:{net.free_port()}"
    site.plane.write("auth.yaml", policy("login", GATEWAY, oidc=oidc(provider, issuer=nowhere)))
    await site.served(HOST, status=500)
    given = {
        "issuer": nowhere,
        "authorizationEndpoint": f"{provider.issuer}/authorize",
        "tokenEndpoint": f"{provider.issuer}/token",
    }
    site.plane.write("auth.yaml", policy("login", GATEWAY, oidc=oidc(provider, **given)))
    await net.until("the login again", asks)
    browser = Browser(site)
    await browser.log_in()
    assert (await browser.get("/", PAGE)).status == 200
