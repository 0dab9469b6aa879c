"""What a ClientPolicy changes, told before it is made; and requests explained as it has them."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman import difference, explain
from dragoman.graph.pipeline import Pipeline
from dragoman.ir.match import Outcome
from dragoman.ir.request import parse
from tests.harness import manifests
from tests.unit.graph.test_client_sharing import document, gateway, policy, secure, world

Body = dict[str, Any]
EDGE = gateway("edge", manifests.listener("http", 80), secure("a"), created="2026-01-01T00:00:00Z")
ROUTE = manifests.http_route("all", manifests.rule("v1"), hostnames=[])


def changes(spec: Body) -> list[str]:
    """The lines about listeners."""
    before, after = world(EDGE), world(EDGE, policy(spec))
    found = difference.behaviour(before.view(), after.view())
    return [f"{one.name}: {line}" for one in found for line in one.details if one.type == "listener"]


def test_settings_are_told_one_by_one() -> None:
    found = changes(
        {
            "headers": {"maxBytes": 2048},
            "tls": {"minVersion": "TLSv1.3"},
            "connections": {"bufferBytes": 65536},
            "http3": {"enabled": True},
        }
    )
    assert sorted(found) == [
        "127.0.0.1:443/udp: opens for HTTP/3 (a.example)",
        "127.0.0.1:443: buffer by default → 65536",
        "127.0.0.1:443: server name a.example: http.header_bytes by default → 2048",
        "127.0.0.1:443: server name a.example: http3 by default → yes",
        "127.0.0.1:443: server name a.example: tls.minimum by default → TLSv1.3",
        "127.0.0.1:80: buffer by default → 65536",
        "127.0.0.1:80: server name (any): http.header_bytes by default → 2048",
    ]


@pytest.fixture
def edge() -> Pipeline:
    spec: Body = {
        "paths": {"escapedSlashes": "Reject", "mergeSlashes": False},
        "headers": {"underscores": "Reject"},
        "earlyHeaders": {"set": [{"name": "x-lane", "value": "b"}]},
    }
    return world(EDGE, policy(spec), ROUTE, manifests.service("v1"))


@pytest.mark.parametrize(
    ("url", "headers", "outcome", "status"),
    [
        ("http://a.example/a//b", (), Outcome.ROUTED, None),
        ("http://a.example/a%2Fb", (), Outcome.REFUSED, 400),
        ("http://a.example/", (("x_user", "1"),), Outcome.REFUSED, 400),
    ],
)
def test_requests_are_explained_as_policies_have_them(
    edge: Pipeline, url: str, headers: tuple[tuple[str, str], ...], outcome: Outcome, status: int | None
) -> None:
    match = explain.explain_request(edge.view(), parse("GET", url, headers)).match
    assert (match.outcome, match.status) == (outcome, status)
    assert match.prepared.headers["x-lane"] == ("b",)
    if outcome is Outcome.ROUTED:
        assert match.prepared.path == "/a//b"


def test_a_closed_listener_says_why() -> None:
    made = world(EDGE, policy({"clientValidation": {"caCertificateRefs": [{"name": "gone"}]}}), ROUTE)
    match = explain.explain_request(made.view(), parse("GET", "https://a.example/")).match
    assert match.outcome is Outcome.STREAM
    assert any("connections are closed" in note and "gone" in note for note in match.notes)
    assert document(EDGE).ref in made.view().gateways
