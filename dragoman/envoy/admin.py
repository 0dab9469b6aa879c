"""A small client of Envoy's admin interface, for `process.py`, `status` and tests.

HTTP/1.1 over TCP or a unix socket, one connection per request; no library, since this package stands below
those that have one. Envoy's admin interface has no access control: it belongs on loopback or a socket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

_TIMEOUT: Final = 10.0


class AdminError(RuntimeError):
    """The admin interface could not be reached, or refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Admin:
    """Where one Envoy's admin interface is: `path` of a unix socket, or `address` and `port`."""

    address: str = "127.0.0.1"
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.address}:{self.port}"

    async def request(self, target: str, method: str = "GET", *, timeout: float = _TIMEOUT) -> Answer:  # noqa: ASYNC109
        """One exchange. Raises AdminError where there is no answer within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(target, method)
        except (OSError, TimeoutError, EOFError, ValueError) as failure:
            raise AdminError(
                f"{method} {target} at {self}: {str(failure) or type(failure).__name__}"
            ) from failure

    async def get(self, target: str) -> str:
        """The body of a successful answer. Raises AdminError for any other."""
        return await self._successful(target, "GET")

    async def post(self, target: str) -> str:
        """Like `get`, for what changes something."""
        return await self._successful(target, "POST")

    async def ready(self) -> bool:
        """Whether Envoy has its first configuration and serves."""
        try:
            return (await self.request("/ready")).status == 200
        except AdminError:
            return False

    async def server_info(self) -> dict[str, Any]:
        """Version, state, uptime, command line."""
        return _object(await self.get("/server_info"))

    async def config_dump(self, *, endpoints: bool = True) -> dict[str, Any]:
        """Everything Envoy has; keys and passwords are redacted by Envoy."""
        return _object(await self.get("/config_dump?include_eds" if endpoints else "/config_dump"))

    async def clusters(self) -> dict[str, Any]:
        """Clusters and the state of their endpoints."""
        return _object(await self.get("/clusters?format=json"))

    async def stats(self, pattern: str = "") -> Mapping[str, int]:
        """Counters and gauges by name; `pattern` is a regular expression that is looked for in the name."""
        query = f"&filter={quote(pattern)}" if pattern else ""
        found = _object(await self.get(f"/stats?format=json{query}"))
        return {each["name"]: each["value"] for each in found["stats"] if "name" in each}

    async def drain(self) -> None:
        """Tells clients to go elsewhere (GOAWAY, `Connection: close`) and keeps serving meanwhile."""
        await self.post("/healthcheck/fail")
        await self.post("/drain_listeners?graceful&skip_exit")

    async def _successful(self, target: str, method: str) -> str:
        answer = await self.request(target, method)
        if answer.status != 200:
            raise AdminError(f"{method} {target} at {self}: {answer.status} {answer.text.strip()}")
        return answer.text

    async def _exchange(self, target: str, method: str) -> Answer:
        if self.path:
            reader, writer = await asyncio.open_unix_connection(self.path)
        else:
            reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            head = (
                f"{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode())
            await writer.drain()
            return await _answer(reader)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = int((await reader.readline()).partition(b" ")[2][:3])
    headers: dict[bytes, bytes] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    elif b"content-length" in headers:
        body = await reader.readexactly(int(headers[b"content-length"]))
    else:
        body = await reader.read()
    return Answer(status, body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as failure:
        raise AdminError(f"the admin interface did not answer with JSON: {failure}") from failure
    if not isinstance(value, dict):
        raise AdminError("the admin interface did not answer with a JSON object")
    return value
