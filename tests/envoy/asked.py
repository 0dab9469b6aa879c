"""Services that Envoy asks who may pass (`ext_authz`), for tests: by gRPC, and by HTTP.

What they say depends on the request's header `x-say`: `no` refuses it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web

from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.service.auth import v3 as auth
from tests.harness import net


@dataclass(slots=True)
class Service:
    """One that listens. `checks`: what it was asked, as `CheckRequest`s or HTTP requests; `bodies`, by HTTP,
    what came along."""

    port: int
    checks: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def by_grpc(port: int = 0) -> AsyncIterator[Service]:
    """Passes requests with `x-who: alice` and answers with `x-checked: yes`; refuses with 418."""
    service = Service(port or net.free_port())

    async def check(
        request: auth.CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> auth.CheckResponse:
        service.checks.append(request)
        service.metadata.append(dict(context.invocation_metadata() or ()))
        answer = auth.CheckResponse()
        if request.attributes.request.http.headers.get("x-say") == "no":
            answer.status.code = grpc.StatusCode.PERMISSION_DENIED.value[0]
            answer.denied_response.status.code = 418
            answer.denied_response.body = "not you"
            answer.denied_response.headers.add().header.MergeFrom(_header("x-why", "because"))
        else:
            answer.ok_response.headers.add().header.MergeFrom(_header("x-who", "alice"))
            answer.ok_response.headers_to_remove.append("x-secret")
            answer.ok_response.response_headers_to_add.add().header.MergeFrom(_header("x-checked", "yes"))
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=auth.CheckRequest.FromString,
        response_serializer=auth.CheckResponse.SerializeToString,
    )
    server = grpc.aio.server()
    methods = {"Check": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", methods),)
    )
    server.add_insecure_port(f"127.0.0.1:{service.port}")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


def _header(name: str, value: str) -> Any:
    return core.HeaderValue(key=name, value=value)


@asynccontextmanager
async def by_http() -> AsyncIterator[Service]:
    """Says the same with headers of its own; a refusal is JSON and has `x-why` and `x-inner`."""
    service = Service(net.free_port())

    async def answer(request: web.Request) -> web.Response:
        service.checks.append(request)
        service.bodies.append(await request.read())
        if request.headers.get("x-say") == "no":
            said = {"x-why": "because", "x-inner": "mine"}
            return web.json_response({"error": "not you"}, status=403, headers=said)
        return web.Response(headers={"x-who": "alice", "x-checked": "yes", "x-inner": "mine"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", service.port).start()
    try:
        yield service
    finally:
        await runner.cleanup()
