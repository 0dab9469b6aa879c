"""Pages by HTTP: how a service listens for people and scrapers, and what every service shows them.

The companions show metrics and health (`application`); the control plane's console has more to show and its
own checks (`admin.server`), and takes from here how it listens and how metrics look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import typedefs, web

from dragoman.telemetry import metrics as telemetry

Health: TypeAlias = Callable[[], tuple[bool, Mapping[str, object]]]
"""Whether calls are to be sent here, and what else is to be said (as JSON)."""
Question: TypeAlias = Callable[[str], Awaitable[tuple[int, str]]]
"""Takes what was posted; the status, and JSON."""


class Server:
    """`start` listens and returns the port (raises `OSError` where it cannot), `stop` closes. Port 0 takes a
    free one.
    """

    def __init__(self, application: web.Application, address: str, port: int) -> None:
        self._application = application
        self._address = address
        self._asked = port
        self._runner: web.AppRunner | None = None
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self.port}"

    async def start(self) -> int:
        runner = web.AppRunner(self._application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._address, self._asked).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]
        return self.port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def application(health: Health, text: Callable[[], bytes]) -> web.Application:
    """`/healthz`: 200 where calls are to be sent here, else 503; `/metrics`: `text`, for Prometheus."""
    app = web.Application()
    app.router.add_get("/healthz", _health(health))
    app.router.add_get("/metrics", metrics(text))
    return app


def question(asked: Question) -> typedefs.Handler:
    """A page to post to. Not for others' pages in a browser on this machine: they say where they are from."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:
            return web.Response(status=403, text="not for browsers\n")
        status, said = await asked(await request.text())
        return web.Response(status=status, text=said, content_type="application/json")

    return answer


def metrics(text: Callable[[], bytes], headers: Mapping[str, str] | None = None) -> typedefs.Handler:
    """The page with what Prometheus reads."""
    headers = {"Content-Type": telemetry.CONTENT_TYPE, **(headers or {})}

    async def scrape(_: web.Request) -> web.StreamResponse:
        return web.Response(body=text(), headers=headers)

    return scrape


def _health(health: Health) -> typedefs.Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        well, said = health()
        return web.json_response(said, status=200 if well else 503)

    return answer
