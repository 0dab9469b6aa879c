"""AuthPolicies: CORS, CSRF, services that are asked, and names in certificates."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import format_path
from tests.unit.gateway.conftest import spoken
from tests.unit.gateway.test_auth import auths, closed, edge, inline, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, ROUTE

__all__ = ["edge"]

ORIGINS = "allowOrigins: [{value: 'https://a.example'}, {type: RegularExpression, value: 'https://b[0-9]'}]"
ASKED = "external: {backendRef: {name: asked, port: 9000}}"
SERVICE = "kind: Service\nmetadata: {name: asked}\nspec: {ports: [{port: 9000}]}\n"


def resolved(edge: Any) -> str:
    (ancestor,) = edge.status("AuthPolicy", "p")["ancestors"]
    return spoken(ancestor)["ResolvedRefs"]


def test_a_route_that_says_cors_keeps_its_gateways_tokens(edge: Any) -> None:
    edge.apply(policy("p", EDGE, inline()), policy("q", FIRST, f"cors: {{{ORIGINS}, maxAge: 2m}}"))
    first, second, _ = edge.routes().routes
    assert first.cors == ir.Cors(("https://a.example",), max_age=120, patterns=("https://b[0-9]",))
    assert first.auth is not None
    assert first.auth.jwt is not None
    assert second.cors is None


def test_cors_merges_field_by_field_and_origins_as_a_whole(edge: Any) -> None:
    edge.apply(
        policy("p", EDGE, f"cors: {{{ORIGINS}, allowMethods: [PUT]}}"),
        policy("q", FIRST, "cors: {allowOrigins: [{value: 'https://c.example'}]}"),
    )
    first, second, _ = edge.routes().routes
    assert first.cors == ir.Cors(("https://c.example",), ("PUT",))
    assert second.cors is not None
    assert second.cors.patterns == ("https://b[0-9]",)


def test_policies_together_let_no_page_of_the_world_act_for_users(edge: Any) -> None:
    edge.apply(
        policy("p", EDGE, "cors: {allowCredentials: true}"),
        policy("q", FIRST, "cors: {allowOrigins: [{value: '*'}]}"),
    )
    assert edge.routes().routes[0].cors == ir.Cors(("*",))


def test_csrf(edge: Any) -> None:
    edge.apply(
        policy("p", EDGE, "csrf: {additionalOrigins: [{value: a.example}]}"),
        policy("q", FIRST, "csrf: {disabled: true}"),
    )
    assert [route.csrf for route in edge.routes().routes] == [None, *[ir.Csrf(("a.example",))] * 2]


def test_a_service_that_is_asked_is_kept_with_the_routes(edge: Any) -> None:
    edge.apply(SERVICE, policy("p", FIRST, ASKED))
    first, second, _ = auths(edge)
    assert second is None
    assert first is not None
    assert first.external is not None
    key = first.external.cluster
    assert (key.ref, key.port, key.transport) == (edge.ref("Service", "asked"), 9000, "grpc")
    assert key in edge.routes().clusters()
    assert edge.outputs.clusters.get(key) is not None
    assert resolved(edge) == "True ResolvedRefs"


def test_a_service_that_is_not_there_closes(edge: Any) -> None:
    edge.apply(policy("p", FIRST, ASKED))
    assert closed(edge) == [True, False, False]
    assert edge.finding("DRG1821").message.endswith("Service default/asked is not there")
    assert resolved(edge) == "False BackendNotFound"
    edge.apply(SERVICE)
    assert closed(edge) == [False, False, False]
    edge.remove("Service", "asked")
    assert closed(edge) == [True, False, False]


def test_a_service_of_another_namespace_needs_a_grant(edge: Any) -> None:
    edge.apply(
        SERVICE.replace("name: asked", "name: asked, namespace: others"),
        policy("p", FIRST, "external: {backendRef: {name: asked, namespace: others, port: 9000}}"),
    )
    assert closed(edge) == [True, False, False]
    assert resolved(edge) == "False RefNotPermitted"
    edge.apply(
        "kind: ReferenceGrant\nmetadata: {name: g, namespace: others}\n"
        "spec: {from: [{group: dragoman.dev, kind: AuthPolicy, namespace: default}],"
        " to: [{group: '', kind: Service}]}\n"
    )
    assert closed(edge) == [False, False, False]


def test_switched_off_nobody_is_asked(edge: Any) -> None:
    edge.apply(policy("p", EDGE, ASKED), policy("q", FIRST, "external: {disabled: true}"))
    assert closed(edge) == [False, True, True]


def test_names_in_certificates(edge: Any) -> None:
    rule = "{principals: [{exact: 'spiffe://a/b'}, {type: DNS, prefix: api.}], userAgents: ['x.*']}"
    edge.apply(policy("p", FIRST, f"rules: {{allow: [{rule}]}}"))
    first = auths(edge)[0]
    assert first is not None
    assert first.rules is not None
    assert first.rules.allow is not None
    assert first.rules.allow[0].principals == (
        ir.Principal("URI", "spiffe://a/b"),
        ir.Principal("DNS", "api.", True),
    )
    assert first.rules.allow[0].user_agents == ("x.*",)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("cors: {allowOrigins: [{value: app.example}]}", "DRG1103 spec.cors.allowOrigins[0].value"),
        (
            "cors: {allowOrigins: [{type: RegularExpression, value: '(('}]}",
            "DRG1301 spec.cors.allowOrigins[0].value",
        ),
        ("cors: {allowMethods: ['*', GET]}", "DRG1108 spec.cors.allowMethods"),
        ("cors: {maxAge: 0s}", "DRG1104 spec.cors.maxAge"),
        (
            "cors: {allowOrigins: [{value: 'https://*'}], allowCredentials: true}",
            "DRG1108 spec.cors.allowCredentials",
        ),
        (
            "csrf: {additionalOrigins: [{value: 'https://a.example'}]}",
            "DRG1103 spec.csrf.additionalOrigins[0].value",
        ),
        ("csrf: {additionalOrigins: [{value: '*'}]}", "DRG1103 spec.csrf.additionalOrigins[0].value"),
        ("external: {protocol: GRPC}", "DRG1102 spec.external"),
        ("external: {backendRef: {name: a, port: 1}, timeout: 0s}", "DRG1104 spec.external.timeout"),
        ("external: {backendRef: {name: a, port: 1}, pathPrefix: /a}", "DRG1108 spec.external.pathPrefix"),
        (
            "external: {backendRef: {name: a, port: 1}, clientHeaders: []}",
            "DRG1108 spec.external.clientHeaders",
        ),
        (
            "external: {backendRef: {name: a, port: 1}, protocol: HTTP, context: [{name: a, value: b}]}",
            "DRG1108 spec.external.context",
        ),
        (
            "external: {backendRef: {name: a, port: 1}, addHeaders: [{name: Host, value: b}]}",
            "DRG1108 spec.external.addHeaders[0].name",
        ),
        ("external: {backendRef: {name: a, port: 1}, bodyBytes: 2000000}", "DRG1104 spec.external.bodyBytes"),
        (
            "rules: {allow: [{principals: [{exact: a, prefix: b}]}]}",
            "DRG1108 spec.rules.allow[0].principals[0]",
        ),
        ("rules: {deny: [{userAgents: ['((']}]}", "DRG1301 spec.rules.deny[0].userAgents[0]"),
    ],
)
def test_what_is_refused(edge: Any, spec: str, found: str) -> None:
    edge.apply(policy("p", ROUTE, spec))
    assert [f"{d.code} {format_path(d.path)}" for d in edge.rejected[edge.ref("AuthPolicy", "p")]] == [found]


LOOKED_UP_BY = "kind: Secret\nmetadata: {name: gateway}\nstringData: {client-secret: s}\n"
LOOKED_UP = "introspection: {endpoint: 'https://i.example/i', clientID: c, clientSecretRef: {name: gateway}}"


@pytest.mark.parametrize("more", ["combine: Any", "exclude: [{methods: [GET]}]"])
def test_nothing_is_optional_where_tokens_are_checked_and_looked_up(edge: Any, more: str) -> None:
    certificate = "clientCertificate: {}"
    spec = f"{inline()}\n  {certificate}\n  {more}"
    edge.apply(LOOKED_UP_BY, policy("p", EDGE, spec), policy("q", FIRST, LOOKED_UP))
    first, second, _ = auths(edge)
    assert second is not None
    assert second.jwt is not None
    assert second.jwt.optional
    assert first is not None
    assert first.jwt is not None
    assert first.introspection is not None
    assert first.needs is None
    assert not first.jwt.optional
    assert not first.introspection.optional
    beside = "AuthPolicy default/p does not hold beside `introspection` and `jwt`"
    assert beside in edge.finding("DRG1863").message


def test_what_is_looked_up_is_one_of_several(edge: Any) -> None:
    tokens, keys = f"{LOOKED_UP}\n  apiKeys: {{}}", "redisKeys: {}\n  clientCertificate: {}"
    edge.apply(LOOKED_UP_BY, policy("p", FIRST, f"{tokens}\n  combine: Any"))
    first = auths(edge)[0]
    assert first is not None
    assert first.needs == ir.Needs(("key", "introspected"), True)
    assert first.introspection is not None
    assert first.introspection.optional
    edge.apply(policy("p", FIRST, f"{keys}\n  exclude: [{{methods: [GET]}}]"))
    first = auths(edge)[0]
    assert first is not None
    assert first.needs == ir.Needs(("certificate", "redis"), False, (ir.AuthRule(methods=("GET",)),))
    places = ir.Places((("x-api-key", ""),))
    assert first.redis_keys == ir.RedisKeys("default/p", optional=True, places=places)
    assert not [line for line in edge.findings() if "DRG1863" in line]


@pytest.mark.parametrize(
    "rules", ["allow: [{scopes: {allOf: [a]}}]", "deny: [{claims: [{name: a, values: [b]}]}]"]
)
def test_rules_on_claims_that_nothing_reads(edge: Any, rules: str) -> None:
    edge.apply(policy("p", EDGE, f"{inline()}\n  rules: {{{rules}}}"))
    assert not [line for line in edge.findings() if "DRG1864" in line]
    edge.apply(policy("q", FIRST, "jwt: {disabled: true}"))
    assert edge.finding("DRG1864").ref == edge.ref("AuthPolicy", "p")
