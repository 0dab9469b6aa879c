"""GatewayClasses and Gateways: whose they are, listeners, conflicts, certificates, addresses, status."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref


def gateway(listeners: str, more: str = "") -> str:
    return f"""
kind: Gateway
metadata: {{name: edge, generation: 3}}
spec: {{gatewayClassName: dragoman, {more}listeners: [{listeners}]}}
"""


def secret_key(name: str, namespace: str = "default") -> ir.SecretKey:
    return ir.SecretKey(Ref("", "Secret", namespace, name))


def conditions(one: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: f"{c['status']} {c['reason']}" for c in one["conditions"]}


HTTP = "{name: http, port: 80, protocol: HTTP}"
FINE = {
    "Accepted": "True Accepted",
    "Programmed": "True Programmed",
    "ResolvedRefs": "True ResolvedRefs",
    "Conflicted": "False NoConflicts",
}


# --- classes ----------------------------------------------------------------------------------------------

CLASS = "kind: GatewayClass\nmetadata: {{name: {0}, generation: 2}}\nspec: {{controllerName: {1}}}"
OURS = "dragoman.dev/gateway-controller"


@pytest.mark.parametrize(
    ("name", "classes", "ours"),
    [
        ("dragoman", [], True),
        ("dragoman", [("dragoman", OURS)], True),
        ("dragoman", [("dragoman", "example.com/other")], False),
        ("edge", [("edge", OURS)], True),
        ("edge", [("edge", "example.com/other")], False),
        ("edge", [], False),
    ],
)
def test_whose_gateway(name: str, classes: list[tuple[str, str]], ours: bool, world: Any) -> None:
    world.apply(gateway(HTTP).replace("gatewayClassName: dragoman", f"gatewayClassName: {name}"))
    world.apply(*(CLASS.format(*one) for one in classes))
    assert (world.gateway() is not None) is ours
    assert (world.outputs.statuses.get(world.ref("Gateway", "edge")) is not None) is ours


def test_missing_class(world: Any) -> None:
    world.apply(CLASS.format("edge", OURS), gateway(HTTP).replace("dragoman", "egde"))
    assert world.finding("DRG2008").help == "did you mean `edge`?"


def test_class_status(world: Any) -> None:
    world.apply(CLASS.format("edge", OURS), CLASS.format("other", "example.com/other"))
    assert world.conditions("GatewayClass", "edge") == {"Accepted": "True Accepted"}
    features = [one["name"] for one in world.status("GatewayClass", "edge")["supportedFeatures"]]
    assert "HTTPRoute" in features
    assert features == sorted(features)
    assert world.outputs.statuses.get(world.ref("GatewayClass", "other")) is None


def test_class_parameters(world: Any) -> None:
    parameters = "parametersRef: {group: a.example, kind: Thing, name: x}"
    world.apply(CLASS.format("edge", f"{OURS}, {parameters}"))
    world.apply(gateway(HTTP).replace("dragoman", "edge"))
    assert world.conditions("GatewayClass", "edge") == {"Accepted": "False InvalidParameters"}
    assert world.conditions("Gateway", "edge")["Accepted"] == "False InvalidParameters"
    assert world.gateway() is None
    assert world.findings() == ["DRG1205 spec.parametersRef.kind"]


def test_another_controller_name(new_world: Any) -> None:
    world = new_world(controller="example.com/mine")
    world.apply(CLASS.format("edge", "example.com/mine"), gateway(HTTP).replace("dragoman", "edge"))
    assert world.gateway() is not None


# --- listeners --------------------------------------------------------------------------------------------


def test_listeners(world: Any) -> None:
    world.apply(gateway(f"{HTTP}, {{name: x, port: 80, protocol: HTTP, hostname: '*.x.example'}}"))
    found = world.gateway()
    assert found is not None
    assert [(one.name, one.port, one.protocol, one.hostname) for one in found.listeners] == [
        ("http", 80, ir.Protocol.HTTP, ""),
        ("x", 80, ir.Protocol.HTTP, "*.x.example"),
    ]
    assert str(found.listeners[1].origin) == "Gateway default/edge spec.listeners[1]"
    body = world.status("Gateway", "edge")
    assert conditions(body) == {
        "Accepted": "True Accepted",
        "Programmed": "True Programmed",
        "ResolvedRefs": "True ResolvedRefs",
    }
    assert [conditions(one) for one in body["listeners"]] == [FINE, FINE]
    assert {c["observedGeneration"] for one in [body, *body["listeners"]] for c in one["conditions"]} == {3}
    kinds = [{"group": "gateway.networking.k8s.io", "kind": kind} for kind in ("HTTPRoute", "GRPCRoute")]
    assert [one["supportedKinds"] for one in body["listeners"]] == [kinds, kinds]


@pytest.mark.parametrize("protocol", ["SCTP", "example.com/bar", "http"])
def test_unsupported_protocols(protocol: str, world: Any) -> None:
    world.apply(gateway(f"{HTTP}, {{name: other, port: 81, protocol: {protocol}}}"))
    assert world.conditions("Gateway", "edge")["Accepted"] == "True ListenersNotValid"
    assert world.conditions("Gateway", "edge")["Programmed"] == "True Programmed"
    other = world.listener("other")
    assert conditions(other)["Accepted"] == "False UnsupportedProtocol"
    assert other["supportedKinds"] == []
    assert world.finding("DRG1201").help == ("did you mean `HTTP`?" if protocol == "http" else "")


def test_only_unsupported_protocols(world: Any) -> None:
    world.apply(gateway("{name: a, port: 80, protocol: SCTP}"))
    assert world.conditions("Gateway", "edge") == {
        "Accepted": "False ListenersNotValid",
        "Programmed": "False Invalid",
        "ResolvedRefs": "True ResolvedRefs",
    }
    assert world.gateway() is None


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("{name: other, port: 80, protocol: HTTP}", "HostnameConflict"),
        ("{name: other, port: 80, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}", "ProtocolConflict"),
    ],
)
def test_conflicts_spare_the_others(other: str, reason: str, world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("c", "a"), gateway(f"{HTTP}, {other}, {{name: third, port: 81, protocol: HTTP}}"))
    for name in ("http", "other"):
        found = conditions(world.listener(name))
        assert found["Conflicted"] == f"True {reason}"
        assert found["Accepted"] == f"False {reason}"
        assert found["Programmed"] == "False Invalid"
    assert conditions(world.listener("third")) == FINE
    found = world.gateway()
    assert found is not None
    assert [one.name for one in found.listeners] == ["third"]
    assert len([f for f in world.findings() if f.startswith("DRG1202")]) == 2


def test_unsupported_protocols_are_in_nobodys_way(world: Any) -> None:
    world.apply(gateway(f"{HTTP}, {{name: sctp, port: 80, protocol: SCTP}}"))
    assert conditions(world.listener("http")) == FINE


@pytest.mark.parametrize(
    ("kinds", "supported", "programmed"),
    [
        ("[{kind: HTTPRoute}]", ["HTTPRoute"], True),
        ("[{kind: HTTPRoute}, {kind: TCPRoute}]", ["HTTPRoute"], True),
        ("[{kind: TCPRoute}]", [], False),
        ("[{group: example.com, kind: HTTPRoute}]", [], False),
    ],
)
def test_route_kinds(kinds: str, supported: list[str], programmed: bool, world: Any) -> None:
    world.apply(gateway(f"{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{kinds: {kinds}}}}}"))
    found = world.listener("http")
    assert [one["kind"] for one in found["supportedKinds"]] == supported
    all_valid = kinds == "[{kind: HTTPRoute}]"
    assert conditions(found)["ResolvedRefs"] == (
        "True ResolvedRefs" if all_valid else "False InvalidRouteKinds"
    )
    assert conditions(found)["Programmed"].startswith(str(programmed))
    assert (world.gateway() is not None) is programmed


# --- certificates -----------------------------------------------------------------------------------------


def https(refs: str, name: str = "https", more: str = "") -> str:
    return f"{{name: {name}, port: 443, protocol: HTTPS, tls: {{certificateRefs: {refs}{more}}}}}"


def test_certificates(world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("a", "a.example"), tls_secret("b", "b.example", type="Opaque"))
    world.apply(gateway(https("[{name: a}, {name: b}, {name: a}]")))
    found = world.gateway()
    assert found is not None
    assert found.listeners[0].tls == ir.TlsTermination((secret_key("a"), secret_key("b")))
    assert set(world.outputs.secrets) == {secret_key("a"), secret_key("b")}
    assert world.findings() == []
    kept = world.outputs.secrets.get(secret_key("a"))
    assert kept.certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in repr(kept).encode()


@pytest.mark.parametrize(
    ("refs", "reason", "code"),
    [
        ("[{name: gone}]", "InvalidCertificateRef", "DRG2007"),
        ("[{name: a, kind: ConfigMap}]", "InvalidCertificateRef", "DRG2005"),
        ("[{name: a, group: example.com}]", "InvalidCertificateRef", "DRG2005"),
        ("[{name: a, namespace: other}]", "RefNotPermitted", "DRG2006"),
        ("[{name: empty}]", "InvalidCertificateRef", "DRG2007"),
        ("[{name: mixed}]", "InvalidCertificateRef", "DRG2007"),
    ],
)
def test_certificates_that_cannot_be_used(
    refs: str, reason: str, code: str, world: Any, tls_secret: Any, issue: Any
) -> None:
    mixed = (
        f"kind: Secret\nmetadata: {{name: mixed}}\nstringData:\n  tls.crt: "
        f"|\n{block(issue('a')[0])}  tls.key: |\n{block(issue('b')[1])}"
    )
    world.apply(tls_secret("a", "a.example"), "kind: Secret\nmetadata: {name: empty}", mixed)
    world.apply(gateway(f"{https(refs)}, {HTTP}"))
    found = conditions(world.listener("https"))
    assert found["ResolvedRefs"] == f"False {reason}"
    assert found["Programmed"] == "False Invalid"
    assert found["Accepted"] == "True Accepted"
    assert world.conditions("Gateway", "edge")["ResolvedRefs"] == "False ListenersNotResolved"
    assert [one.name for one in world.gateway().listeners] == ["http"]
    assert any(one.startswith(f"{code} spec.listeners[0].tls.certificateRefs[0]") for one in world.findings())
    assert len(world.outputs.secrets) == 0


def block(pem: bytes) -> str:
    return "".join(f"    {line}\n" for line in pem.decode().splitlines())


def test_a_flaw_is_reported_where_it_stands(world: Any) -> None:
    world.apply(
        "kind: Secret\nmetadata: {name: c}\nstringData: {tls.crt: a, tls.key: b}",
        gateway(https("[{name: c}]")),
    )
    found = world.outputs.diagnostics.get(world.ref("Secret", "c"))
    assert [(one.code, one.path) for one in found] == [("DRG1502", ("data", "tls.crt"))]


def test_one_good_certificate_is_enough_to_serve(world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("a", "a"), gateway(https("[{name: a}, {name: gone}]")))
    found = conditions(world.listener("https"))
    assert found["ResolvedRefs"] == "False InvalidCertificateRef"
    assert found["Programmed"] == "True Programmed"


def test_grants_for_certificates(world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("a", "a", "other"), gateway(https("[{name: a, namespace: other}]")))
    assert world.gateway() is None
    grant = """
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: "", kind: Secret, name: a}]
"""
    world.apply(grant)
    assert world.gateway() is not None
    world.remove("ReferenceGrant", "g", "other")
    assert world.gateway() is None


def test_renewal_changes_the_secret_alone(world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("a", "old"), gateway(https("[{name: a}]")))
    before, old = world.gateway(), world.outputs.secrets.get(secret_key("a"))
    runs = {c.name: getattr(c, "runs", 0) for c in world.graph.collections}
    world.apply(tls_secret("a", "new"))
    assert world.gateway() is before
    assert world.outputs.secrets.get(secret_key("a")) != old
    after = {c.name: getattr(c, "runs", 0) for c in world.graph.collections}
    assert after["Gateway reports"] == runs["Gateway reports"]


def test_a_broken_renewal_keeps_the_last_good_certificate(world: Any, tls_secret: Any) -> None:
    world.apply(tls_secret("a", "a"), gateway(https("[{name: a}]")))
    good = world.outputs.secrets.get(secret_key("a"))
    world.apply(
        "kind: Secret\nmetadata: {name: a}\ntype: kubernetes.io/tls\nstringData: {tls.crt: x, tls.key: y}"
    )
    assert world.outputs.secrets.get(secret_key("a")) is good


def test_https_without_certificates(world: Any) -> None:
    world.apply(gateway("{name: https, port: 443, protocol: HTTPS}"))
    assert conditions(world.listener("https"))["ResolvedRefs"] == "False InvalidCertificateRef"
    assert "DRG1207 spec.listeners[0].tls" in world.findings()


def test_client_certificates_fail_closed(world: Any, tls_secret: Any) -> None:
    frontend = """tls: {frontend: {default: {}, perPort: [{port: 443, tls: {validation:
      {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}}]}}, """
    other = https("[{name: a}]", "other").replace("443", "444")
    world.apply(tls_secret("a", "a"), gateway(f"{https('[{name: a}]')}, {other}", frontend))
    assert conditions(world.listener("https"))["Accepted"] == "False NoValidCACertificate"
    assert conditions(world.listener("other")) == FINE


# --- the Gateway as a whole -------------------------------------------------------------------------------


def test_addresses_asked_for(world: Any) -> None:
    world.apply(gateway(HTTP, "addresses: [{value: 127.0.0.2}, {type: IPAddress, value: '::1'}, {}], "))
    found = world.gateway()
    assert found is not None
    assert found.addresses == ("127.0.0.2", "::1")
    assert world.status("Gateway", "edge")["addresses"] == [
        {"type": "IPAddress", "value": "127.0.0.2"},
        {"type": "IPAddress", "value": "::1"},
    ]


def test_addresses_from_settings(new_world: Any) -> None:
    world = new_world(addresses=lambda ref: (f"127.0.0.{len(ref.name)}",)).apply(gateway(HTTP))
    assert world.gateway().addresses == ()
    assert world.status("Gateway", "edge")["addresses"] == [{"type": "IPAddress", "value": "127.0.0.4"}]


@pytest.mark.parametrize("type", ["Hostname", "NamedAddress", "example.com/odd"])
def test_unsupported_addresses(type: str, world: Any) -> None:
    world.apply(gateway(HTTP, f"addresses: [{{type: {type}, value: x}}, {{value: 127.0.0.1}}], "))
    assert world.conditions("Gateway", "edge")["Accepted"] == "False UnsupportedAddress"
    assert world.gateway() is None


def test_unusable_addresses(new_world: Any) -> None:
    world = new_world(usable=lambda address: address != "192.0.2.1")
    world.apply(gateway(HTTP, "addresses: [{value: 192.0.2.1}, {value: 127.0.0.1}], "))
    assert world.conditions("Gateway", "edge")["Accepted"] == "True Accepted"
    assert world.conditions("Gateway", "edge")["Programmed"] == "False AddressNotUsable"
    assert world.findings() == ["DRG1204 spec.addresses[0].value"]
    assert world.gateway().addresses == ("127.0.0.1",)


def test_gateway_parameters(world: Any) -> None:
    world.apply(gateway(HTTP, "infrastructure: {parametersRef: {group: a, kind: B, name: c}}, "))
    assert world.conditions("Gateway", "edge")["Accepted"] == "False InvalidParameters"
    assert world.gateway() is None


PARAMETERS = "infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: tuning}}, "
TUNING = "{{kind: ConfigMap, metadata: {{name: tuning}}, data: {}}}"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ("{adresses: 127.0.0.9}", "did you mean `addresses`?"),
        ("{size: large}", "there is addresses"),
        ("{addresses: here}", ""),
    ],
)
def test_bad_parameters(data: str, hint: str, world: Any) -> None:
    world.apply(TUNING.format(data), gateway(HTTP, PARAMETERS))
    assert world.conditions("Gateway", "edge")["Accepted"] == "False InvalidParameters"
    assert world.finding("DRG1205").help == hint
    world.apply(TUNING.format("{addresses: 127.0.0.9}"))
    assert world.findings() == []


def test_parameters_say_where_a_gateway_is_bound(world: Any) -> None:
    world.apply(gateway(HTTP, PARAMETERS))
    assert world.findings() == ["DRG1205 spec.infrastructure.parametersRef.name"]
    world.apply(TUNING.format("{addresses: '127.0.0.9, ::1'}"))
    assert world.gateway().addresses == ("127.0.0.9", "::1")
    assert [one["value"] for one in world.status("Gateway", "edge")["addresses"]] == ["127.0.0.9", "::1"]
    world.apply(gateway(HTTP, f"{PARAMETERS}addresses: [{{value: 127.0.0.3}}], "))
    assert world.gateway().addresses == ("127.0.0.3",)
    world.apply(gateway(HTTP, f"{PARAMETERS}addresses: [{{type: IPAddress}}], "))  # any will do
    assert world.gateway().addresses == ("127.0.0.9", "::1")


def test_parameters_of_a_class(world: Any) -> None:
    parameters = "parametersRef: {group: '', kind: ConfigMap, name: tuning, namespace: default}"
    world.apply(TUNING.format("{addresses: 127.0.0.9}"), CLASS.format("edge", f"{OURS}, {parameters}"))
    world.apply(gateway(HTTP).replace("dragoman", "edge"))
    assert world.gateway().addresses == ("127.0.0.9",)
    world.apply(CLASS.format("edge", f"{OURS}, {parameters.replace(', namespace: default', '')}"))
    assert world.conditions("Gateway", "edge")["Accepted"] == "False InvalidParameters"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("defaultScope: All", "spec.defaultScope"),
    ],
)
def test_fields_without_effect_are_named(more: str, path: str, world: Any) -> None:
    world.apply(gateway(HTTP, f"{more}, "))
    assert world.findings() == [f"DRG3001 {path}"]
    assert world.gateway() is not None


def test_attached_routes(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(name="a"), http_route(name="b"))
    assert shop.listener("http")["attachedRoutes"] == 2
    shop.remove("HTTPRoute", "a")
    assert shop.listener("http")["attachedRoutes"] == 1


def test_age_orders_gateways(world: Any) -> None:
    world.apply(gateway(HTTP).replace("generation: 3", "creationTimestamp: '2024-01-01T00:00:00Z'"))
    assert world.gateway().age == ("2024-01-01T00:00:00Z", "default/edge")
