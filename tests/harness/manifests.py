"""Builders of the objects that tests write into files: plain dicts in the shape of their YAML.

Only what the tests vary has a parameter. Names double as host names (`shop` -> `shop.example`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

Body = dict[str, Any]

GATEWAY_API = "gateway.networking.k8s.io/v1"
CONTROLLER = "dragoman.dev/gateway-controller"


def gateway_class(name: str = "dragoman") -> Body:
    return {
        "apiVersion": GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": CONTROLLER},
    }


def listener(
    name: str, port: int, *, protocol: str = "HTTP", hostname: str | None = None, secret: str | None = None
) -> Body:
    body: Body = {
        "name": name,
        "port": port,
        "protocol": protocol,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    if hostname:
        body["hostname"] = hostname
    if secret:
        body["tls"] = {"certificateRefs": [{"name": secret}]}
    return body


def gateway(*listeners: Body, name: str = "edge", namespace: str = "shop") -> Body:
    return {
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"gatewayClassName": "dragoman", "listeners": list(listeners)},
    }


def rule(*backends: str | tuple[str, int], path: str = "/", **more: Any) -> Body:
    """Backends by name, or (name, weight); all on port 80."""
    refs = []
    for backend in backends:
        name, weight = (backend, 1) if isinstance(backend, str) else backend
        refs.append({"name": name, "port": 80, "weight": weight})
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": refs, **more}


def http_route(
    name: str,
    *rules: Body,
    hostnames: Sequence[str] | None = None,
    gateway: str = "edge",
    section: str | None = None,
    namespace: str = "shop",
) -> Body:
    parent: Body = {"name": gateway}
    if section:
        parent["sectionName"] = section
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [parent],
            "hostnames": list(hostnames if hostnames is not None else [f"{name}.example"]),
            "rules": list(rules),
        },
    }


def service(name: str, *, namespace: str = "shop") -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def endpoint(
    address: str = "127.0.0.1", *, ready: bool = True, serving: bool | None = None, terminating: bool = False
) -> Body:
    return {
        "addresses": [address],
        "conditions": {
            "ready": ready,
            "serving": ready if serving is None else serving,
            "terminating": terminating,
        },
    }


def endpoint_slice(
    service: str, port: int, *endpoints: Body, suffix: str = "a", namespace: str = "shop"
) -> Body:
    """One slice has one port: tests that put each backend on a port of its own use a slice for each."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{suffix}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints) or [endpoint()],
    }


def tls_secret(name: str, certificate: str, key: str, *, namespace: str = "shop") -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {
            "tls.crt": base64.b64encode(certificate.encode()).decode(),
            "tls.key": base64.b64encode(key.encode()).decode(),
        },
    }


def load(text: str) -> Iterator[Any]:
    """The documents of a YAML text, by libyaml where there is one: many times as quick."""
    return iter(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def dump(objects: Iterable[Body]) -> str:
    """A multi-document YAML text. JSON is YAML, and quicker to write."""
    return "".join(f"---\n{json.dumps(body, indent=2)}\n" for body in objects)


def listener_set(name: str, *listeners: Body, gateway: str = "edge", namespace: str = "shop") -> Body:
    return {
        "apiVersion": GATEWAY_API,
        "kind": "ListenerSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRef": {"name": gateway}, "listeners": list(listeners)},
    }
