"""The HTTP shell: routes, JSON, and the check that keeps web pages out.

The server listens on loopback by default and knows no login. A page in somebody's browser must not reach it
by pointing its own host name at 127.0.0.1 (DNS rebinding), hence the check of `Host`; nor by a plain
cross-site request, hence `Sec-Fetch-Site` and `Origin`. What changes something is POST, and asks for more:
the header `X-Dragoman`, which no page can send without asking first, and a client on this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

import orjson
from aiohttp import typedefs, web

from dragoman import pages
from dragoman.admin import api

_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def make(state: api.State, address: str, port: int) -> pages.Server:
    """The server, which does not listen yet."""
    return pages.Server(application(state, address), address, port)


def application(state: api.State, address: str) -> web.Application:
    app = web.Application(middlewares=[_guard(address), _errors])
    app.router.add_get("/healthz", _health)
    app.router.add_get("/readyz", _ready(state))
    app.router.add_get("/metrics", pages.metrics(state.metrics.text, _NO_STORE))
    app.router.add_get("/", _index)
    app.router.add_get(api.PREFIX, _index)
    for endpoint in api.ENDPOINTS:
        app.router.add_get(f"{api.PREFIX}/{endpoint.name}", _json(state, endpoint))
    for action in api.ACTIONS:
        app.router.add_post(f"{api.PREFIX}/{action.name}", _json(state, action))
    return app


def _guard(address: str) -> typedefs.Middleware:
    """Refuses what a web page could have sent."""
    loopback = _is_loopback(address)

    @web.middleware
    async def guard(request: web.Request, handler: typedefs.Handler) -> web.StreamResponse:
        if not host_allowed(request.headers.get("Host", ""), loopback=loopback):
            raise web.HTTPMisdirectedRequest(text="this host name is not served here\n")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise web.HTTPForbidden(text="cross-site requests are not answered\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            raise web.HTTPForbidden(text="cross-origin requests are not answered\n")
        if request.method not in ("GET", "HEAD"):
            _may_change(request)
        return await handler(request)

    return guard


def _may_change(request: web.Request) -> None:
    """There is no login: being on this machine (or in its pod, by port-forward) is what counts."""
    if not _is_loopback(request.remote or ""):
        raise web.HTTPForbidden(text="this is answered on the machine itself only\n")
    if "X-Dragoman" not in request.headers:
        raise web.HTTPForbidden(text="the header X-Dragoman is missing\n")


def host_allowed(host: str, *, loopback: bool) -> bool:
    """Whether a `Host` header is one that people and scrapers use: an IP address or `localhost`.

    On a loopback listener every other name means that some name was pointed here. An open listener (a
    container) is reached under names that only its operator knows, so there any name will do."""
    if not loopback:
        return bool(host)
    name = host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host
    name = name.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


@web.middleware
async def _errors(request: web.Request, handler: typedefs.Handler) -> web.StreamResponse:
    """Mistakes of the caller as JSON with the right status."""
    try:
        return await handler(request)
    except api.Refused as refused:
        return _reply({"error": str(refused)}, refused.status)


async def _health(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n", headers=_NO_STORE)


async def _index(_: web.Request) -> web.StreamResponse:
    found = {f"{api.PREFIX}/{endpoint.name}": endpoint.text for endpoint in api.ENDPOINTS}
    found |= {f"POST {api.PREFIX}/{action.name}": action.text for action in api.ACTIONS}
    return _reply(found)


def _ready(state: api.State) -> typedefs.Handler:
    async def ready(_: web.Request) -> web.StreamResponse:
        why = state.not_ready()
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200, headers=_NO_STORE)

    return ready


def _json(state: api.State, endpoint: api.Endpoint) -> typedefs.Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return _reply(endpoint.answer(state, api.Query(request.query)))

    return answer


def _reply(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json", headers=_NO_STORE)
