"""The statuses that the Gateway API's conformance suite expects of its own manifests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.conformance
MANIFESTS = Path(os.environ.get("GATEWAY_API_CONFORMANCE", "/work/shared/conformance")) / "manifests"
INFRA = "gateway-conformance-infra"
PROGRAMMED = {"Accepted": "True Accepted", "Programmed": "True Programmed"}


def load(*names: str) -> str:
    if not MANIFESTS.is_dir():
        pytest.skip(f"no conformance manifests in {MANIFESTS} (set GATEWAY_API_CONFORMANCE)")
    texts = [(MANIFESTS / f"{name}.yaml").read_text() for name in ("base", *names)]
    return "\n---\n".join(texts).replace("{GATEWAY_CLASS_NAME}", "dragoman")


@pytest.fixture
def conform(world: Any, tls_secret: Any) -> Any:
    world.apply(tls_secret("tls-validity-checks-certificate", "example.org", INFRA))
    world.apply(tls_secret("certificate", "example.org", "gateway-conformance-web-backend"))
    return lambda name: world.apply(load(name))


def spoken(one: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: f"{c['status']} {c['reason']}" for c in one["conditions"]}


Listeners = dict[str, tuple[dict[str, str], int, bool]]
"""Listener -> conditions (a part of them), attached routes, whether HTTPRoute is supported."""

NO_CERTIFICATE = {"ResolvedRefs": "False InvalidCertificateRef", "Programmed": "False Invalid"}


@pytest.mark.parametrize(
    ("manifest", "gateway", "conditions", "listeners"),
    [
        (
            "gateway-invalid-listeners-unsupported-protocol",
            "gateway-only-unsupported-protocols",
            {"Accepted": "False ListenersNotValid"},
            {"invalid": ({"Accepted": "False UnsupportedProtocol"}, 0, False)},
        ),
        (
            "gateway-invalid-listeners-unsupported-protocol",
            "gateway-supported-and-unsupported-protocols",
            {"Accepted": "True ListenersNotValid"},
            {
                "http": ({"Accepted": "True Accepted", "Programmed": "True Programmed"}, 0, True),
                "invalid": ({"Accepted": "False UnsupportedProtocol"}, 0, False),
            },
        ),
        *(
            (
                "gateway-invalid-tls-configuration",
                f"gateway-certificate-{name}",
                {"Programmed": "False Invalid"},
                {"https": (NO_CERTIFICATE, 0, True)},
            )
            for name in ("nonexistent-secret", "unsupported-group", "unsupported-kind", "malformed-secret")
        ),
        (
            "gateway-secret-invalid-reference-grant",
            "gateway-secret-invalid-reference-grant",
            {"Programmed": "False Invalid"},
            {"https": ({"ResolvedRefs": "False RefNotPermitted", "Programmed": "False Invalid"}, 0, True)},
        ),
        (
            "gateway-modify-listeners",
            "gateway-remove-listener",
            PROGRAMMED,
            {
                "https": ({"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}, 1, True),
                "http": ({"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}, 1, True),
            },
        ),
        (
            "gateway-static-addresses",
            "gateway-static-addresses",
            {"Accepted": "False UnsupportedAddress"},
            {"http": ({"Accepted": "True Accepted"}, 0, True)},
        ),
        (
            "gateway-with-attached-routes",
            "gateway-with-one-attached-route",
            PROGRAMMED,
            {"http": ({"Programmed": "True Programmed"}, 1, True)},
        ),
        (
            "gateway-with-attached-routes",
            "gateway-with-two-attached-routes",
            PROGRAMMED,
            {"http": ({"Programmed": "True Programmed"}, 2, True)},
        ),
        (
            "gateway-with-attached-routes",
            "unresolved-gateway-with-one-attached-unresolved-route",
            {},
            {"tls": (NO_CERTIFICATE, 1, True)},
        ),
        (
            "httproute-https-listener",
            "same-namespace-with-https-listener",
            PROGRAMMED,
            {
                "https": ({"Programmed": "True Programmed"}, 1, True),
                "https-with-hostname": ({"Programmed": "True Programmed"}, 1, True),
                "https-with-wildcard-hostname": ({"Programmed": "True Programmed"}, 0, True),
                "https-with-hostname-matching-wildcard": ({"Programmed": "True Programmed"}, 0, True),
            },
        ),
    ],
)
def test_gateways(
    manifest: str, gateway: str, conditions: dict[str, str], listeners: Listeners, conform: Any
) -> None:
    body = conform(manifest).status("Gateway", gateway, INFRA)
    assert conditions.items() <= spoken(body).items()
    assert [one["name"] for one in body["listeners"]] == list(listeners)
    for one in body["listeners"]:
        expected, attached, supported = listeners[one["name"]]
        assert expected.items() <= spoken(one).items()
        assert one["attachedRoutes"] == attached
        assert supported == ("HTTPRoute" in [kind["kind"] for kind in one["supportedKinds"]])


ACCEPTED = "True Accepted"


@pytest.mark.parametrize(
    ("manifest", "route", "accepted", "resolved"),
    [
        ("httproute-simple-same-namespace", "gateway-conformance-infra-test", ACCEPTED, "True ResolvedRefs"),
        (
            "httproute-invalid-nonexistent-backendref",
            "invalid-nonexistent-backend-ref",
            ACCEPTED,
            "False BackendNotFound",
        ),
        ("httproute-invalid-reference-grant", "reference-grant", ACCEPTED, "False RefNotPermitted"),
        ("httproute-reference-grant", "reference-grant", ACCEPTED, "True ResolvedRefs"),
        (
            "httproute-partially-invalid-via-invalid-reference-grant",
            "invalid-reference-grant",
            ACCEPTED,
            "False RefNotPermitted",
        ),
        (
            "httproute-invalid-parentref-section-name-not-matching-port",
            "httproute-listener-section-name-not-matching-port",
            "False NoMatchingParent",
            "True ResolvedRefs",
        ),
        (
            "gateway-with-attached-routes",
            "http-route-not-accepted",
            "False NoMatchingListenerHostname",
            "True ResolvedRefs",
        ),
        ("gateway-with-attached-routes", "http-route-4", ACCEPTED, "False BackendNotFound"),
    ],
)
def test_routes(manifest: str, route: str, accepted: str, resolved: str, conform: Any) -> None:
    found = conform(manifest).conditions("HTTPRoute", route, INFRA)
    assert found == {"Accepted": accepted, "ResolvedRefs": resolved}


def test_every_parent_is_in_the_status(conform: Any) -> None:
    world = conform("httproute-multiple-gateways")
    parents = world.status("HTTPRoute", "multiple-gateways-shared-route", INFRA)["parents"]
    assert [one["parentRef"]["name"] for one in parents] == ["same-namespace", "all-namespaces"]
