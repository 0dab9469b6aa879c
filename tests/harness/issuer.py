"""An issuer of opaque tokens for tests: introspection (RFC 7662) and its description, on a free port.

What it knows of tokens is in `tokens`; it notes every question (unless `noting` is off). `mode` makes it
slow, or answer what no issuer should.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import unquote_plus

from aiohttp import web

Mode = Literal[
    "good", "slow", "error", "malformed", "html", "huge", "redirect", "silent", "gzip", "no-active", "closed"
]


@dataclass
class Question:
    """One call. `user`, `password`: the client's credentials, wherever they were."""

    token: str
    user: str
    password: str
    how: Literal["basic", "post"]
    form: dict[str, str] = field(default_factory=dict)


class Issuer:
    """`async with Issuer() as issuer: issuer.tokens["t"] = {"active": True}`."""

    def __init__(self, client: str = "gateway", secret: str = "s3cr et:+") -> None:
        self.client, self.secret = client, secret
        self.tokens: dict[str, dict[str, Any]] = {}
        self.questions: list[Question] = []
        self.mode: Mode = "good"
        self.delay = 0.0
        self.noting = True
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        return f"{self.url}/introspect"

    def asked(self, token: str) -> int:
        """How often somebody asked about the token."""
        return sum(one.token == token for one in self.questions)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        app.router.add_get("/.well-known/openid-configuration", self._description)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Nobody answers any more; `start` comes back on the same port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _description(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "introspection_endpoint": self.endpoint})

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        given = request.headers.get("authorization", "")
        if given.startswith("Basic "):
            user, _, password = base64.b64decode(given[6:]).decode().partition(":")
            question = Question(form["token"], unquote_plus(user), unquote_plus(password), "basic", form)
        else:
            user, password = form.get("client_id", ""), form.get("client_secret", "")
            question = Question(form["token"], user, password, "post", form)
        if self.noting:
            self.questions.append(question)
        if self.delay:
            await asyncio.sleep(self.delay)
        if (question.user, question.password) != (self.client, self.secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        found = self.tokens.get(question.token, {"active": False})
        match self.mode:
            case "slow" | "silent":
                await asyncio.sleep(30)
                return web.Response()
            case "error":
                return web.json_response({"active": True}, status=500)
            case "malformed":
                return web.Response(body=b'{"active": true', content_type="application/json")
            case "html":
                return web.Response(text="<html>active: true</html>", content_type="text/html")
            case "huge":
                return web.json_response({"active": True, "padding": "x" * 1_000_000})
            case "redirect":
                raise web.HTTPTemporaryRedirect("/introspect")
            case "gzip":
                response = web.json_response(found)
                response.enable_compression(web.ContentCoding.gzip)
                return response
            case "no-active":
                return web.json_response({"active": "true", "scope": "all"})
            case "closed":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case _:
                return web.json_response(found)
