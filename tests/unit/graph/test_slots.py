"""Parts of discovered filters of which only one can be told to Envoy: local limits with other numbers."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman import resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.graph.pipeline.extensions import LINGER
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.local_ratelimit import v3 as local_ratelimit
from dragoman.refs import Ref
from dragoman.sources.base import Update
from tests.harness import manifests

SITE = """
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: dragoman},
 spec: {controllerName: dragoman.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop},
 spec: {gatewayClassName: dragoman, listeners: [{name: http, port: 8080, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, namespace: shop},
 spec: {parentRefs: [{name: edge}],
  rules: [{backendRefs: [{group: dragoman.dev, kind: Backend, name: cart}]}]}}
---
{apiVersion: dragoman.dev/v1alpha1, kind: Backend, metadata: {name: cart, namespace: shop},
 spec: {endpoints: [{address: 127.0.0.1, port: 9001}]}}
"""
POLICY = Ref("dragoman.dev", "RateLimitPolicy", "shop", "p")


class Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.pipeline = Pipeline(clock=lambda: self.now)
        self.pipeline.activate("*")
        bodies: list[Any] = list(manifests.load(SITE))
        self.pipeline.load(_document(body) for body in bodies)

    def limit(self, requests: int) -> None:
        limits = {"own": {"requests": requests, "per": "Second", "where": "Local"}}
        spec = {"targetRefs": [{"kind": "HTTPRoute", "name": "cart"}], "limits": limits}
        about = {"name": "p", "namespace": "shop"}
        body = {"apiVersion": "dragoman.dev/v1alpha1", "kind": POLICY.kind, "metadata": about, "spec": spec}
        self.pipeline.load([Document(POLICY, body)])

    def unlimit(self) -> None:
        self.pipeline.apply(Update(deletes=(POLICY,)))
        self.pipeline.commit()

    def buckets(self) -> list[int]:
        name = "envoy.filters.http.local_ratelimit"
        payload = self.pipeline.snapshot().resources(resource.EXTENSION)[name].payload
        config = core.TypedExtensionConfig.FromString(payload).typed_config.value
        found = local_ratelimit.LocalRateLimit.FromString(config).descriptors
        return [one.token_bucket.max_tokens for one in found]


def _document(body: Any) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    about = body["metadata"]
    return Document(Ref(group, body["kind"], about.get("namespace", ""), about["name"]), body)


@pytest.fixture
def site() -> Site:
    return Site()


def test_another_number_takes_the_place_at_once(site: Site) -> None:
    assert site.buckets() == []
    site.limit(5)
    assert site.buckets() == [5]
    site.limit(7)
    assert site.buckets() == [7]
    site.now += LINGER
    site.pipeline.expire()
    assert site.buckets() == [7]


def test_what_is_gone_lingers_alone(site: Site) -> None:
    site.limit(5)
    site.unlimit()
    assert site.buckets() == [5]
    site.limit(7)
    site.unlimit()
    assert site.buckets() == [7], "never two for one descriptor: Envoy would refuse them"
    site.now += LINGER
    site.pipeline.expire()
    assert site.buckets() == []
