"""Objects that were never valid and must not leave open what they were to protect."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.translators.gateway.models import authpolicy

TARGET = "targetRefs: [{kind: Gateway, name: edge}]"


def decoded(world: Any, kind: str, spec: str) -> Any:
    world.apply(f"kind: {kind}\nmetadata: {{name: p}}\nspec:\n  {TARGET}\n  {spec}\n")
    assert world.rejected[world.ref(kind, "p")]
    found = world.objects["dragoman.dev", kind].get(world.ref(kind, "p"))
    return None if found is None else found.spec


def test_an_auth_policy_protects_although_it_is_wrong(world: Any) -> None:
    found = decoded(world, "AuthPolicy", "jwt: {issuers: []}")
    assert isinstance(found, authpolicy.Broken)
    assert found.target_refs[0].name == "edge"


def test_a_client_policy_asks_for_certificates_although_something_else_is_wrong(world: Any) -> None:
    refs = "caCertificateRefs: [{kind: ConfigMap, group: '', name: ca}]"
    found = decoded(world, "ClientPolicy", f"clientValidation: {{{refs}}}\n  tls: {{minimum: 7}}")
    assert found.client_validation.ca_certificate_refs[0].name == "ca"
    assert found.tls is None


def test_a_client_policy_lets_nobody_in_if_that_very_part_is_wrong(world: Any) -> None:
    found = decoded(world, "ClientPolicy", "clientValidation: {caCertificates: []}")
    assert found.client_validation.ca_certificate_refs[0].name == "an-invalid-policy"


@pytest.mark.parametrize(
    ("kind", "spec"), [("ClientPolicy", "tls: {minimum: 7}"), ("TrafficPolicy", "timeouts: {connect: 1}")]
)
def test_others_have_no_effect(world: Any, kind: str, spec: str) -> None:
    assert decoded(world, kind, spec) is None


@pytest.mark.parametrize("kind", ["AuthPolicy", "ClientPolicy"])
def test_what_it_cannot_target_is_left_out(world: Any, kind: str) -> None:
    targets = "targetRefs: [{kind: Gatway, name: a}, {kind: Gateway, group: apps, name: b}, %s]"
    for good, names in (("{kind: Gateway, name: edge}", ["edge"]), ("{kind: Service, name: s}", [])):
        spec = f"{targets % good}\n  clientValidation: {{}}"
        world.apply(f"kind: {kind}\nmetadata: {{name: p{len(names)}}}\nspec:\n  {spec}\n")
        found = world.objects["dragoman.dev", kind].get(world.ref(kind, f"p{len(names)}"))
        assert [one.name for one in found.spec.target_refs] == names if names else found is None
