"""ClientPolicies: what becomes of listeners, who wins, what is closed, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import client, model as ir
from dragoman.refs import Ref, format_path

GATEWAY = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  %s
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}
  - {name: tls, port: 444, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: c}]}}
  - {name: passed, port: 445, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 5432, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}
"""
OWN = (
    "tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}"
)
PROTOCOLS = ("http", "https", "tls", "passed", "tcp", "udp")


def policy(spec: str, section: str = "", name: str = "p") -> str:
    target = f"{{kind: Gateway, name: edge{f', sectionName: {section}' if section else ''}}}"
    return f"kind: ClientPolicy\nmetadata: {{name: {name}}}\nspec:\n  targetRefs: [{target}]\n  {spec}\n"


def bundle(name: str, entry: str, pem: bytes) -> str:
    lines = "".join(f"    {line}\n" for line in pem.decode().splitlines())
    return f"kind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  {entry}: |\n{lines}"


@pytest.fixture
def edge(world: Any, tls_secret: Any, issue: Any) -> Any:
    return world.apply(GATEWAY % "", tls_secret("c", "a.example"), bundle("ca", "ca.crt", issue("ca")[0]))


def listener(world: Any, name: str) -> ir.GatewayListener:
    found = world.gateway()
    assert found is not None
    return next(one for one in found.listeners if one.name == name)


def settings(world: Any, name: str) -> ir.ClientSettings:
    return listener(world, name).client


def said(world: Any, name: str) -> list[str]:
    return [f"{one.name} {one.origin.ref.kind} {one.origin.ref.name}" for one in listener(world, name).said]


def test_without_a_policy_everything_is_as_by_default(edge: Any) -> None:
    assert {settings(edge, name) for name in PROTOCOLS} == {ir.DEFAULT_CLIENTS}


def test_settings_go_where_they_make_sense(edge: Any) -> None:
    edge.apply(
        policy(
            "headers: {maxBytes: 4096}\n  tls: {minVersion: TLSv1.3}\n  connections: {max: 7}\n"
            "  proxyProtocol: {enabled: true}\n  http3: {enabled: true}"
        )
    )
    assert [settings(edge, name).http.header_bytes for name in PROTOCOLS] == [4096, 4096, *[None] * 4]
    assert [settings(edge, name).connections for name in PROTOCOLS] == [7, 7, 7, 7, 7, None]
    assert [settings(edge, name).http3 is not None for name in PROTOCOLS] == [False, True, *[False] * 4]
    assert [settings(edge, name).port.proxy_protocol is not None for name in PROTOCOLS] == [True] * 5 + [
        False
    ]
    newest = client.TlsVersion.TLS_1_3
    terms = [listener(edge, name).tls for name in PROTOCOLS]
    assert [None if one is None else one.minimum is newest for one in terms] == [
        None,
        True,
        True,
        *[None] * 3,
    ]
    assert said(edge, "tcp") == ["proxyProtocol.enabled ClientPolicy p", "connections.max ClientPolicy p"]
    assert said(edge, "udp") == []


def test_the_listeners_policy_wins_field_by_field(edge: Any) -> None:
    edge.apply(
        policy("headers: {maxBytes: 4096, maxCount: 5}"),
        policy("headers: {maxBytes: 8192}\n  timeouts: {idle: 5s}", "https", "own"),
    )
    http = settings(edge, "https").http
    assert (http.header_bytes, http.header_count, http.idle, http.request_headers) == (8192, 5, 5.0, 10.0)
    assert settings(edge, "http").http.header_bytes == 4096
    assert said(edge, "https") == [
        "headers.maxCount ClientPolicy p",
        "headers.maxBytes ClientPolicy own",
        "timeouts.idle ClientPolicy own",
    ]


def test_a_section_that_is_switched_off_is_as_by_default(edge: Any) -> None:
    edge.apply(
        policy("headers: {maxBytes: 4096}\n  clientAddress: {trustedHops: 1}\n  connections: {max: 7}"),
        policy(
            "headers: {disabled: true}\n  clientAddress: {disabled: true}\n  connections: {disabled: true}",
            "http",
            "off",
        ),
    )
    assert settings(edge, "http") == ir.DEFAULT_CLIENTS
    assert settings(edge, "https").http.address == client.TrustedHops(1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("trustedHops: 2", client.TrustedHops(2)),
        (
            "trustedNetworks: [10.1.2.3/8, 192.0.2.1, '2001:DB8::/32']",
            client.TrustedNetworks(("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")),
        ),
        ("header: X-Real-IP, required: true", client.AddressHeader("x-real-ip", True)),
    ],
)
def test_where_the_address_is_taken_from(edge: Any, wanted: str, found: client.ClientAddress) -> None:
    edge.apply(policy(f"clientAddress: {{{wanted}}}"))
    assert settings(edge, "http").http.address == found


def test_authorities_names_and_modes(edge: Any) -> None:
    edge.apply(
        policy(
            "clientValidation: {mode: Optional, caCertificateRefs: [{name: ca}],"
            " subjectAltNames: [{type: URI, prefix: 'spiffe://a/'}]}"
        )
    )
    key = ir.SecretKey(Ref("dragoman.dev", "ClientPolicy", "default", "p"), "ca")
    name = client.NameMatch(client.NameKind.URI, client.Likeness.PREFIX, "spiffe://a/")
    wanted = ir.ClientValidation(key, absent=True, names=(name,))
    assert [one.tls.clients if one.tls else None for one in edge.gateway().listeners[:4]] == [
        None,
        wanted,
        wanted,
        None,
    ]
    assert edge.outputs.secrets.get(key).ca.startswith(b"-----BEGIN CERTIFICATE")
    (status,) = edge.status("ClientPolicy", "p")["ancestors"]
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        ("{caCertificateRefs: [{name: gone}]}", "gone is not there"),
        ("{mode: Optional}", "nothing says whose certificates are valid"),
        ("{caCertificateRefs: [{name: ca}], crlRefs: [{name: gone}]}", "gone is not there"),
        ("{caCertificateRefs: [{name: ca}], crlRefs: [{name: ca}]}", "`ca.crl` is missing"),
        ("{caCertificateRefs: [{name: ca, namespace: vault}]}", "may not refer to"),
    ],
)
def test_who_cannot_be_checked_is_kept_out(edge: Any, checks: str, why: str) -> None:
    edge.apply(policy(f"clientValidation: {checks}"))
    assert why in settings(edge, "https").closed
    assert why in settings(edge, "tls").closed
    assert settings(edge, "http").closed == ""
    assert any("spec.clientValidation" in one for one in edge.findings())
    edge.remove("ClientPolicy", "p")
    assert settings(edge, "https").closed == ""


def test_a_list_that_cannot_be_read(edge: Any) -> None:
    broken = "kind: ConfigMap\nmetadata: {name: lists}\ndata: {ca.crl: nonsense}"
    edge.apply(
        broken, policy("clientValidation: {caCertificateRefs: [{name: ca}], crlRefs: [{name: lists}]}")
    )
    assert "no PEM list" in settings(edge, "https").closed
    (status,) = edge.status("ClientPolicy", "p")["ancestors"]
    assert {one["type"]: one["status"] for one in status["conditions"]}["ResolvedRefs"] == "False"


def test_what_the_gateway_says_of_certificates_wins(edge: Any) -> None:
    edge.apply(
        GATEWAY % OWN,
        policy(
            "clientValidation: {mode: AllowInvalid, caCertificateRefs: [{name: gone}],"
            " subjectAltNames: [{type: DNS, exact: a.example}]}"
        ),
    )
    found = listener(edge, "https")
    assert found.tls is not None
    assert found.tls.clients is not None
    assert found.tls.clients.ca.ref.kind == "Gateway"
    assert not found.tls.clients.optional
    assert [one.value for one in found.tls.clients.names] == ["a.example"]
    assert found.client.closed == ""
    assert said(edge, "https") == [
        "clientValidation.subjectAltNames ClientPolicy p",
        "clientValidation.caCertificateRefs Gateway edge",
        "clientValidation.mode Gateway edge",
    ]


def test_versions_that_leave_nothing(edge: Any) -> None:
    edge.apply(policy("tls: {minVersion: TLSv1.3}"), policy("tls: {maxVersion: TLSv1.2}", "https", "own"))
    tls = listener(edge, "https").tls
    assert tls is not None
    assert (tls.minimum, tls.maximum) == (client.TlsVersion.TLS_1_3, None)
    assert edge.findings() == ["DRG1108 spec.tls.maxVersion"]


def test_old_versions_need_old_ciphers(edge: Any) -> None:
    edge.apply(policy("tls: {minVersion: TLSv1.1}"))
    assert edge.findings() == ["DRG3001 spec.tls.minVersion"]
    edge.apply(policy("tls: {minVersion: TLSv1.1, ciphers: [ECDHE-RSA-AES128-SHA]}"))
    assert edge.findings() == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("tls: {ciphers: ['[AES128-SHA|NONSENSE]']}", "DRG1106 spec.tls.ciphers[0]"),
        ("tls: {ciphers: ['[AES128-SHA']}", "DRG1106 spec.tls.ciphers[0]"),
        ("tls: {ciphers: [ALL]}", "DRG1106 spec.tls.ciphers[0]"),
        ("tls: {curves: [P-224]}", "DRG1106 spec.tls.curves[0]"),
        ("tls: {alpn: [h2, h2]}", "DRG1108 spec.tls.alpn"),
        ("tls: {minVersion: 1.2}", "DRG1106 spec.tls.minVersion"),
        ("headers: {maxBytes: 0}", "DRG1104 spec.headers.maxBytes"),
        ("headers: {maxCount: 0}", "DRG1104 spec.headers.maxCount"),
        ("clientAddress: {}", "DRG1102 spec.clientAddress"),
        ("clientAddress: {trustedHops: 0}", "DRG1104 spec.clientAddress.trustedHops"),
        ("clientAddress: {trustedHops: 1, header: x-a}", "DRG1108 spec.clientAddress"),
        ("clientAddress: {trustedHops: 1, required: true}", "DRG1108 spec.clientAddress.required"),
        ("clientAddress: {header: host}", "DRG1106 spec.clientAddress.header"),
        ("earlyHeaders: {remove: [':path']}", "DRG1103 spec.earlyHeaders.remove[0]"),
        ("connections: {max: 0}", "DRG1104 spec.connections.max"),
        ("http2: {streamWindowBytes: 1000}", "DRG1104 spec.http2.streamWindowBytes"),
        ("http3: {maxAge: 100ms}", "DRG1103 spec.http3.maxAge"),
        ("timeouts: {idle: 5}", "DRG1103 spec.timeouts.idle"),
    ],
)
def test_bad_values_are_found_where_they_stand(edge: Any, spec: str, expected: str) -> None:
    edge.apply(policy(spec))
    found = edge.rejected[edge.ref("ClientPolicy", "p")]
    assert [f"{one.code} {format_path(one.path)}" for one in found] == [expected]


def test_what_makes_no_sense_on_a_listener_is_told_where_it_is_aimed_at(edge: Any) -> None:
    edge.apply(policy("tls: {minVersion: TLSv1.3}\n  headers: {maxCount: 5}\n  http3: {enabled: true}"))
    assert edge.findings() == []
    edge.apply(policy("tls: {minVersion: TLSv1.3}\n  headers: {maxCount: 5}", "http", "aimed"))
    assert edge.findings() == ["DRG3001 spec.tls.minVersion"]
    edge.apply(policy("tls: {minVersion: TLSv1.3}\n  headers: {maxCount: 5}", "passed", "aimed"))
    assert edge.findings() == ["DRG3001 spec.headers.maxCount", "DRG3001 spec.tls.minVersion"]


def test_a_changed_list_changes_no_listener(edge: Any, issue: Any) -> None:
    edge.apply(policy("clientValidation: {caCertificateRefs: [{name: ca}]}"))
    before = edge.gateway()
    edge.apply(bundle("ca", "ca.crt", issue("another")[0]))
    assert edge.gateway() is before
