"""AuthPolicies: who may pass, and that nobody does where that cannot be told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from dragoman.ir import model as ir
from dragoman.translators import base
from dragoman.translators.gateway.policies import auth_keys
from tests.harness import tokens
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE

KEYS = tokens.Issuer("https://issuer.example").jwks
ISSUER = "https://issuer.example"


def policy(name: str, target: str, spec: str) -> str:
    return f"kind: AuthPolicy\nmetadata: {{name: {name}}}\nspec:\n  targetRefs: [{target}]\n  {spec}\n"


def inline(issuer: str = ISSUER, keys: str = KEYS, more: str = "") -> str:
    return f"jwt: {{providers: [{{name: main, issuer: '{issuer}', jwks: {{inline: '{keys}'}}{more}}}]}}"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def auths(edge: Any) -> list[ir.Auth | None]:
    return [route.auth for route in edge.routes().routes]


def closed(edge: Any) -> list[bool]:
    return [isinstance(r.action, ir.Respond) and r.action.status == 500 for r in edge.routes().routes]


def test_a_gateways_issuers_hold_for_every_route(edge: Any) -> None:
    edge.apply(policy("p", EDGE, inline()))
    assert all(one is not None and one.jwt.providers[0].issuer == ISSUER for one in auths(edge))
    assert closed(edge) == [False, False, False]


def test_a_rule_adds_to_what_its_gateway_asks(edge: Any) -> None:
    edge.apply(policy("p", EDGE, inline()), policy("q", FIRST, "rules: {allow: [{scopes: {allOf: [a, b]}}]}"))
    first, second, _ = auths(edge)
    assert first is not None
    assert first.jwt is not None
    assert first.rules is not None
    assert first.rules.allow is not None
    assert [claim.values for claim in first.rules.allow[0].claims] == [("a",), ("b",)]
    assert first.scopes == ("a", "b")
    assert second is not None
    assert second.rules is None


def test_switched_off_for_a_rule(edge: Any) -> None:
    edge.apply(policy("p", EDGE, inline()), policy("q", FIRST, "jwt: {disabled: true}"))
    assert [one is None for one in auths(edge)] == [True, False, False]


def test_one_that_is_wrong_closes_what_it_was_to_protect(edge: Any) -> None:
    edge.apply(policy("p", ROUTE, "jwt: {provider: []}"))
    assert closed(edge) == [True, True, True]
    (found,) = edge.rejected[edge.ref("AuthPolicy", "p")]
    assert found.code == "DRG1101"


def test_keys_that_are_not_there_close(edge: Any) -> None:
    edge.apply(
        policy(
            "p", FIRST, f"jwt: {{providers: [{{name: a, issuer: '{ISSUER}', jwks: {{ref: {{name: k}}}}}}]}}"
        )
    )
    assert closed(edge) == [True, False, False]
    assert edge.finding("DRG1801").message.endswith("ConfigMap default/k is not there")
    edge.apply(f"kind: ConfigMap\nmetadata: {{name: k}}\ndata: {{jwks.json: '{KEYS}'}}")
    assert closed(edge) == [False, False, False]
    assert auths(edge)[0] is not None


def test_an_issuer_is_asked_for_its_keys(edge: Any) -> None:
    edge.apply(policy("p", FIRST, f"jwt: {{providers: [{{name: a, issuer: '{ISSUER}'}}]}}"))
    fetches = edge.outputs.fetches
    first = f"{ISSUER}/.well-known/openid-configuration"
    assert set(fetches.wanted) == {first}
    assert closed(edge) == [True, False, False]
    fetches.found.put(
        first, base.Fetched(json.dumps({"issuer": ISSUER, "jwks_uri": "https://keys.example/k"}))
    )
    edge.graph.commit()
    assert set(fetches.wanted) == {first, "https://keys.example/k"}
    fetches.found.put("https://keys.example/k", base.Fetched(KEYS))
    edge.graph.commit()
    assert closed(edge) == [False, False, False]
    # What was good stays when the issuer is down.
    fetches.found.put("https://keys.example/k", base.Fetched(KEYS, "timeout"))
    edge.graph.commit()
    assert closed(edge) == [False, False, False]


def test_an_issuer_that_speaks_of_another_is_not_believed(edge: Any) -> None:
    edge.apply(policy("p", FIRST, f"jwt: {{providers: [{{name: a, issuer: '{ISSUER}'}}]}}"))
    said = {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/k"}
    url = f"{ISSUER}/.well-known/openid-configuration"
    edge.outputs.fetches.found.put(url, base.Fetched(json.dumps(said)))
    edge.graph.commit()
    assert set(edge.outputs.fetches.wanted) == {url}
    assert "another issuer" in edge.finding("DRG1801").message


DEEP = "[" * 60_000
"""Python gives up on this with something else than a ValueError."""


def test_an_answer_that_is_nested_too_deeply_ends_nothing(edge: Any) -> None:
    edge.apply(policy("p", FIRST, f"jwt: {{providers: [{{name: a, issuer: '{ISSUER}'}}]}}"))
    edge.outputs.fetches.found.put(f"{ISSUER}/.well-known/openid-configuration", base.Fetched(DEEP))
    edge.graph.commit()
    assert edge.finding("DRG1801").message.endswith("openid-configuration is not JSON")
    assert closed(edge) == [True, False, False]


def test_keys_that_are_nested_too_deeply_end_nothing(edge: Any) -> None:
    edge.apply(policy("p", FIRST, inline(keys=DEEP)))
    assert edge.finding("DRG1801").message.endswith("it is not JSON")
    assert closed(edge) == [True, False, False]


def test_keys_do_not_come_without_tls_from_an_issuer_with_it(edge: Any) -> None:
    edge.apply(policy("p", FIRST, f"jwt: {{providers: [{{name: a, issuer: '{ISSUER}'}}]}}"))
    said = {"issuer": ISSUER, "jwks_uri": "http://keys.example/k"}
    url = f"{ISSUER}/.well-known/openid-configuration"
    edge.outputs.fetches.found.put(url, base.Fetched(json.dumps(said)))
    edge.graph.commit()
    assert set(edge.outputs.fetches.wanted) == {url}
    assert "without TLS" in edge.finding("DRG1801").message


def test_private_and_symmetric_keys_are_left_out() -> None:
    private = rsa.generate_private_key(65537, 2048)
    key = tokens.public(private.public_key(), "one") | {"d": "c2VjcmV0", "p": "c2VjcmV0"}
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "two"}
    found = json.loads(auth_keys.usable(json.dumps({"keys": [key, symmetric]})))
    assert [set(one) for one in found["keys"]] == [{"kty", "n", "e", "kid"}]
    with pytest.raises(ValueError, match="no public key"):
        auth_keys.usable(json.dumps({"keys": [symmetric]}))


def test_algorithms_choose_among_keys() -> None:
    pair = tokens.public(rsa.generate_private_key(65537, 2048).public_key(), "r")
    curve = tokens.public(ec.generate_private_key(ec.SECP256R1()).public_key(), "e")
    text = json.dumps({"keys": [pair, curve]})
    found = json.loads(auth_keys.usable(text, ("ES256", "PS256")))
    assert {(one["kid"], one["alg"]) for one in found["keys"]} == {("r", "PS256"), ("e", "ES256")}
    with pytest.raises(ValueError, match="ES384"):
        auth_keys.usable(text, ("ES384",))


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("jwt: {providers: [{name: a, issuer: me}]}", "DRG1108 spec.jwt.providers[0].issuer"),
        (
            inline(more=", claimsToHeaders: [{header: X-Dragoman-Client, claim: sub}]"),
            "DRG1108 spec.jwt.providers[0].claimsToHeaders[0].header",
        ),
        (
            inline(more=", payloadHeader: x-dragoman-subject"),
            "DRG1108 spec.jwt.providers[0].payloadHeader",
        ),
        (
            (
                "introspection: {issuer: 'https://a', clientID: c, clientSecretRef: {name: s}, "
                "claimsToHeaders: [{header: x-dragoman-key, claim: sub}]}"
            ),
            "DRG1108 spec.introspection.claimsToHeaders[0].header",
        ),
        (
            "jwt: {providers: [{name: a, issuer: x, jwks: {uri: 'https://a/b', inline: '{}'}}]}",
            "DRG1108 spec.jwt.providers[0].jwks",
        ),
        (
            "rules: {allow: [{clientAddresses: [10.0.0.0/33]}]}",
            "DRG1103 spec.rules.allow[0].clientAddresses[0]",
        ),
        (
            "rules: {deny: [{paths: [{type: RegularExpression, value: '(('}]}]}",
            "DRG1301 spec.rules.deny[0].paths[0].value",
        ),
    ],
)
def test_what_is_refused(edge: Any, spec: str, found: str) -> None:
    from dragoman.refs import format_path

    edge.apply(policy("p", ROUTE, spec))
    assert [f"{d.code} {format_path(d.path)}" for d in edge.rejected[edge.ref("AuthPolicy", "p")]] == [found]
