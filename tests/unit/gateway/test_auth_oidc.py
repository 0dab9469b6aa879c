"""Logins of browsers: where their endpoints and secrets come from, and that nobody passes without."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import format_path
from dragoman.translators import base
from dragoman.translators.gateway import hosts
from dragoman.translators.gateway.policies import auth_oidc, auth_oidc_secrets
from tests.unit.gateway.conftest import spoken
from tests.unit.gateway.test_auth import auths, closed, inline, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE

ISSUER = "https://id.example"
PAGE = f"{ISSUER}/.well-known/openid-configuration"
SECRET = 'kind: Secret\nmetadata: {name: login}\nstringData: {client-secret: "first\\n"}\n'
GIVEN = f"authorizationEndpoint: '{ISSUER}/a', tokenEndpoint: '{ISSUER}/t'"


def oidc(more: str = GIVEN) -> str:
    return f"oidc: {{issuer: '{ISSUER}', clientID: shop, clientSecretRef: {{name: login}}, {more}}}"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY, SECRET)


def logins(edge: Any) -> list[ir.Login | None]:
    return [one.login if one is not None else None for one in auths(edge)]


def seals(edge: Any) -> dict[str, bytes]:
    """Use -> bytes of every secret that routes need."""
    return {
        key.use: edge.outputs.secrets.get(key).generic
        for key in edge.outputs.secrets.keys()  # noqa: SIM118 (a collection, not a mapping)
    }


def described(edge: Any, **said: Any) -> None:
    body = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/a",
        "token_endpoint": f"{ISSUER}/t",
        **said,
    }
    edge.outputs.fetches.found.put(PAGE, base.Fetched(json.dumps(body)))
    edge.graph.commit()


def test_a_gateways_login_holds_for_every_route(edge: Any) -> None:
    edge.apply(policy("p", EDGE, oidc()))
    assert closed(edge) == [False, False, False]
    (found,) = set(logins(edge))
    assert found is not None
    assert found.cluster == ir.ClusterKey(found.cluster.ref, 443)
    assert (found.cluster.ref.kind, found.cluster.ref.namespace, found.cluster.ref.name) == (
        ir.HOST,
        "https",
        "id.example",
    )
    assert (found.scopes, found.callback, found.logout) == (("openid",), "/oauth2/callback", "/logout")
    assert found.cluster in edge.outputs.clusters
    assert not edge.outputs.fetches.wanted


def test_the_cluster_of_a_provider() -> None:
    def made(url: str) -> ir.Cluster:
        key = auth_oidc._host(url)
        assert key is not None
        return hosts.cluster(key)

    found = made("https://id.example/token")
    assert (found.discovery, found.tls) == (
        ir.Discovery.DNS,
        ir.UpstreamTls(sni="id.example", sans=("id.example",)),
    )
    found = made("http://10.0.0.1:8080/token")
    assert (found.discovery, found.tls, found.endpoints[0].port) == (ir.Discovery.STATIC, None, 8080)
    assert made("http://[::1]/token").endpoints[0].address == "::1"


@pytest.mark.parametrize(
    "url",
    ["http://id.example:0/t", "http://id.example:99999/t", "http://[::zz]/t", f"http://{'a' * 300}/t"],
)
def test_urls_that_lead_nowhere(edge: Any, url: str) -> None:
    edge.apply(policy("p", EDGE, oidc(f"authorizationEndpoint: '{ISSUER}/a', tokenEndpoint: '{url}'")))
    assert closed(edge) == [True, True, True]
    assert edge.finding("DRG1841").message.startswith("nobody can log in: the token_endpoint")


def test_the_issuer_is_asked(edge: Any) -> None:
    edge.apply(policy("p", FIRST, oidc("scopes: [cart, openid]")))
    assert set(edge.outputs.fetches.wanted) == {PAGE}
    assert closed(edge) == [True, False, False]
    assert edge.finding("DRG1841").severity.name == "INFO"
    described(edge, end_session_endpoint=f"{ISSUER}/e")
    first = logins(edge)[0]
    assert first is not None
    assert (first.authorization, first.token, first.end_session) == (
        f"{ISSUER}/a",
        f"{ISSUER}/t",
        f"{ISSUER}/e",
    )
    assert first.scopes == ("openid", "cart")
    # Without a list of methods it is basic authentication (Discovery, section 3).
    assert first.by_header
    described(edge, token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"])
    assert logins(edge)[0] == replace(first, by_header=False, end_session="")


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"token_endpoint": "ftp://id.example/t"},
        {"authorization_endpoint": 7},
        {"authorization_endpoint": "https://id.example/a b"},
        {"authorization_endpoint": "https://us er@id.example/"},
        {"end_session_endpoint": "https://id.example/\n"},
    ],
)
def test_what_an_issuer_says_is_not_believed_blindly(edge: Any, said: dict[str, Any]) -> None:
    edge.apply(policy("p", FIRST, oidc("scopes: [cart]")))
    described(edge, **said)
    assert closed(edge) == [True, False, False]
    assert edge.finding("DRG1841").severity.name == "ERROR"


def test_secrets_by_sds_and_what_seals_cookies(edge: Any) -> None:
    edge.apply(policy("p", EDGE, oidc()))
    first = seals(edge)
    assert first[auth_oidc_secrets.CLIENT] == b"first"
    assert len(first[auth_oidc_secrets.SEAL]) == 32
    before = edge.routes()
    edge.apply(SECRET.replace("first", "second"))
    assert seals(edge)[auth_oidc_secrets.SEAL] != first[auth_oidc_secrets.SEAL]
    assert edge.routes() is before  # by SDS alone
    edge.apply(SECRET)
    assert seals(edge) == first
    # Another policy with the same client has another one.
    edge.remove("AuthPolicy", "p")
    assert not seals(edge)
    edge.apply(policy("q", EDGE, oidc()))
    assert seals(edge)[auth_oidc_secrets.SEAL] != first[auth_oidc_secrets.SEAL]


def test_a_secret_for_cookies_of_its_own(edge: Any) -> None:
    own = f"{GIVEN}, cookieSecretRef: {{name: cookies}}"
    edge.apply(policy("p", EDGE, oidc(own)))
    assert edge.finding("DRG1841").message.endswith("Secret default/cookies is not there")
    held = "kind: Secret\nmetadata: {name: cookies}\nstringData: {cookie-secret: %s}\n"
    edge.apply(held % ("x" * 31))
    assert edge.finding("DRG1841").message.endswith("shorter than 32 bytes")
    assert closed(edge) == [True, True, True]
    edge.apply(held % ("x" * 32))
    assert seals(edge)[auth_oidc_secrets.SEAL] == b"x" * 32
    assert closed(edge) == [False, False, False]


def test_without_the_clients_secret_nobody_passes(edge: Any) -> None:
    edge.apply(policy("p", EDGE, oidc()))
    edge.remove("Secret", "login")
    assert closed(edge) == [True, True, True]
    ancestor = edge.status("AuthPolicy", "p")["ancestors"][0]
    assert spoken(ancestor)["ResolvedRefs"] == "False InvalidLogin"


def test_plain_http_is_reported(edge: Any) -> None:
    def messages(url: str, more: str = "") -> list[str]:
        edge.apply(
            policy("p", EDGE, oidc(f"authorizationEndpoint: '{ISSUER}/a', tokenEndpoint: '{url}'{more}"))
        )
        assert closed(edge) == [False, False, False]
        assert spoken(edge.status("AuthPolicy", "p")["ancestors"][0])["ResolvedRefs"] == "True ResolvedRefs"
        return [line for line in edge.findings() if "DRG1843" in line]

    assert messages("http://id.example/t")
    for safe in ("https://id.example/t", "http://127.0.0.1:8080/t", "http://localhost/t", "http://[::1]/t"):
        assert not messages(safe)


def test_a_provider_behind_a_backend(edge: Any) -> None:
    given = oidc(f"{GIVEN}, backendRef: {{group: dragoman.dev, kind: Backend, name: id}}")
    edge.apply(policy("p", EDGE, given))
    assert closed(edge) == [True, True, True]
    finding = edge.finding("DRG1841")
    assert (
        finding.message
        == "nobody can log in: the provider cannot be reached: Backend default/id is not there"
    )
    assert format_path(finding.path) == "spec.oidc.backendRef"
    edge.apply("kind: Backend\nmetadata: {name: id}\nspec: {endpoints: [{address: 10.0.0.1, port: 443}]}\n")
    assert closed(edge) == [False, False, False]
    (found,) = set(logins(edge))
    assert found is not None
    assert found.cluster.ref.kind == "Backend"
    assert found.cluster in edge.outputs.clusters
    assert not [key for key in edge.outputs.clusters if key.ref.kind == ir.HOST]


def test_what_tokens_of_a_session_are_checked_for(edge: Any) -> None:
    """They stand where those who check look for them; the backend does not get them unless it is said."""
    both = f"{oidc()}\n  {inline()}"
    edge.apply(policy("p", EDGE, both))
    auth = auths(edge)[0]
    assert auth is not None
    assert auth.jwt is not None
    assert auth.login is not None
    assert (auth.login.checked, auth.login.bearers) == (True, True)
    provider = auth.jwt.providers[0]
    assert (provider.headers, provider.params, provider.forward) == ((ir.BEARER,), ("access_token",), False)
    edge.apply(policy("p", EDGE, both.replace(GIVEN, f"{GIVEN}, forwardToken: true, token: IdToken")))
    auth = auths(edge)[0]
    assert auth is not None
    assert auth.login is not None
    assert auth.jwt is not None
    assert (auth.login.bearers, auth.jwt.providers[0].forward) == (False, True)


def test_an_optional_token_is_no_way_around(edge: Any) -> None:
    elsewhere = inline(more=", from: {headers: [{name: x-token}]}").replace(
        "providers", "optional: true, providers"
    )
    edge.apply(policy("p", EDGE, f"{oidc()}\n  {elsewhere}"))
    auth = auths(edge)[0]
    assert auth is not None
    assert auth.login is not None
    assert auth.jwt is not None
    assert not auth.login.bearers
    assert auth.jwt.providers[0].headers == (("x-token", ""), ir.BEARER)


def test_switched_off_for_a_rule(edge: Any) -> None:
    edge.apply(policy("p", EDGE, oidc()), policy("q", FIRST, "oidc: {disabled: true}"))
    assert [one is None for one in logins(edge)] == [True, False, False]


def test_a_way_back_that_leads_nowhere(edge: Any) -> None:
    edge.apply(policy("p", FIRST, oidc(f"{GIVEN}, redirectPath: /nowhere/back, logoutPath: /nowhere/out")))
    found = [
        one
        for ref in edge.outputs.diagnostics.keys()  # noqa: SIM118 (a collection, not a mapping)
        for one in edge.outputs.diagnostics.get(ref)
        if one.code == "DRG1842"
    ]
    assert {one.ref.kind for one in found} == {"HTTPRoute"}
    assert sorted(one.message.rpartition(" ")[2] for one in found) == ["/nowhere/back", "/nowhere/out"]
    edge.apply(policy("p", EDGE, oidc()))
    assert closed(edge) == [False, False, False]


@pytest.mark.parametrize(
    ("spec", "code", "place"),
    [
        ("oidc: {clientID: a, clientSecretRef: {name: b}}", "DRG1102", "spec.oidc"),
        (f"oidc: {{issuer: '{ISSUER}', clientSecretRef: {{name: b}}}}", "DRG1102", "spec.oidc"),
        (f"oidc: {{issuer: '{ISSUER}', clientID: a}}", "DRG1102", "spec.oidc"),
        (oidc("timeout: 1ms"), "DRG1104", "spec.oidc.timeout"),
        (oidc("redirectPath: /a, logoutPath: /a"), "DRG1108", "spec.oidc.logoutPath"),
        (oidc("redirectPath: //a"), "DRG1103", "spec.oidc.redirectPath"),
        (oidc("redirectPath: /a/../b"), "DRG1103", "spec.oidc.redirectPath"),
        (oidc("redirectPath: '/a?b'"), "DRG1103", "spec.oidc.redirectPath"),
        (oidc("logoutPath: '/%REQ(a)%'"), "DRG1103", "spec.oidc.logoutPath"),
        (oidc("scopes: ['a b']"), "DRG1103", "spec.oidc.scopes[0]"),
    ],
)
def test_what_is_wrong(edge: Any, spec: str, code: str, place: str) -> None:
    edge.apply(policy("p", ROUTE, spec))
    assert closed(edge) == [True, True, True]
    (found,) = edge.rejected[edge.ref("AuthPolicy", "p")]
    assert (found.code, format_path(found.path)) == (code, place)
