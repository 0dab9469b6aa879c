"""Backends whose health a test decides, and what Envoy makes of several of them: for tests of policies that
concern backends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.harness import manifests
from tests.harness.backend import Backend
from tests.harness.echo import Answer, Echo, Identity, Request
from tests.harness.load import Reply, read_reply
from tests.harness.site import Site


@dataclass(slots=True)
class Moody(Echo):
    """Answers `status` while it is not 200, and to `/healthz` what `health` says, whatever else it does.
    `asked`: requests but for those to `/healthz`."""

    status: int = 200
    health: int = 200
    asked: int = 0
    checked: int = 0

    def answer(self, request: Request) -> Answer:
        if request.target.startswith("/healthz"):
            self.checked += 1
            return Answer(self.health, f"health {self.health}".encode())
        self.asked += 1
        if self.status != 200:
            return Answer(self.status, b"", (("x-pod", self.identity.pod),))
        return Echo.answer(self, request)


class Pod(Backend):
    """A backend with moods."""

    def __init__(self, name: str, **more: object) -> None:
        self.mood = Moody(Identity(name))
        super().__init__(self.mood, **more)  # type: ignore[arg-type]


async def pod(site: Site, name: str, **more: object) -> Pod:
    """A pod that ends with the site."""
    made = Pod(name, **more)
    await made.start()
    site.backends[name] = made
    return made


def backend(name: str, *endpoints: Mapping[str, object], **spec: object) -> manifests.Body:
    """A Backend with endpoints on this machine, or as they are given."""
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpoints": [{"address": "127.0.0.1", **one} for one in endpoints], **spec},
    }


def slices(service: str, *pods: Backend, zones: Mapping[str, str] | None = None) -> list[manifests.Body]:
    """A Service and a slice for each pod."""
    made = [manifests.service(service)]
    for one in pods:
        item = manifests.endpoint_slice(service, one.port, suffix=one.name)
        if zones:
            item["endpoints"][0]["zone"] = zones[one.name]
        made.append(item)
    return made


def policy(name: str, kind: str, target: str, **spec: object) -> manifests.Body:
    """A TrafficPolicy."""
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetRefs": [{"kind": kind, "name": target}], **spec},
    }


def route(name: str, *backends: str, kind: str = "Service") -> manifests.Body:
    """An HTTPRoute to Services or Backends."""
    made = manifests.http_route(name, manifests.rule(*backends))
    if kind == "Backend":
        for one in made["spec"]["rules"][0]["backendRefs"]:
            one |= {"group": "dragoman.dev", "kind": "Backend"}
            del one["port"]
    return made


async def ask(port: int, host: str, path: str = "/", **headers: str) -> Reply:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
        return await read_reply(reader)
    finally:
        writer.close()


async def many(count: int, port: int, host: str, pause: float = 0.0, **headers: str) -> Counter[str]:
    """Who answers so many requests, one after the other on one connection; failures as their status. With a
    `pause` between them, Envoy's workers have heard what one request meant before the next one comes."""
    found: Counter[str] = Counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    try:
        for _ in range(count):
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
            reply = await read_reply(reader)
            found[reply.pod if reply.status == 200 else str(reply.status)] += 1
            if pause:
                await asyncio.sleep(pause)
    finally:
        writer.close()
    return found
