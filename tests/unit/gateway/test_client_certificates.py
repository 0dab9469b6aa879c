"""Certificates of clients that a Gateway asks for, and its own that it shows to backends."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators.gateway import decode

EDGE = Ref("gateway.networking.k8s.io", "Gateway", "default", "edge")
CA = "{group: '', kind: ConfigMap, name: ca}"
OTHER = "{group: '', kind: ConfigMap, name: other}"
GONE = "{group: '', kind: ConfigMap, name: gone}"
ODD = "{group: a.example, kind: Bundle, name: ca}"
PLAIN = "{name: http, port: 80, protocol: HTTP}"
FAR = "{group: '', kind: ConfigMap, name: ca, namespace: vault}"
LISTENERS = ", ".join(
    f"{{name: l{port}, port: {port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: c}}]}}}}"
    for port in (443, 8443)
)
EACH = {
    "Accepted": "True Accepted",
    "Programmed": "True Programmed",
    "ResolvedRefs": "True ResolvedRefs",
    "Conflicted": "False NoConflicts",
}


def gateway(tls: str, listeners: str = LISTENERS) -> str:
    return (
        "kind: Gateway\nmetadata: {name: edge, generation: 2}\n"
        f"spec: {{gatewayClassName: dragoman, tls: {{{tls}}}, listeners: [{listeners}]}}"
    )


def validation(*refs: str, mode: str = "") -> str:
    said = f"mode: {mode}, " if mode else ""
    return f"{{validation: {{{said}caCertificateRefs: [{', '.join(refs)}]}}}}"


def frontend(default: str = "{}", **ports: str) -> str:
    each = ", ".join(f"{{port: {name.removeprefix('p')}, tls: {tls}}}" for name, tls in ports.items())
    return f"frontend: {{default: {default}, perPort: [{each}]}}"


def asked(world: Any) -> dict[int, ir.ClientValidation | None]:
    """Port -> what is asked of clients; listeners that are not served are left out."""
    found = world.gateway()
    return {} if found is None else {one.port: one.tls.clients for one in found.listeners}


def conditions(world: Any, name: str) -> dict[str, str]:
    return {c["type"]: f"{c['status']} {c['reason']}" for c in world.listener(name)["conditions"]}


def bundle(name: str = "ca") -> ir.SecretKey:
    return ir.SecretKey(EDGE, name)


@pytest.fixture
def certified(world: Any, tls_secret: Any, authority: Any) -> Any:
    return world.apply(
        tls_secret("c", "a.example"), authority("ca"), authority("other"), authority("ca", "vault")
    )


@pytest.fixture
def authority(issue: Any) -> Any:
    def make(name: str, namespace: str = "default") -> str:
        pem = "".join(f"    {line}\n" for line in issue(name)[0].decode().splitlines())
        return (
            f"kind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata:\n  ca.crt: |\n{pem}"
        )

    return make


# --- what is asked ----------------------------------------------------------------------------------------


def test_the_default_is_for_every_port(certified: Any) -> None:
    certified.apply(gateway(frontend(validation(CA))))
    assert asked(certified) == dict.fromkeys((443, 8443), ir.ClientValidation(bundle()))
    assert set(certified.outputs.secrets) == {bundle(), ir.SecretKey(Ref("", "Secret", "default", "c"))}
    assert certified.outputs.secrets.get(bundle()).ca.count(b"BEGIN CERTIFICATE") == 1
    assert conditions(certified, "l443") == EACH
    assert "InsecureFrontendValidationMode" not in certified.conditions("Gateway", "edge")


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (frontend(), {443: None, 8443: None}),
        (frontend(p443=validation(CA)), {443: ir.ClientValidation(bundle("ca-443")), 8443: None}),
        (frontend(validation(CA), p443="{}"), {443: None, 8443: ir.ClientValidation(bundle())}),
        (
            frontend(validation(CA), p8443=validation(OTHER, mode="AllowInsecureFallback")),
            {443: ir.ClientValidation(bundle()), 8443: ir.ClientValidation(bundle("ca-8443"), optional=True)},
        ),
    ],
)
def test_ports_of_their_own(tls: str, expected: dict[int, Any], certified: Any) -> None:
    certified.apply(gateway(tls))
    assert asked(certified) == expected


def test_several_authorities_are_one_bundle(certified: Any) -> None:
    certified.apply(gateway(frontend(validation(CA, OTHER))))
    assert certified.outputs.secrets.get(bundle()).ca.count(b"BEGIN CERTIFICATE") == 2


def test_letting_in_whoever_comes_is_told(certified: Any) -> None:
    certified.apply(gateway(frontend(p443=validation(CA, mode="AllowInsecureFallback"))))
    found = certified.conditions("Gateway", "edge")
    assert found["InsecureFrontendValidationMode"] == "True ConfigurationChanged"
    body = certified.status("Gateway", "edge")
    assert {one["observedGeneration"] for one in body["conditions"]} == {2}
    certified.apply(gateway(frontend(p443=validation(CA))))
    assert "InsecureFrontendValidationMode" not in certified.conditions("Gateway", "edge")


def test_other_protocols_are_not_touched(certified: Any) -> None:
    tls = "{name: tls, port: 444, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: c}]}}"
    certified.apply(gateway(frontend(validation(GONE)), f"{PLAIN}, {tls}"))
    assert conditions(certified, "http") == conditions(certified, "tls") == EACH


# --- what cannot be checked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "reason", "code"),
    [
        (
            GONE,
            "InvalidCACertificateRef",
            "DRG2007 spec.tls.frontend.default.validation.caCertificateRefs[0].name",
        ),
        (
            ODD,
            "InvalidCACertificateKind",
            "DRG2005 spec.tls.frontend.default.validation.caCertificateRefs[0].kind",
        ),
        (
            FAR,
            "RefNotPermitted",
            "DRG2006 spec.tls.frontend.default.validation.caCertificateRefs[0].namespace",
        ),
    ],
)
def test_no_authority_is_left(ref: str, reason: str, code: str, certified: Any) -> None:
    """Failing closed: the listener is not served, rather than served to everybody."""
    certified.apply(gateway(frontend(validation(ref), p8443="{}")))
    assert conditions(certified, "l443") == {
        "Accepted": "False NoValidCACertificate",
        "Programmed": "False Invalid",
        "ResolvedRefs": f"False {reason}",
        "Conflicted": "False NoConflicts",
    }
    assert conditions(certified, "l8443") == EACH
    assert asked(certified) == {8443: None}
    assert certified.findings() == [code]
    assert certified.conditions("Gateway", "edge")["Accepted"] == "True ListenersNotValid"
    assert certified.conditions("Gateway", "edge")["ResolvedRefs"] == "False ListenersNotResolved"


@pytest.mark.parametrize(
    ("ref", "reason"),
    [(GONE, "InvalidCACertificateRef"), (ODD, "InvalidCACertificateKind"), (FAR, "RefNotPermitted")],
)
def test_one_authority_is_enough(ref: str, reason: str, certified: Any) -> None:
    certified.apply(gateway(frontend(validation(ref, CA))))
    assert conditions(certified, "l443") == EACH | {"ResolvedRefs": f"False {reason}"}
    assert asked(certified)[443] == ir.ClientValidation(bundle())
    assert certified.outputs.secrets.get(bundle()).ca.count(b"BEGIN CERTIFICATE") == 1


def test_each_problem_is_told_once(certified: Any) -> None:
    certified.apply(gateway(frontend(validation(GONE))))
    assert len(certified.findings()) == 2, certified.findings()
    assert "DRG1208 spec.listeners" in certified.findings()


def test_a_grant_for_an_authority(certified: Any) -> None:
    certified.apply(gateway(frontend(validation(FAR))))
    assert certified.gateway() is None
    certified.apply(
        """
kind: ReferenceGrant
metadata: {name: g, namespace: vault}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: "", kind: ConfigMap}]
"""
    )
    assert asked(certified)[443] == ir.ClientValidation(bundle())
    assert certified.outputs.secrets.get(bundle()) is not None
    certified.remove("ReferenceGrant", "g", "vault")
    assert certified.gateway() is None


def test_an_authority_goes(certified: Any) -> None:
    certified.apply(gateway(frontend(validation(CA))))
    certified.remove("ConfigMap", "ca")
    assert certified.gateway() is None


def test_a_renewed_authority_touches_no_gateway(certified: Any, authority: Any) -> None:
    certified.apply(gateway(frontend(validation(CA))))
    before, old = certified.runs(), certified.outputs.secrets.get(bundle())
    certified.apply(authority("renewed").replace("name: renewed", "name: ca"))
    assert certified.outputs.secrets.get(bundle()) != old
    assert certified.runs()["Gateway reports"] == before["Gateway reports"]


# --- the Gateway's own ------------------------------------------------------------------------------------

IDENTITY = ir.SecretKey(Ref("", "Secret", "default", "c"))


def backend(ref: str) -> str:
    return gateway(f"backend: {{clientCertificateRef: {ref}}}", PLAIN)


def test_a_certificate_for_backends(certified: Any) -> None:
    certified.apply(backend("{name: c}"))
    assert certified.gateway().certificate == IDENTITY
    assert certified.outputs.secrets.get(IDENTITY) is not None
    assert certified.conditions("Gateway", "edge")["ResolvedRefs"] == "True ResolvedRefs"


@pytest.mark.parametrize(
    ("ref", "reason", "code"),
    [
        ("{name: gone}", "InvalidClientCertificateRef", "DRG2007"),
        ("{name: ca, kind: ConfigMap}", "InvalidClientCertificateRef", "DRG2005"),
        ("{name: c, group: a.example}", "InvalidClientCertificateRef", "DRG2005"),
        ("{name: c, namespace: vault}", "RefNotPermitted", "DRG2006"),
        ("{name: broken}", "InvalidClientCertificateRef", "DRG2007"),
    ],
)
def test_one_that_cannot_be_shown(ref: str, reason: str, code: str, certified: Any) -> None:
    certified.apply(
        "kind: Secret\nmetadata: {name: broken}\nstringData: {tls.crt: x, tls.key: y}", backend(ref)
    )
    assert certified.gateway().certificate is None
    found = certified.conditions("Gateway", "edge")
    assert found["ResolvedRefs"] == f"False {reason}"
    assert found["Accepted"] == "True Accepted"
    assert found["Programmed"] == "True Programmed"
    assert any(
        one.startswith(f"{code} spec.tls.backend.clientCertificateRef") for one in certified.findings()
    )


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (
            frontend("{validation: {caCertificateRefs: []}}"),
            "DRG1107 spec.tls.frontend.default.validation.caCertificateRefs",
        ),
        ("frontend: {perPort: []}", "DRG1102 spec.tls.frontend"),
        (
            "frontend: {default: {}, perPort: [{port: 1, tls: {}}, {port: 1, tls: {}}]}",
            "DRG1108 spec.tls.frontend.perPort[1].port",
        ),
        (frontend(validation(CA, mode="Maybe")), "DRG1106 spec.tls.frontend.default.validation.mode"),
        (
            frontend(validation("{kind: ConfigMap, name: ca}")),
            "DRG1102 spec.tls.frontend.default.validation.caCertificateRefs[0]",
        ),
    ],
)
def test_what_is_refused(tls: str, expected: str, documents: Any) -> None:
    (document,) = documents(gateway(tls))
    found = decode.decode(document)
    assert [f"{one.code} {format_path(one.path)}" for one in found.diagnostics] == [expected]
