"""A browser as far as logins need one: pages asked for with the cookies it keeps, at the host `HOST`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from tests.harness.load import read_reply
from tests.harness.site import Site

HOST = "shop.example"
PAGE = "Accept: text/html,application/xhtml+xml"


@dataclass(slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def location(self) -> str:
        return next((value for name, value in self.headers if name == "location"), "")

    @property
    def cookies(self) -> dict[str, str]:
        """Name -> the whole line."""
        return {v.partition("=")[0]: v for name, v in self.headers if name == "set-cookie"}

    @property
    def seen(self) -> dict[str, list[str]]:
        """The headers that the backend saw, by lower-case name."""
        assert self.status == 200, self
        return {name.lower(): values for name, values in json.loads(self.body)["headers"].items()}


@dataclass(slots=True)
class Browser:
    """Keeps cookies, and follows redirects only when told to. It speaks plain HTTP, where a real one would
    not keep cookies that are `Secure`."""

    site: Site
    jar: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, *lines: str, method: str = "GET") -> Answer:
        jar = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        given = (*lines, *((f"Cookie: {jar}",) if jar else ()))
        answer = await ask(self.site, path, *given, method=method)
        for name, line in answer.cookies.items():
            value = line.split(";")[0].partition("=")[2]
            if "Max-Age=0" in line or "1970" in line:
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return answer

    async def sent_to_provider(self, path: str) -> str:
        """Asks without a session; where the provider sends it back to, as a path."""
        answer = await self.get(path, PAGE)
        assert answer.status == 302, answer
        async with (
            aiohttp.ClientSession() as client,
            client.get(answer.location, allow_redirects=False) as page,
        ):
            assert page.status == 302, await page.text()
            back = urlsplit(page.headers["location"])
        assert back.netloc == HOST
        return f"{back.path}?{back.query}"

    async def log_in(self, path: str = "/cart?a=b") -> None:
        answer = await self.get(await self.sent_to_provider(path), PAGE)
        assert answer.status == 302, answer
        assert answer.location == f"http://{HOST}{path}"


async def ask(site: Site, path: str, *lines: str, method: str = "GET", host: str = HOST) -> Answer:
    """One request, with every Set-Cookie of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write("\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode())
        raw = await reader.readuntil(b"\r\n\r\n")
        again = asyncio.StreamReader()
        again.feed_data(raw)
        again.feed_data(await _rest(reader, raw))
        again.feed_eof()
        reply = await read_reply(again)
    finally:
        writer.close()
    pairs = (line.partition(":") for line in raw.decode().split("\r\n")[1:] if line)
    return Answer(reply.status, [(name.lower(), value.strip()) for name, _, value in pairs], reply.body)


async def _rest(reader: asyncio.StreamReader, head: bytes) -> bytes:
    for line in head.decode().lower().split("\r\n"):
        if line.startswith("content-length:"):
            return await reader.readexactly(int(line.partition(":")[2]))
        if line.startswith("transfer-encoding: chunked"):
            return await reader.readuntil(b"0\r\n\r\n")
    return b""
