"""How issuers are asked about tokens (RFC 7662): where, with which secret, how often, what is remembered and
for how long, and what happens while there is no answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from tests.envoy.introspection_site import (
    AskedSite,
    at,
    companion,
    heard,
    issuer,
    section,
    served,
    site,
    start,
)
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, policy
from tests.envoy.test_auth_keys import secret
from tests.harness import net
from tests.harness.issuer import Issuer, Mode
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

__all__ = ["issuer", "site"]

pytestmark = pytest.mark.envoy

FAILURES: tuple[Mode, ...] = (
    "error",
    "malformed",
    "html",
    "huge",
    "redirect",
    "gzip",
    "no-active",
    "closed",
    "slow",
)


async def test_an_issuer_that_fails_is_not_the_clients_fault(
    site: AskedSite, issuer: Issuer, subtests: pytest.Subtests
) -> None:
    """503 and not 401; nothing of it is remembered; who is to pass then passes, with nothing claimed."""
    await start(site, issuer, timeout="500ms")
    for mode in FAILURES:
        with subtests.test(mode):
            # What an earlier one is remembered for must not help.
            mine = bearer(f"good-{mode}")
            issuer.tokens[f"good-{mode}"] = issuer.tokens["good"]
            issuer.mode = mode
            before = served(site)
            reply = await ask(site, "/", mine)
            assert (reply.status, error(reply)) == (503, "unavailable")
            assert "www-authenticate" not in reply.headers
            assert served(site) == before
            headers = heard(await ask(site, "/lenient", mine, "X-User-ID: mallory"))
            assert "X-User-Id" not in headers
            assert (await ask(site, "/lenient")).status == 401, "without a token nobody needs to be asked"
            issuer.mode = "good"
            assert heard(await ask(site, "/", mine))["X-User-Id"] == ["ann"]


async def test_an_issuer_that_is_away_and_comes_back(site: AskedSite, issuer: Issuer) -> None:
    await start(site, issuer)
    heard(await ask(site, "/", bearer("good")))
    await issuer.stop()
    heard(await ask(site, "/", bearer("good")))
    assert (await ask(site, "/", bearer("other"))).status == 503
    assert (await ask(site, "/lenient", bearer("other"))).status == 200
    errors = await companion(site, "dragoman_authz_errors_total")
    assert errors['dragoman_authz_errors_total{policy="shop/all",reason="unreachable"}'] == 1
    await issuer.start()
    assert (await ask(site, "/", bearer("other"))).status == 401


async def test_a_revoked_token_is_refused_after_its_time(site: AskedSite, issuer: Issuer) -> None:
    """It passes as long as the answer is believed, and not much longer."""
    await start(site, issuer, remember={"active": "2s", "inactive": "1s"})
    heard(await ask(site, "/", bearer("good")))
    asked = time.monotonic()
    issuer.tokens["good"] = {"active": False}
    early = await ask(site, "/", bearer("good"))
    if time.monotonic() - asked < 1.5:
        assert early.status == 200

    async def refused() -> bool:
        return (await ask(site, "/", bearer("good"))).status == 401

    await net.until("the revoked token refused", refused, limit=10)
    assert time.monotonic() - asked >= 1.5
    issuer.tokens["good"] = {"active": True}

    async def passes() -> bool:
        return (await ask(site, "/", bearer("good"))).status == 200

    await net.until("the token that is good again", passes, limit=10)


async def test_never_beyond_the_end(site: AskedSite, issuer: Issuer) -> None:
    """A long memory does not help a token that has ended, although its issuer would still say yes."""
    await start(site, issuer)
    issuer.tokens["short"] = {"active": True, "exp": time.time() + 2}
    heard(await ask(site, "/", bearer("short")))

    async def over() -> bool:
        return (await ask(site, "/", bearer("short"))).status == 401

    await net.until("the token's end", over, limit=10)
    assert error(await ask(site, "/", bearer("short"))) == "token_expired"


async def test_many_requests_are_one_question(site: AskedSite, issuer: Issuer) -> None:
    await start(site, issuer)
    issuer.delay = 1.0
    replies = await asyncio.gather(*(ask(site, "/", bearer("good")) for _ in range(40)))
    assert {one.status for one in replies} == {200}
    assert issuer.asked("good") == 1
    outcomes = await companion(site, "dragoman_authz_cache_total")
    found = {name.partition('outcome="')[2].partition('"')[0]: value for name, value in outcomes.items()}
    assert found["miss"] == 1
    assert found["joined"] + found.get("hit", 0) == 39
    page = await site.plane.metrics("dragoman_authz_")
    assert page.items() >= outcomes.items(), "the control plane's page has them too"
    assert page['dragoman_authz_introspection_seconds_count{outcome="active",policy="shop/all"}'] == 1
    assert page['dragoman_authz_requests_total{outcome="allowed",policy="shop/all"}'] >= 40


async def test_the_issuers_description_says_where(site: AskedSite, issuer: Issuer) -> None:
    """And the audience is looked at."""
    await start(site, issuer, endpoint=None, issuer=issuer.url, audiences=["shop"])
    for name, claims, status in (
        ("mine", {"aud": ["other", "shop"], "iss": issuer.url}, 200),
        ("silent", {"aud": "shop"}, 200),
        ("others", {"aud": "other", "iss": issuer.url}, 401),
        ("for all", {"iss": issuer.url}, 401),
        ("foreign", {"aud": "shop", "iss": "https://evil.example"}, 401),
    ):
        text = name.replace(" ", "-")
        issuer.tokens[text] = {"active": True, **claims}
        assert (await ask(site, "/", bearer(text))).status == status, name


async def test_a_new_secret_touches_no_route(site: AskedSite, issuer: Issuer) -> None:
    await start(site, issuer)
    heard(await ask(site, "/", bearer("good")))
    issuer.secret = "the next one"
    assert (await ask(site, "/", bearer("other"))).status == 503
    tables = await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$")
    site.plane.write("secret.yaml", secret("other"))
    text = (site.plane.folder / "auth.yaml").read_text()
    (site.plane.folder / "auth.yaml").write_text(text.replace("s3cr et:+", "the next one"))
    issuer.tokens["new"] = {"active": True}

    async def followed() -> bool:
        return (await ask(site, "/", bearer("new"))).status == 200

    await net.until("the new secret", followed)
    heard(await ask(site, "/", bearer("good")))
    assert issuer.asked("good") == 1, "what is remembered stays"
    assert await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$") == tables


async def test_without_the_secret_nobody_passes(site: AskedSite, issuer: Issuer) -> None:
    await start(site, issuer)
    site.plane.write(
        "auth.yaml", policy("all", GATEWAY, introspection=section(issuer, clientSecretRef={"name": "gone"}))
    )
    await site.served(HOST, status=500)
    before = served(site)
    reply = await ask(site, "/", bearer("good"))
    assert json.loads(reply.body)["code"] == "DRG1861"
    assert served(site) == before


async def test_secrets_and_tokens_are_nowhere(site: AskedSite, issuer: Issuer) -> None:
    """Not in the log (at its most talkative), the admin pages, metrics, or what Envoy was given."""
    await start(site, issuer)
    issuer.tokens["token-7f3a"] = {"active": True, "sub": "ann"}
    heard(await ask(site, "/", bearer("token-7f3a")))
    issuer.mode = "malformed"
    assert (await ask(site, "/", bearer("token-9e8d"))).status == 503
    pages = [site.plane.log, await site.plane.get("/metrics")]
    pages += [
        str(await site.plane.get(page))
        for page in ("/api/v1/objects", "/api/v1/diagnostics", "/api/v1/snapshot?body=1")
    ]
    pages.append(str(await companion(site, "")))
    pages.append(json.dumps(await site.envoy.get("/config_dump?include_eds")))
    for page in pages:
        assert page
        for word in ("s3cr", "token-7f3a", "token-9e8d", "czNjcitldA"):
            assert word not in page


async def test_a_companion_of_its_own(tmp_path: Path, envoy_binary: Path, issuer: Issuer) -> None:
    """`dragoman authz` on the same files, the control plane without one: away it is 503, and back again."""
    port = net.free_port()
    site = Site(tmp_path)
    environment = {"DRAGOMAN_AUTHZ_ENABLED": "false", "DRAGOMAN_AUTHZ_PORT": str(port)}
    site.plane = Plane(tmp_path, environment=environment)
    command = [sys.executable, "-m", "dragoman", "authz", str(site.plane.folder), "--port", str(port)]

    async def answered(token: str, status: int) -> None:
        async def so() -> bool:
            return (await ask(site, "/", bearer(token))).status == status

        await net.until(f"{token} answered with {status}", so)

    async with site:
        rules = [rule("shop"), rule("shop", path="/lenient", name="lenient")]
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
        site.plane.write(
            "auth.yaml",
            secret("gateway", **{"client-secret": issuer.secret}),
            policy("all", GATEWAY, introspection=section(issuer)),
            policy("lenient", at("lenient"), introspection=section(issuer, failure="Open")),
        )
        await site.served(HOST, status=503)
        assert error(await ask(site, "/", bearer("good"))) == "unavailable"
        headers = heard(await ask(site, "/lenient", bearer("good"), "X-User-ID: mallory"))
        assert "X-User-Id" not in headers
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            try:
                await answered("good", 200)
                assert (await ask(site, "/", bearer("unknown"))).status == 401
                issuer.tokens["later"] = {"active": True, "aud": "shop"}
                assert (await ask(site, "/", bearer("later"))).status == 200
            finally:
                process.terminate()
                assert await asyncio.wait_for(process.wait(), 20) == 0
            await answered("good", 503)
