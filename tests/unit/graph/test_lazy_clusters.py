"""Which clusters are lazy: those that Envoy sends requests to, and uses for nothing else."""

from __future__ import annotations

from typing import Any

from dragoman import config, resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from tests.harness import manifests

GATEWAY = """
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: dragoman},
 spec: {controllerName: dragoman.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop},
 spec: {gatewayClassName: dragoman,
  listeners: [{name: http, port: 8080, protocol: HTTP}, {name: tcp, port: 9000, protocol: TCP}]}}
"""
ROUTES = """
{kind: HTTPRoute, metadata: {name: plain},
 spec: {rules: [
  {matches: [{path: {value: /alone}}], backendRefs: [{name: alone}]},
  {matches: [{path: {value: /shares}}], backendRefs: [{name: half, weight: 1}, {name: other, weight: 9}]},
  {matches: [{path: {value: /copied}}], backendRefs: [{name: copied}],
   filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy}}}]},
  {matches: [{path: {value: /name}}], backendRefs: [{name: name}]},
  {matches: [{path: {value: /names}}], backendRefs: [{name: names}]},
  {matches: [{path: {value: /both}}], backendRefs: [{name: copy}]}]}}
---
{kind: HTTPRoute, metadata: {name: guarded}, spec: {rules: [{backendRefs: [{name: guarded}]}]}}
---
{kind: AuthPolicy, metadata: {name: ask},
 spec: {targetRefs: [{kind: HTTPRoute, name: guarded}],
  external: {backendRef: {name: asked}}}}
---
{kind: HTTPRoute, metadata: {name: failing}, spec: {rules: [{backendRefs: [{name: failing}]}]}}
---
{kind: TrafficPolicy, metadata: {name: reserve},
 spec: {targetRefs: [{kind: HTTPRoute, name: failing}], fallback: {backendRef: {name: reserve}}}}
---
{kind: HTTPRoute, metadata: {name: cached}, spec: {rules: [{backendRefs: [{name: cached}]}]}}
---
{kind: HTTPPolicy, metadata: {name: cache},
 spec: {targetRefs: [{kind: HTTPRoute, name: cached}], cache: {ttl: 10s}}}
---
{kind: TCPRoute, metadata: {name: bytes}, spec: {rules: [{backendRefs: [{name: bytes}]}]}}
"""
GATEWAY_API = "gateway.networking.k8s.io/v1"
OWN = "dragoman.dev/v1alpha1"
EAGER = {"copy", "asked", "failing", "reserve", "cached", "bytes", "names"}
LAZY = {"alone", "half", "other", "copied", "guarded", "name"}
NAMES = {"name": ("one.example",), "names": ("one.example", "two.example")}
"""Backends of names that are resolved: several at a time make a cluster that is ready before it knows all."""


def _completed(body: Any) -> Any:
    """References to Backends, parents and versions, which the texts above leave out."""
    if isinstance(body, list):
        return [_completed(each) for each in body]
    if not isinstance(body, dict):
        return body
    body = {key: _completed(value) for key, value in body.items()}
    for key in ("backendRef", "backendRefs"):
        for ref in [body[key]] if isinstance(body.get(key), dict) else body.get(key, ()):
            ref.update(group="dragoman.dev", kind="Backend")
    return body


def _documents() -> list[Document]:
    found = list(manifests.load(GATEWAY))
    for body in map(_completed, manifests.load(ROUTES)):
        body["apiVersion"] = GATEWAY_API if body["kind"].endswith("Route") else OWN
        body["metadata"]["namespace"] = "shop"
        if body["kind"].endswith("Route"):
            section = "tcp" if body["kind"] == "TCPRoute" else "http"
            body["spec"]["parentRefs"] = [{"name": "edge", "sectionName": section}]
        for target in body["spec"].get("targetRefs", ()):
            target["group"] = GATEWAY_API.partition("/")[0]
        found.append(body)
    for name in EAGER | LAZY:
        places = [{"hostname": each} for each in NAMES.get(name, ())] or [{"address": "127.0.0.1"}]
        spec = {"endpoints": [{**place, "port": 9001} for place in places]}
        about = {"name": name, "namespace": "shop"}
        found.append({"apiVersion": OWN, "kind": "Backend", "metadata": about, "spec": spec})
    return [_document(body) for body in found]


def _document(body: Any) -> Document:
    meta, group = body["metadata"], body["apiVersion"].partition("/")[0]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def _made(*, lazy: bool) -> dict[str, set[str]]:
    """The clusters by whether they are lazy."""
    pipeline = Pipeline(config.Settings(gateways=config.Gateways(lazy_clusters=lazy)))
    pipeline.activate("*")
    pipeline.load(_documents())
    found: dict[str, set[str]] = {"lazy": set(), "eager": set()}
    for name, item in pipeline.snapshot().resources(resource.CLUSTER).items():
        if name.startswith("Backend/"):
            found["lazy" if item.lazy else "eager"].add(name.split("/")[2])
    return found


def test_which_clusters_are_lazy() -> None:
    assert _made(lazy=True) == {"lazy": LAZY, "eager": EAGER}


def test_none_unless_asked_for() -> None:
    assert _made(lazy=False) == {"lazy": set(), "eager": EAGER | LAZY}
