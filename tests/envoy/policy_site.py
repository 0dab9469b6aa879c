"""A real Envoy on the snapshot of objects written as YAML, without a control plane: for tests of policies.

The objects name ports by placeholders: `@PORT@` is the Gateway's, `@BACKEND@` that of one echo backend.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman import explain, proto
from dragoman.document import Document
from dragoman.envoy import process, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from dragoman.ir.request import Request
from tests.envoy import agreement
from tests.harness import manifests, net
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.load import Reply, read_reply

_GROUPS = {
    **dict.fromkeys(("GatewayClass", "Gateway", "HTTPRoute"), "gateway.networking.k8s.io/v1"),
    **dict.fromkeys(
        ("HTTPPolicy", "ClientPolicy", "RateLimitPolicy", "AuthPolicy", "Backend"), "dragoman.dev/v1alpha1"
    ),
}
_COMMON = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: http, port: "@PORT@", protocol: HTTP}]
---
kind: Backend
metadata: {name: echo}
spec: {endpoints: [{address: 127.0.0.1, port: "@BACKEND@"}]}
"""


def documents(text: str, **ports: int) -> list[Document]:
    """The objects of a text, `kind` alone saying what they are, all in the namespace `shop`."""
    for name, port in ports.items():
        text = text.replace(f'"@{name}@"', str(port)).replace(f"@{name}@", str(port))
    found = []
    for body in manifests.load(text):
        body["apiVersion"] = _GROUPS[body["kind"]]
        if body["kind"] != "GatewayClass":
            body["metadata"].setdefault("namespace", "shop")
        found.append(agreement.document(body))
    return found


def route(name: str, *rules: str) -> str:
    """An HTTPRoute `name` for the host `name.test`; rules without backends go to the echo backend."""
    listed = "\n".join(f"  - {rule}" for rule in rules or ("{backendRefs: [ECHO]}",))
    listed = listed.replace("ECHO", "{group: dragoman.dev, kind: Backend, name: echo}")
    return (
        f"---\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n"
        f"spec:\n  parentRefs: [{{name: edge}}]\n  hostnames: [{name}.test]\n  rules:\n{listed}\n"
    )


def policy(name: str, spec: str, kind: str = "HTTPRoute") -> str:
    """An HTTPPolicy for the route (or Gateway) of that name."""
    return (
        f"---\nkind: HTTPPolicy\nmetadata: {{name: {name}}}\n"
        f"spec:\n  targetRefs: [{{kind: {kind}, name: {name}}}]\n{spec}\n"
    )


@dataclass
class PolicySite:
    """`ask` asks Envoy, `explain` asks the program."""

    port: int
    pipeline: Pipeline
    backend: Backend

    async def ask(
        self,
        host: str,
        path: str = "/",
        *,
        method: str = "GET",
        body: bytes | None = None,
        chunked: bool = False,
        **headers: str,
    ) -> Reply:
        """One request on a connection of its own. Underscores in header names are hyphens."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            if body is not None and not chunked:
                lines.append(f"content-length: {len(body)}")
            if chunked:
                lines.append("transfer-encoding: chunked")
            head = "\r\n".join([f"{method} {path} HTTP/1.1", f"host: {host}.test", *lines, "", ""])
            writer.write(head.encode())
            for start in range(0, len(body or b""), 16384):
                piece = (body or b"")[start : start + 16384]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                writer.write(b"0\r\n\r\n")
            return await read_reply(reader, head=method == "HEAD")
        finally:
            writer.close()

    async def seen(self, host: str, path: str = "/", **more: Any) -> dict[str, Any]:
        """The request as the backend saw it, its headers in lower case, several values joined."""
        reply = await self.ask(host, path, **more)
        assert reply.status == 200, reply
        text = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
        found: dict[str, Any] = json.loads(text)
        found["headers"] = {name.lower(): ",".join(values) for name, values in found["headers"].items()}
        return found

    def explained(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> dict[str, Any]:
        """What explain says of the request."""
        given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        request = Request(f"{host}.test", path, method, headers=given, port=self.port)
        return explain.explain_request(self.pipeline.view(), request).data


@asynccontextmanager
async def running(
    binary: Path,
    text: str,
    echo: Echo | None = None,
    more: Callable[[Any, int], None] | None = None,
    *,
    prepare: Callable[[Pipeline], None] = lambda _: None,
) -> AsyncIterator[PolicySite]:
    """Envoy on the objects of `text`, one Gateway `edge` and one backend. `more` may add to the bootstrap,
    and is told the Gateway's port; `prepare` gets the pipeline before it is loaded."""
    async with Backend(echo or Echo(Identity("echo"))) as backend:
        port = net.free_port()
        pipeline = Pipeline()
        prepare(pipeline)
        pipeline.load(documents(_COMMON + text, PORT=port, BACKEND=backend.port))
        wrong = [f"{one.code} {one.message} {one.path} {one.label}" for one in pipeline.diagnostics()]
        assert not wrong, wrong
        admin = Admin(port=net.free_port())
        snapshot = pipeline.snapshot()
        resources = [item for kind in snapshot.types() for item in snapshot.resources(kind).values()]
        bootstrap = static.bootstrap(resources, admin)
        if more is not None:
            more(bootstrap, port)
        given = proto.serialize(bootstrap)
        async with process.running(given, binary=binary, admin=admin, concurrency=1) as envoy:
            await envoy.ready()
            yield PolicySite(port, pipeline, backend)
