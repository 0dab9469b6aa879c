"""The cluster that the suite takes for granted, on one machine.

Every Deployment of the manifests becomes pods: echo backends on loopback addresses of their own, with the
ports of the image. Every Service with a selector gets the EndpointSlice that Kubernetes would make. Objects
get what an API server fills in (generation, creation time, a namespace's name label, a Gateway's default
fields), because the manifests leave that to it.
"""

from __future__ import annotations

import base64
import copy
import ssl
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.conformance import pods
from tests.harness import certs, echo

Body = dict[str, Any]
Key = tuple[str, str, str, str]  # apiVersion, kind, namespace, name

INFRA = "gateway-conformance-infra"
WEB = "gateway-conformance-web-backend"


_CERTIFICATES = {
    "tls-validity-checks-certificate": (
        "example.org",
        "second-example.org",
        "third-example.org",
        "*.wildcard.org",
        "unknown-example.org",
        "abc.example.com",
        "https-listener.org",
        "secure.test.com",
    ),
    "tls-checks-certificate": ("abc.example.com", "other.example.com"),
    "tls-passthrough-checks-certificate": ("abc.example.com",),
    "tls-terminate-checks-certificate": ("tls.example.com",),
    "tls-checks-client-certificate": ("client.example.com",),
}
"""Secrets that the suite makes in code, and the names that each certificate is for."""


def key(body: Body) -> Key:
    meta = body["metadata"]
    return (body["apiVersion"], body["kind"], meta.get("namespace", ""), meta["name"])


class World:
    """Pods and objects. `apply` and `delete` change the objects as kubectl would; `objects` are what there
    is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._clock = 0
        self._number = 0
        self.objects: dict[Key, Body] = {}
        self.pods: dict[tuple[str, str], list[echo.Echo]] = {}  # (namespace, app) -> pods
        self._addresses: dict[tuple[str, str], list[str]] = {}
        self.authority = certs.Authority("conformance")
        self.pairs = {name: self.authority.issue(*names) for name, names in _CERTIFICATES.items()}

    async def close(self) -> None:
        await self._stack.aclose()

    async def apply(self, bodies: Iterable[Body]) -> None:
        """Creates or replaces. A changed spec is a new generation."""
        for given in bodies:
            body = copy.deepcopy(given)
            if body["kind"] == "Deployment":
                await self._deploy(body)
                continue
            self._store(body)
        self._endpoints()

    def delete(self, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self.objects.pop(key(body), None)
        self._endpoints()

    def _store(self, body: Body) -> None:
        meta = body["metadata"]
        before = self.objects.get(key(body))
        if before is None:
            self._clock += 1
            meta.setdefault(
                "creationTimestamp",
                f"2026-01-01T{self._clock // 3600:02}:{self._clock // 60 % 60:02}:{self._clock % 60:02}Z",
            )
            meta.setdefault("generation", 1)
        else:
            meta["creationTimestamp"] = before["metadata"]["creationTimestamp"]
            grown = {k: v for k, v in body.items() if k != "metadata"} != {
                k: v for k, v in before.items() if k != "metadata"
            }
            meta["generation"] = before["metadata"]["generation"] + grown
        if body["kind"] == "Namespace":
            meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
        self.objects[key(body)] = body

    # --- pods -----------------------------------------------------------------------------------------------

    async def _deploy(self, deployment: Body) -> None:
        namespace = deployment["metadata"]["namespace"]
        app = deployment["spec"]["template"]["metadata"]["labels"]["app"]
        if (namespace, app) in self.pods or not pods.serves(deployment):
            return
        made = self.pods[namespace, app] = []
        places = self._addresses[namespace, app] = []
        for replica in range(deployment["spec"].get("replicas", 1)):
            self._number += 1
            address = f"127.53.{self._number // 200}.{1 + self._number % 200}"
            pod = echo.Echo(pods.identity(deployment, replica))
            await pods.sockets(self._stack, deployment, pod, address, self._context)
            made.append(pod)
            places.append(address)

    def _context(self, secret: str, mutual: bool) -> ssl.SSLContext:
        """TLS as a pod serves it that mounts the Secret; `mutual`: clients must show a certificate."""
        context = self.pairs[secret].server_context(self._folder)
        if mutual:
            context.load_verify_locations(cadata=self.authority.pem)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _endpoints(self) -> None:
        """An EndpointSlice for each Service that selects pods."""
        for body in [b for b in self.objects.values() if b["kind"] == "EndpointSlice"]:
            if body["metadata"].get("annotations", {}).get("made-by") == "world":
                del self.objects[key(body)]
        for service in [b for b in self.objects.values() if b["kind"] == "Service"]:
            meta, spec = service["metadata"], service["spec"]
            addresses = self._addresses.get((meta["namespace"], spec.get("selector", {}).get("app", "")))
            if not addresses:
                continue
            self._store(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": f"{meta['name']}-pods",
                        "namespace": meta["namespace"],
                        "labels": {"kubernetes.io/service-name": meta["name"]},
                        "annotations": {"made-by": "world"},
                    },
                    "addressType": "IPv4",
                    "ports": [
                        {
                            "name": port.get("name", ""),
                            "port": port["targetPort"],
                            "protocol": port.get("protocol", "TCP"),
                        }
                        for port in spec["ports"]
                    ],
                    "endpoints": [
                        {
                            "addresses": [address],
                            "conditions": {"ready": True, "serving": True, "terminating": False},
                        }
                        for address in addresses
                    ],
                }
            )

    # --- what the suite makes in code -----------------------------------------------------------------------

    def files(self, pair: certs.Pair) -> tuple[str, str]:
        """A client certificate as the two files that `ssl` reads."""
        paths = (self._folder / f"{pair.serial}.crt", self._folder / f"{pair.serial}.key")
        paths[0].write_text(pair.certificate)
        paths[1].write_text(pair.key)
        return (str(paths[0]), str(paths[1]))

    def secrets(self) -> list[Body]:
        """Certificates and authorities that no manifest holds."""
        trusted = ("tls-validity-checks", "tls-validity-checks-per-port", "tls-checks")
        return [
            *(_tls_secret(INFRA, name, pair) for name, pair in self.pairs.items()),
            _tls_secret(WEB, "certificate", self.authority.issue("*")),
            *(_config_map(INFRA, f"{name}-ca-certificate", self.authority.pem) for name in trusted),
            _config_map(INFRA, "mismatch-ca-certificate", certs.Authority("mismatch").pem),
        ]


def gateway_class() -> Body:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "dragoman"},
        "spec": {"controllerName": "dragoman.dev/gateway-controller"},
    }


def _tls_secret(namespace: str, name: str, pair: certs.Pair) -> Body:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }


def _config_map(namespace: str, name: str, pem: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"ca.crt": pem},
    }
