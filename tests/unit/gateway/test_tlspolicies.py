"""BackendTLSPolicies: whom is trusted, for which ports, by which policy; conditions, ancestors."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators.gateway import decode

GROUP = "gateway.networking.k8s.io"
SHOP = Ref("", "Service", "default", "shop")
KEY = ir.ClusterKey(SHOP, 8080)
TARGET = "{group: '', kind: Service, name: shop}"
SYSTEM = "hostname: a.example, wellKnownCACertificates: System"
CA = "{group: '', kind: ConfigMap, name: ca}"


def policy(
    validation: str = SYSTEM, targets: str = TARGET, *, name: str = "policy", day: int = 1, more: str = ""
) -> str:
    return (
        f"kind: BackendTLSPolicy\nmetadata: {{name: {name}, generation: 8, "
        f"creationTimestamp: '2026-01-0{day}T00:00:00Z'}}\n"
        f"spec: {{targetRefs: [{targets}], {more}validation: {{{validation}}}}}"
    )


def ancestors(world: Any, name: str = "policy") -> dict[str, dict[str, str]]:
    """Gateway's name -> conditions."""
    return {
        one["ancestorRef"]["name"]: {c["type"]: f"{c['status']} {c['reason']}" for c in one["conditions"]}
        for one in world.status("BackendTLSPolicy", name)["ancestors"]
    }


@pytest.fixture
def authority(issue: Any) -> Any:
    def make(name: str, kind: str = "ConfigMap") -> str:
        pem = "".join(f"    {line}\n" for line in issue(name)[0].decode().splitlines())
        entry = "data" if kind == "ConfigMap" else "stringData"
        return f"kind: {kind}\nmetadata: {{name: {name}}}\n{entry}:\n  ca.crt: |\n{pem}"

    return make


@pytest.fixture
def busy(shop: Any, http_route: Any) -> Any:
    return shop.apply(http_route())


FINE = {"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}


def tls(world: Any, key: ir.ClusterKey = KEY) -> ir.UpstreamTls | None:
    found = world.outputs.clusters.get(key)
    assert found is not None, world.findings()
    return found.tls  # type: ignore[no-any-return]


# --- whom is trusted --------------------------------------------------------------------------------------


def test_the_systems_authorities(busy: Any) -> None:
    busy.apply(policy())
    assert tls(busy) == ir.UpstreamTls(sni="a.example", system_ca=True, sans=("a.example",))
    assert ancestors(busy) == {"edge": FINE}
    (ancestor,) = busy.status("BackendTLSPolicy", "policy")["ancestors"]
    assert ancestor["ancestorRef"] == {
        "group": GROUP,
        "kind": "Gateway",
        "namespace": "default",
        "name": "edge",
    }
    assert ancestor["controllerName"] == "dragoman.dev/gateway-controller"
    assert {one["observedGeneration"] for one in ancestor["conditions"]} == {8}
    assert busy.conditions("HTTPRoute", "route")["ResolvedRefs"] == "True ResolvedRefs"


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_authority_of_ones_own(kind: str, busy: Any, authority: Any) -> None:
    busy.apply(
        authority("ca", kind),
        policy(f"hostname: a.example, caCertificateRefs: [{CA}]".replace("ConfigMap", kind)),
    )
    key = ir.SecretKey(Ref("", kind, "default", "ca"), "ca")
    assert tls(busy) == ir.UpstreamTls(sni="a.example", ca=key, system_ca=False, sans=("a.example",))
    assert busy.outputs.secrets.get(key).ca.startswith(b"-----BEGIN CERTIFICATE-----")


def test_several_authorities_are_one_bundle(busy: Any, authority: Any) -> None:
    refs = f"[{CA}, {CA.replace('ca}', 'other}')}]"
    busy.apply(authority("ca"), authority("other"), policy(f"hostname: a.example, caCertificateRefs: {refs}"))
    key = ir.SecretKey(Ref(GROUP, "BackendTLSPolicy", "default", "policy"), "ca")
    assert tls(busy).ca == key
    assert busy.outputs.secrets.get(key).ca.count(b"BEGIN CERTIFICATE") == 2


def test_names_that_backends_may_bear(busy: Any) -> None:
    names = "[{type: Hostname, hostname: b.example}, {type: URI, uri: 'spiffe://a/b'}]"
    busy.apply(policy(f"{SYSTEM}, subjectAltNames: {names}"))
    found = tls(busy)
    assert found is not None
    assert (found.sni, found.sans) == ("a.example", ("b.example", "spiffe://a/b"))


def test_a_policy_goes_and_so_does_tls(busy: Any) -> None:
    busy.apply(policy())
    busy.remove("BackendTLSPolicy", "policy")
    assert tls(busy) is None
    assert busy.outputs.statuses.get(busy.ref("BackendTLSPolicy", "policy")) is None


# --- which ports, for whom --------------------------------------------------------------------------------

PORTS = """
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 8080, targetPort: 3000}, {name: more, port: 81}]}
"""
BOTH = "- backendRefs: [{name: shop, port: 8080}, {name: shop, port: 81}]"


def named(world: Any) -> list[str]:
    return [found.sni if (found := tls(world, ir.ClusterKey(SHOP, port))) else "" for port in (8080, 81)]


def test_a_ports_own_policy_comes_before_its_services(busy: Any, http_route: Any) -> None:
    own = TARGET.replace("}", ", sectionName: more}")
    busy.apply(PORTS, http_route(BOTH))
    busy.apply(policy("hostname: port.example, wellKnownCACertificates: System", own, name="port", day=2))
    assert named(busy) == ["", "port.example"]
    busy.apply(policy())
    assert named(busy) == ["a.example", "port.example"]
    assert ancestors(busy) == ancestors(busy, "port") == {"edge": FINE}


@pytest.mark.parametrize(
    ("kind", "how", "secured"),
    [
        ("GRPCRoute", ir.Transport.GRPC, True),
        ("TCPRoute", ir.Transport.BYTES, True),
        ("TLSRoute", ir.Transport.PASSTHROUGH, False),
    ],
)
def test_whatever_reaches_it_but_tls_itself(kind: str, how: ir.Transport, secured: bool, shop: Any) -> None:
    shop.apply(
        """
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: tcp, port: 81, protocol: TCP}
  - {name: tls, port: 82, protocol: TLS, tls: {mode: Passthrough}}
""",
        policy(),
        f"kind: {kind}\nmetadata: {{name: r}}\nspec: {{parentRefs: [{{name: edge}}], "
        + ("hostnames: [a.example], " if kind == "TLSRoute" else "")
        + "rules: [{backendRefs: [{name: shop, port: 8080}]}]}",
    )
    assert (tls(shop, ir.ClusterKey(SHOP, 8080, how.value)) is not None) is secured
    assert list(ancestors(shop)) == ["edge"]


# --- ancestors --------------------------------------------------------------------------------------------


def test_ancestors_are_the_gateways_whose_routes_reach_it(busy: Any) -> None:
    busy.apply(policy())
    for name in ("other", "idle"):
        busy.apply(
            f"kind: Gateway\nmetadata: {{name: {name}}}\nspec: {{gatewayClassName: dragoman, "
            "listeners: [{name: http, port: 81, protocol: HTTP}]}"
        )
    assert list(ancestors(busy)) == ["edge"]
    busy.apply(
        "kind: HTTPRoute\nmetadata: {name: more}\nspec: {parentRefs: [{name: other}], "
        "rules: [{backendRefs: [{name: shop, port: 8080}]}]}"
    )
    assert list(ancestors(busy)) == ["edge", "other"]
    busy.remove("HTTPRoute", "more")
    busy.remove("HTTPRoute", "route")
    assert ancestors(busy) == {}


def test_the_gateway_of_a_listener_set_is_the_ancestor(shop: Any) -> None:
    shop.apply(
        policy(),
        "kind: Gateway\nmetadata: {name: edge}\nspec: {gatewayClassName: dragoman, allowedListeners: "
        "{namespaces: {from: Same}}, listeners: [{name: http, port: 80, protocol: HTTP}]}",
        "kind: ListenerSet\nmetadata: {name: set}\nspec: {parentRef: {name: edge}, "
        "listeners: [{name: a, port: 81, protocol: HTTP}]}",
        "kind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{kind: ListenerSet, name: set}], "
        "rules: [{backendRefs: [{name: shop, port: 8080}]}]}",
    )
    assert ancestors(shop) == {"edge": FINE}


# --- who is in force --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "winner"), [((1, 2), "a"), ((2, 1), "b"), ((1, 1), "a")])
def test_the_oldest_is_in_force(days: tuple[int, int], winner: str, busy: Any) -> None:
    for name, day in zip("ab", days, strict=True):
        busy.apply(policy(f"hostname: {name}.org, wellKnownCACertificates: System", name=name, day=day))
    loser = "b" if winner == "a" else "a"
    assert tls(busy).sni == f"{winner}.org"
    assert ancestors(busy, winner) == {"edge": FINE}
    assert ancestors(busy, loser) == {"edge": FINE | {"Accepted": "False Conflicted"}}
    assert format_path(busy.finding("DRG1210").path) == "spec.targetRefs[0]"
    busy.remove("BackendTLSPolicy", winner)
    assert tls(busy).sni == f"{loser}.org"
    assert ancestors(busy, loser) == {"edge": FINE}


def test_in_force_for_one_of_two_targets(busy: Any) -> None:
    busy.apply("kind: Service\nmetadata: {name: more}\nspec: {ports: [{port: 80}]}")
    busy.apply(policy(name="old"), policy(targets=f"{TARGET}, {TARGET.replace('shop', 'more')}", day=2))
    assert ancestors(busy) == {"edge": FINE}
    assert "DRG1210 spec.targetRefs[0]" in busy.findings()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("shop, sectionName: htpt", "False TargetNotFound"),
        ("shop, sectionName: http", "True Accepted"),
        (
            "shop, sectionName: htpt}, {group: '', kind: Service, name: shop, sectionName: http",
            "True Accepted",
        ),
    ],
)
def test_a_port_that_is_not_there(targets: str, expected: str, busy: Any) -> None:
    """Else a slip in the name would leave requests in plain text, and the policy would say that it holds."""
    busy.apply(policy(targets=TARGET.replace("shop", targets)))
    assert ancestors(busy) == {"edge": FINE | {"Accepted": expected}}
    missing = [one for one in busy.findings() if one.startswith("DRG1601")]
    assert missing == (["DRG1601 spec.targetRefs[0].sectionName"] if "htpt" in targets else [])
    assert (tls(busy) is None) is (expected != "True Accepted")


def test_a_policy_that_cannot_be_kept_still_has_its_target(busy: Any) -> None:
    """Else a younger one would send where the older forbids it."""
    busy.apply(policy("hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]"))
    busy.apply(policy(name="younger", day=2))
    assert ancestors(busy, "younger") == {"edge": FINE | {"Accepted": "False Conflicted"}}
    assert busy.routes().clusters() == frozenset()


# --- what cannot be kept ----------------------------------------------------------------------------------


def refs(*names: str) -> str:
    return f"hostname: a.example, caCertificateRefs: [{', '.join(names)}]"


GONE = "{group: '', kind: ConfigMap, name: gone}"
EMPTY = "{group: '', kind: ConfigMap, name: empty}"
ODD = "{group: a.example, kind: Bundle, name: ca}"
UNTRUSTED = "False NoValidCACertificate"


@pytest.mark.parametrize(
    ("validation", "accepted", "resolved"),
    [
        (refs(GONE), UNTRUSTED, "False InvalidCACertificateRef"),
        (refs(EMPTY), UNTRUSTED, "False InvalidCACertificateRef"),
        (refs(ODD), UNTRUSTED, "False InvalidKind"),
        (refs(CA, GONE), "True Accepted", "False InvalidCACertificateRef"),
        (refs(CA, ODD), "True Accepted", "False InvalidKind"),
        (
            "hostname: a.example, wellKnownCACertificates: example.com/Mine",
            "False Invalid",
            "True ResolvedRefs",
        ),
    ],
)
def test_what_cannot_be_kept_is_not_reached(
    validation: str, accepted: str, resolved: str, busy: Any, authority: Any
) -> None:
    busy.apply(authority("ca"), "kind: ConfigMap\nmetadata: {name: empty}\ndata: {}", policy(validation))
    assert ancestors(busy) == {"edge": {"Accepted": accepted, "ResolvedRefs": resolved}}
    assert busy.routes().clusters() == frozenset(), "never in plain text"
    (backend,) = busy.action().backends
    assert "cannot be reached safely" in backend.reason
    assert busy.conditions("HTTPRoute", "route") == FINE, "the route's reference is fine"
    busy.apply(policy())
    assert busy.routes().clusters() == {KEY}


def test_mirrors_are_not_reached_either(busy: Any, http_route: Any) -> None:
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: shop, port: 8080}}}"
    busy.apply(
        policy(refs(GONE)), http_route(f"- filters: [{mirror}]\n  backendRefs: [{{name: gone, port: 1}}]")
    )
    assert busy.routes().clusters() == frozenset()
    assert list(ancestors(busy)) == ["edge"]


def test_an_authority_that_comes_late(busy: Any, authority: Any) -> None:
    busy.apply(policy(refs(CA)))
    assert ancestors(busy)["edge"]["Accepted"] == UNTRUSTED
    busy.apply(authority("ca"))
    assert ancestors(busy) == {"edge": FINE}
    assert busy.routes().clusters() == {KEY}


def test_options_have_no_effect(busy: Any) -> None:
    busy.apply(policy(more="options: {example.com/a: b}, "))
    assert busy.finding("DRG3001").path == ("spec", "options", "example.com/a")
    assert ancestors(busy) == {"edge": FINE}


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policy("hostname: a.example"), "DRG1108 spec.validation"),
        (policy(f"{SYSTEM}, caCertificateRefs: [{CA}]"), "DRG1108 spec.validation"),
        (policy("wellKnownCACertificates: System"), "DRG1102 spec.validation"),
        (policy(SYSTEM.replace("a.example", "'*.example'")), "DRG1103 spec.validation.hostname"),
        (policy(targets=""), "DRG1107 spec.targetRefs"),
        (policy(targets=f"{TARGET}, {TARGET}"), "DRG1108 spec.targetRefs[1]"),
        (
            policy(targets=f"{TARGET}, {TARGET.replace('}', ', sectionName: a}')}"),
            "DRG1108 spec.targetRefs[1]",
        ),
        (
            policy(f"{SYSTEM}, subjectAltNames: [{{type: URI}}]"),
            "DRG1102 spec.validation.subjectAltNames[0]",
        ),
        (
            policy(f"{SYSTEM}, subjectAltNames: [{{type: Hostname, hostname: a, uri: 'a://b'}}]"),
            "DRG1108 spec.validation.subjectAltNames[0]",
        ),
        (
            policy(f"{SYSTEM}, subjectAltNames: [{{type: URI, uri: shop.example}}]"),
            "DRG1103 spec.validation.subjectAltNames[0].uri",
        ),
    ],
)
def test_what_is_refused(text: str, expected: str, documents: Any) -> None:
    (document,) = documents(text)
    found = decode.decode(document)
    assert [f"{one.code} {format_path(one.path)}" for one in found.diagnostics] == [expected]
    assert found.object is None


def test_sections_tell_targets_apart(documents: Any) -> None:
    targets = ", ".join(TARGET.replace("}", f", sectionName: {name}}}") for name in "ab")
    (document,) = documents(policy(targets=targets))
    assert decode.decode(document).diagnostics == ()


# --- what runs again --------------------------------------------------------------------------------------


def test_a_renewed_authority_touches_no_route(busy: Any, authority: Any) -> None:
    busy.apply(authority("ca"), policy(refs(CA)))
    before, old = busy.runs(), dict(busy.outputs.secrets.items())
    busy.apply(authority("renewed").replace("name: renewed", "name: ca"))
    after = busy.runs()
    assert dict(busy.outputs.secrets.items()) != old
    for name in ("HTTPRoute rules", "clusters", "BackendTLSPolicy verdicts", "BackendTLSPolicy status"):
        assert after[name] == before[name], name


def test_a_policy_touches_only_its_target(busy: Any, http_route: Any) -> None:
    for number in range(9):
        busy.apply(
            f"kind: Service\nmetadata: {{name: s{number}}}\nspec: {{ports: [{{port: 1}}]}}",
            http_route(f"- backendRefs: [{{name: s{number}, port: 1}}]", name=f"r{number}"),
        )
    before = busy.runs()
    busy.apply(policy(targets=TARGET.replace("shop", "s3")))
    after = busy.runs()
    for name in ("services", "clusters", "HTTPRoute rules"):
        assert after[name] - before[name] <= 1, name
