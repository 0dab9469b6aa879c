"""Two small HTTP services to route to: what `dragoman run --demo` starts beside the control plane.

Each answers any request with JSON that says which service it is and what reached it: method, path, host and
headers. So rewrites, header changes and weights of a route can be seen from the outside. Loopback only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from dragoman import runtime


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    port: int


SERVICES: Final = (Service("hello", 9001), Service("hello-canary", 9002))
"""What `examples/01-hello` routes to."""


class Services:
    """The services as a companion of the control plane (`runtime.companions.Companion`)."""

    name = "demo services"

    def __init__(self, services: tuple[Service, ...] = SERVICES, address: str = "127.0.0.1") -> None:
        self._services = services
        self._address = address

    async def run(self, ready: Callable[[], None]) -> None:
        runners: list[web.AppRunner] = []
        try:
            for service in self._services:
                runner = web.AppRunner(
                    application(service), access_log=None, handle_signals=False, shutdown_timeout=1.0
                )
                runners.append(runner)
                await runner.setup()
                try:
                    await web.TCPSite(runner, self._address, service.port).start()
                except OSError as error:
                    what = f"demo service {service.name}"
                    raise runtime.cannot_listen(what, self._address, service.port, error) from None
            ready()
            await asyncio.Event().wait()
        finally:
            for runner in runners:
                await runner.cleanup()

    def kill(self) -> None:
        """They never keep anybody waiting."""


def application(service: Service) -> web.Application:
    """One service. `/status/503` (any code) answers with that code, to try retries and fallbacks."""

    async def answer(request: web.Request) -> web.Response:
        body = {
            "service": service.name,
            "method": request.method,
            "path": request.path_qs,
            "host": request.host,
            "headers": {
                name.lower(): value for name, value in request.headers.items() if name.lower() != "host"
            },
        }
        code = request.match_info.get("code", "200")
        text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=text, status=int(code), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/status/{code:[2-5]\\d\\d}", answer)
    app.router.add_route("*", "/{path:.*}", answer)
    return app
