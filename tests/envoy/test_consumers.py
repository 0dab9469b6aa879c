"""Consumers through the real Envoy: one client, however it comes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.envoy import client_site
from tests.envoy.client_site import ClientAuthority, client_policy, config_map, trusting
from tests.envoy.test_auth import GATEWAY, HOST, ISSUER, ask, bearer, error, policy, token
from tests.envoy.test_auth_keys import heard, key, secret
from tests.harness import manifests, net, tokens
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

PARTNER = tokens.Issuer("https://partner.example", "two")
KEY = "alice-key-0001"


def consumer(name: str, namespace: str = "shop", **spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Consumer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def token_of(value: str, **more: str) -> manifests.Body:
    return {"issuer": ISSUER.name, "value": value, **more}


def providers(**more: Any) -> manifests.Body:
    issuers = [("main", ISSUER), ("partner", PARTNER)]
    return {
        "providers": [
            {"name": name, "issuer": one.name, "audiences": ["shop"], "jwks": {"inline": one.jwks}}
            for name, one in issuers
        ],
        **more,
    }


def write_clients(site: Site, *more: manifests.Body, **alices: Any) -> None:
    spec = {"tokens": [token_of("alice")], "groups": ["staff", "admins"], "plan": "gold", **alices}
    site.plane.write(
        "clients.yaml",
        secret("alice-keys", one=KEY),
        consumer("alice", apiKeys=[{"name": "alice-keys"}], **spec),
        consumer("bob", tokens=[token_of("bob"), token_of("robot", claim="act.azp")], groups=["staff"]),
        consumer("alice", "elsewhere", tokens=[token_of("carol")], groups=["admins"]),
        *more,
    )


def route_target(name: str) -> manifests.Body:
    return {"kind": "HTTPRoute", "name": "shop", "sectionName": name}


@pytest.fixture
async def shop(site: Site) -> Site:
    """Everything needs a token; `/admin` a group as well; `/keys` a key instead; `/azp` looks at another
    claim; `/both` needs a token and a key."""
    names = ("admin", "keys", "azp", "both", "open")
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in names)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    write_clients(site)
    keys = {"headers": ["X-API-Key"]}
    off = {"disabled": True}
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=providers(consumerClaim="sub")),
        policy("admin", route_target("admin"), rules={"allow": [{"groups": ["admins"]}]}),
        policy("keys", route_target("keys"), jwt=off, apiKeys=keys),
        policy("azp", route_target("azp"), jwt={"consumerClaim": "act.azp"}),
        policy("both", route_target("both"), apiKeys=keys),
        policy("open", route_target("open"), jwt=off),
    )
    await site.served(HOST, status=401)
    return site


def names(headers: dict[str, list[str]]) -> list[str]:
    return [name for name in headers if "consumer" in name.lower() or "dragoman" in name.lower()]


async def test_the_same_client_by_key_and_by_token(shop: Site) -> None:
    for path, line in (("/", bearer(token())), ("/keys", key(KEY)), ("/admin", bearer(token()))):
        headers = heard(await ask(shop, path, line))
        assert headers["X-Consumer-Id"] == ["alice"]
        assert headers["X-Consumer-Groups"] == ["staff,admins"]
        assert headers["X-Consumer-Plan"] == ["gold"]
        assert len(names(headers)) == 3


async def test_a_token_that_is_nobodys_passes_without_identity(shop: Site) -> None:
    claimed = ("X-Consumer-ID: root", "X-Consumer-Groups: admins", "X-Dragoman-Client: AAAA")
    subject = ("X-Dragoman-Subject: alice", f"X-Dragoman-Subject-By: token shop sub {ISSUER.name}")
    nobody = (
        token(sub="mallory"),
        token(sub="carol"),  # known in another namespace
        token(sub="alice "),
        token(sub=""),
        token(sub=None),
        token(sub=None, azp="alice"),
        PARTNER.token(aud="shop"),  # the same subject of another issuer
    )
    for one in nobody:
        headers = heard(await ask(shop, "/", bearer(one), *claimed, *subject))
        assert not names(headers), one
        refused = await ask(shop, "/admin", bearer(one), *claimed, *subject)
        assert (refused.status, error(refused)) == (403, "forbidden")
    assert not names(heard(await ask(shop, "/open", *claimed, *subject, f"X-Dragoman-Key: {KEY}")))


async def test_another_claim(shop: Site) -> None:
    assert heard(await ask(shop, "/azp", bearer(token(act={"azp": "robot"}))))["X-Consumer-Id"] == ["bob"]
    for claims in ({}, {"act": {"azp": "alice"}}, {"act": "robot"}, {"act.azp": "robot"}):
        assert not names(heard(await ask(shop, "/azp", bearer(token(**claims)))))


async def test_with_a_key_as_well_the_key_says_who_it_is(shop: Site) -> None:
    headers = heard(await ask(shop, "/both", bearer(token(sub="bob")), key(KEY)))
    assert headers["X-Consumer-Id"] == ["alice"]
    assert len(names(headers)) == 3
    assert (await ask(shop, "/both", bearer(token()))).status == 401
    assert (await ask(shop, "/both", key(KEY))).status == 401


async def test_consumers_come_and_go_without_listeners_and_routes(shop: Site) -> None:
    stats = r"lds.update_success|listener_modified|listener_added|rds\..*config_reload$"
    before = await shop.envoy.stats(stats)

    async def who(one: str) -> list[str] | None:
        return heard(await ask(shop, "/", bearer(token(sub=one)))).get("X-Consumer-Id")

    write_clients(shop, consumer("dora", tokens=[token_of("dora")]), tokens=[])

    async def changed() -> bool:
        return await who("dora") == ["dora"] and await who("alice") is None

    await net.until("dora is known, alice is not", changed)
    assert await shop.envoy.stats(stats) == before
    assert "X-Consumer-Plan" not in heard(await ask(shop, "/", bearer(token(sub="dora"))))


async def test_a_subject_of_two_consumers_is_nobodys(shop: Site) -> None:
    write_clients(shop, consumer("eve", tokens=[token_of("alice")]))

    async def nobodys() -> bool:
        return not names(heard(await ask(shop, "/", bearer(token()))))

    await net.until("alice is nobody", nobodys)
    found = json.dumps(await shop.plane.get("/api/v1/diagnostics"))
    assert found.count("the same subject `alice`") == 2


CLIENTS = ClientAuthority()
OTHERS = ClientAuthority("others")
API = "spiffe://shop.example/ns/api"


async def test_certificates(envoy_binary: Path, tmp_path: Path) -> None:
    """One that was not checked makes nobody anything, and is refused even where none is needed."""
    certificates = {"caCertificateRefs": [{"name": "clients"}]}
    named = {"consumerName": "URI"}

    def at(section: str) -> manifests.Body:
        return {"kind": "Gateway", "name": "edge", "sectionName": section}

    policies = [
        client_policy({"clientValidation": {**certificates, "mode": "AllowInvalid"}}),
        policy("needed", at("needed"), clientCertificate=named),
        policy("plain", at("plain"), clientCertificate=named),
        policy(
            "some", at("some"), clientCertificate={**named, "optional": True}, jwt=providers(optional=True)
        ),
        policy("both", at("both"), clientCertificate=named, jwt=providers(consumerClaim="sub")),
        policy("dns", at("dns"), clientCertificate={"consumerName": "DNS"}),
    ]
    more = [
        config_map("clients", ca_crt=CLIENTS.pem),
        consumer("api", certificates=[{"name": API}, {"type": "DNS", "name": "ops.example"}], plan="gold"),
        consumer("bob", tokens=[token_of("bob")]),
    ]
    shown = {
        "api": CLIENTS.issue(tmp_path, API)[:2],
        "ops": CLIENTS.issue(tmp_path, "spiffe://shop.example/ns/ops", "ops.example")[:2],
        "false": OTHERS.issue(tmp_path, API)[:2],
    }
    listeners = dict.fromkeys(("needed", "some", "both", "dns"), "HTTPS")
    async with client_site.running(envoy_binary, {**listeners, "plain": "HTTP"}, policies, more) as site:

        async def who(listener: str, name: str, *lines: str) -> Any:
            reply = await site.ask(listener, *lines, tls=trusting(shows=shown.get(name)))
            if reply.status != 200:
                return reply.status, error(reply)
            headers = json.loads(reply.body)["headers"]
            return headers.get("X-Consumer-Id", ["-"])[0] + headers.get("X-Consumer-Plan", [""])[0]

        claims = (
            "X-Consumer-Id: api",
            f"X-Dragoman-Subject: {API}",
            "X-Dragoman-Subject-By: certificate shop URI",
        )
        assert await who("needed", "api", *claims) == "apigold"
        assert await who("needed", "ops", *claims) == "-"
        assert await who("dns", "ops", *claims) == "apigold"
        assert await who("dns", "api", *claims) == "-"
        for listener, name in (("needed", "false"), ("needed", "none"), ("both", "none")):
            refused = await who(listener, name, *claims, bearer(token(sub="bob")))
            assert refused == (403, "forbidden"), (listener, name)
        assert await who("some", "api") == "apigold"
        assert await who("some", "none", *claims) == "-"
        assert await who("some", "false", *claims) == (403, "forbidden")
        assert await who("both", "api", bearer(token(sub="bob"))) == "bob"
        assert await who("both", "api", bearer(token(sub="mallory"))) == "-"
        passed = len(site.requests)
        assert (await who("both", "api"))[0] == 401
        assert (await site.ask("plain", *claims)).status == 403
        assert len(site.requests) == passed
