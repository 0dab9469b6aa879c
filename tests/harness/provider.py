"""A small identity provider (OpenID Connect) for tests: it logs everybody in as `alice`, without a page.

It keeps to the rules that a gateway relies on: codes are good once and for the redirect URI that they were
asked with, a PKCE challenge (RFC 7636, S256) must be met, refresh tokens are good once, and clients prove
who they are. What it saw stands in its lists.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from tests.harness import net
from tests.harness.tokens import Issuer

CLIENT, SECRET = "shop-client", "s3cr3t-of-the-client"


class Provider:
    """`async with Provider() as provider: provider.issuer`. `lifetime`: seconds that access tokens hold."""

    def __init__(self, *, lifetime: int = 300, refresh: bool = True) -> None:
        self.port = net.free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.signer = Issuer(self.issuer)
        self.lifetime = lifetime
        self.refresh = refresh
        self.up = True
        self.claims: dict[str, Any] = {}
        self.authorizations: list[dict[str, str]] = []
        self.exchanges: list[dict[str, str]] = []
        self.refreshes: list[dict[str, str]] = []
        self.refused: list[str] = []
        self.ended: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh_tokens: set[str] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._described),
                web.get("/keys", self._keys),
                web.get("/authorize", self._authorize),
                web.post("/token", self._token),
                web.get("/end", self._end),
            ]
        )
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def token(self, **claims: Any) -> str:
        """An access token as it issues them."""
        unique = secrets.token_hex(8)
        said = {"aud": "shop", "scope": "openid cart", "jti": unique, **self.claims, **claims}
        return self.signer.token(**said)

    async def _described(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "end_session_endpoint": f"{self.issuer}/end",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def _keys(self, _: web.Request) -> web.Response:
        return web.Response(text=self.signer.jwks, content_type="application/json")

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.authorizations.append(asked)
        if asked.get("client_id") != CLIENT or asked.get("response_type") != "code":
            return web.Response(status=400, text="no such client")
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        where = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        return web.Response(status=302, headers={"location": where})

    async def _token(self, request: web.Request) -> web.Response:
        if not self.up:
            return web.Response(status=503)
        form = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        why = self._client(request, form) or self._grant(form)
        if why:
            self.refused.append(why)
            return web.json_response({"error": why}, status=401 if why == "invalid_client" else 400)
        body: dict[str, Any] = {
            "access_token": self.token(),
            "id_token": self.signer.token(
                aud=CLIENT, email="alice@shop.example", jti=secrets.token_hex(8), **self.claims
            ),
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        }
        if self.refresh:
            body["refresh_token"] = secrets.token_urlsafe(24)
            self._refresh_tokens.add(body["refresh_token"])
        return web.json_response(body)

    def _client(self, request: web.Request, form: dict[str, str]) -> str:
        given = (form.get("client_id"), form.get("client_secret"))
        header = request.headers.get("authorization", "")
        if header.startswith("Basic "):
            name, _, secret = base64.b64decode(header[6:]).decode().partition(":")
            given = (name, secret)
        return "" if given == (CLIENT, SECRET) else "invalid_client"

    def _grant(self, form: dict[str, str]) -> str:
        if form.get("grant_type") == "refresh_token":
            self.refreshes.append(form)
            if form.get("refresh_token") not in self._refresh_tokens:
                return "invalid_grant"
            self._refresh_tokens.discard(form["refresh_token"])
            return ""
        self.exchanges.append(form)
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return "invalid_grant"
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked.get("code_challenge_method") != "S256" or asked.get("code_challenge") != challenge:
            return "invalid_pkce"
        return ""

    async def _end(self, request: web.Request) -> web.Response:
        self.ended.append(dict(request.query))
        return web.Response(text="bye")
