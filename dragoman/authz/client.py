"""The question to an issuer (RFC 7662, section 2.1): bounded in time, size and number, without detours.

A redirect would carry the token and our credentials elsewhere, so none is followed. Neither tokens nor
answers are logged. Called by `introspection`, through the protocol `Ask`.
"""

from __future__ import annotations

import base64
from typing import Final, Protocol
from urllib.parse import quote_plus

import aiohttp

from dragoman.authz.verdicts import Trouble
from dragoman.ir import model as ir

LARGEST: Final = 64 * 1024
"""Bytes of an answer."""
_AT_ONCE: Final = 64
"""Questions to one issuer at a time; others wait their turn, within their time."""


class Ask(Protocol):
    """Asks an issuer about a token; the answer's body, or why there is none."""

    async def __call__(self, told: ir.Introspector, token: str) -> bytes | Trouble: ...


class Client:
    """Implements `Ask` over HTTP. `start` and `stop` within a running event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self, told: ir.Introspector, token: str) -> bytes | Trouble:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=_AT_ONCE)
            # Compressed answers could be larger than they look.
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        form, headers = _question(told, token)
        try:
            async with self._session.post(
                told.endpoint,
                data=form,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=told.timeout),
            ) as answer:
                if answer.status in (401, 403):
                    return Trouble("credentials")
                if answer.status != 200:
                    return Trouble("status")
                return await _body(answer)
        except TimeoutError:
            return Trouble("timeout")
        except (aiohttp.ClientError, OSError, ValueError):
            return Trouble("unreachable")


def _question(told: ir.Introspector, token: str) -> tuple[dict[str, str], dict[str, str]]:
    form = {"token": token, "token_type_hint": "access_token"}
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if told.post:
        form |= {"client_id": told.client_id, "client_secret": told.client_secret}
    else:
        # RFC 6749, 2.3.1: both are form-encoded first, so that neither can hold the colon.
        pair = f"{quote_plus(told.client_id)}:{quote_plus(told.client_secret)}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return form, headers


async def _body(answer: aiohttp.ClientResponse) -> bytes | Trouble:
    body = b""
    while more := await answer.content.readany():
        body += more
        if len(body) > LARGEST:
            return Trouble("too_large")
    return body
