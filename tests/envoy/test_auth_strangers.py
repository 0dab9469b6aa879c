"""Ways past a token that Envoy's filter has, or might have.

Other policies' keys for the same issuer, a minute beyond the end, preflights; and what it leaves of a token.
The backend's own log decides: a request that was refused must not be in it.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.envoy.client_site import client_policy
from tests.envoy.introspection_site import at, heard, served
from tests.envoy.test_auth import GATEWAY, HOST, IMPOSTOR, NOW, ask, bearer, error, jwt, policy, token
from tests.envoy.test_auth_keys import secret
from tests.envoy.test_consumers import consumer
from tests.harness import net
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

PREFLIGHT = ("Origin: https://app.example", "Access-Control-Request-Method: GET")


async def test_a_policy_believes_its_own_keys_and_audiences_alone(site: Site) -> None:
    """Policies name one issuer, each with its own keys and audience. Envoy has all of them in one filter, and
    where a token may be missing it looks an issuer up by name."""
    parts = ("own", "other", "excluded", "needed")
    rules = [rule("shop", path=f"/{name}", name=name) for name in parts]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    theirs = jwt(jwks={"inline": IMPOSTOR.jwks}, audiences=["other"])
    site.plane.write(
        "auth.yaml",
        policy("own", at("own"), jwt={**jwt(), "optional": True}),
        policy("other", at("other"), jwt={**theirs, "optional": True}),
        policy("excluded", at("excluded"), jwt=jwt(), exclude=[{"methods": ["OPTIONS"]}]),
        policy("needed", at("needed"), jwt=jwt()),
    )

    async def in_force() -> bool:
        return [(await ask(site, f"/{name}", bearer("x"))).status for name in parts] == [401] * len(parts)

    await net.until("all policies in force", in_force)
    good, stranger = bearer(token()), bearer(IMPOSTOR.token(aud="other", exp=NOW + 3600, sub="root"))
    before = served(site)
    for name in parts:
        bad = good if name == "other" else stranger
        assert error(await ask(site, f"/{name}", bad)) == "invalid_token", name
    assert served(site) == before
    for name in parts:
        assert (await ask(site, f"/{name}", stranger if name == "other" else good)).status == 200, name


async def test_clocks_that_may_not_differ(site: Site) -> None:
    """Envoy takes a skew of 0 for one that nobody has said: a minute."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt(clockSkew="0s")))
    await site.served(HOST, status=401)
    for late in (20, 50):
        reply = await ask(site, "/", bearer(token(exp=int(time.time()) - late)))
        assert (reply.status, error(reply)) == (401, "token_expired")
    assert (await ask(site, "/", bearer(token()))).status == 200


async def test_a_preflight_that_nobody_answers_needs_a_token(site: Site) -> None:
    """Where no CORS policy has the gateway answer it, it is a request like any other."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt()))
    await site.served(HOST, status=401)
    before = served(site)
    assert error(await ask(site, "/", *PREFLIGHT, method="OPTIONS")) == "unauthorized"
    assert served(site) == before
    assert (await ask(site, "/", *PREFLIGHT, bearer(token()), method="OPTIONS")).status == 200


async def test_a_token_that_is_not_forwarded_goes_no_further(site: Site) -> None:
    """Wherever it was. Envoy's filter leaves cookies as they are."""
    places = {
        "headers": [{"name": "X-Token"}, {"name": "Authorization", "prefix": "Bearer "}],
        "queryParams": ["access_token"],
        "cookies": ["session"],
    }
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt(**{"from": places, "forward": False})))
    await site.served(HOST, status=401)
    text = token()
    ways: dict[str, tuple[str, ...]] = {
        "/": (f"X-Token: {text}",),
        "/bearer": (bearer(text),),
        f"/?a=1&access_token={text}": (),
        "/cookie": (f"Cookie: a=1; session={text}; sessions=2",),
        "/cookies": ("Cookie: a=1; sessions=2", f"Cookie: session={text}"),
        "/alone": (f"Cookie: session={text}",),
    }
    for path, lines in ways.items():
        reply = await ask(site, path, *lines)
        headers = heard(reply)
        assert text not in reply.body.decode(), path
        assert headers.get("Cookie") == (["a=1; sessions=2"] if path.startswith("/cookie") else None)
        assert headers["X-User-Id"] == ["alice"]


async def test_what_is_excluded_ends_where_a_path_leads_out_of_it(site: Site) -> None:
    """Also where a ClientPolicy leaves paths as they are, and the backend resolves them."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write(
        "auth.yaml",
        client_policy({"paths": {"normalize": False, "mergeSlashes": False, "escapedSlashes": "Keep"}}),
        policy("all", GATEWAY, jwt=jwt(), exclude=[{"paths": [{"value": "/pub"}]}]),
    )
    await site.served(HOST, status=401)

    async def as_they_are() -> bool:
        reply = await ask(site, "/pub//a.b/..c/.d")
        return reply.status == 200 and json.loads(reply.body)["path"] == "/pub//a.b/..c/.d"

    await net.until("both in force", as_they_are)
    before = served(site)
    for way in ("/..", "/../admin", "/./x", "/x/../../admin", "/..;/admin", "/%2e%2e/admin", "/..\\admin"):
        assert error(await ask(site, f"/pub{way}")) == "unauthorized", way
    assert served(site) == before
    assert (await ask(site, "/pub/../admin", bearer(token()))).status == 200


async def test_what_is_taken_out_of_a_query_leaves_the_rest_as_it_was(site: Site) -> None:
    """Envoy's filters would decode all of it, and put a client's `%20` and `%26` into the request line."""
    rules = [rule("shop", path=f"/{name}", name=name) for name in ("token", "key")]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write(
        "auth.yaml",
        secret("ann-keys", one="good-key-0001"),
        consumer("ann", apiKeys=[{"name": "ann-keys"}]),
        policy("token", at("token"), jwt=jwt(forward=False)),
        policy("key", at("key"), apiKeys={"queryParams": ["k"], "headers": ["X-API-Key"]}),
    )

    async def in_force() -> bool:
        return [(await ask(site, f"/{name}")).status for name in ("token", "key")] == [401, 401]

    await net.until("both in force", in_force)
    text = token()
    ways = {
        "token": (f"access_token={text}", bearer(text)),
        "key": ("k=good-key-0001", "X-API-Key: good-key-0001"),
    }
    rest = ("a=%20HTTP/1.1", "a=%0D%0AX-Evil:%20yes", "a=1%26admin=1", "b=%2B&a&&c=%C3%A9&a=2", "=%00", "")
    for name, (param, header) in ways.items():
        for query in rest:
            whole = f"/{name}?{query}" if query else f"/{name}"
            seen = [
                await ask(site, f"/{name}?{query}&{param}" if query else f"/{name}?{param}"),
                await ask(site, f"/{name}?{param}&{query}" if query else f"/{name}?{param}"),
                await ask(site, whole, header),
            ]
            for reply in seen:
                assert (reply.status, text in reply.body.decode()) == (200, False), (whole, reply.body)
                assert b"good-key-0001" not in reply.body
                assert json.loads(reply.body)["path"] == whole
