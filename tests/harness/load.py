"""Constant load through Envoy, with every answer that is not as expected counted and given a reason.

Clients keep their connections open and send one request after the other. The only thing they forgive is what
HTTP/1.1 forgives: a connection closed after a response that said `connection: close`. A request that gets no
answer, or any answer but the expected, is a failure.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.harness import net


@dataclass(slots=True)
class Reply:
    """What a client got. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    serial: int = 0  # of the server's certificate, 0 without TLS

    @property
    def pod(self) -> str:
        return self.headers.get("x-pod", "")


async def read_reply(reader: asyncio.StreamReader, *, head: bool = False) -> Reply:
    """One response off the wire. `asyncio.IncompleteReadError` where the peer closes too early."""
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            key = name.lower()
            headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    body = b""
    if not head and status not in (101, 204, 304):
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
    return Reply(status, headers, body)


def ok(reply: Reply) -> str | None:
    """The usual expectation: any 200."""
    return None if reply.status == 200 else f"status {reply.status} ({reply.body[:80].decode('latin-1')})"


@dataclass(slots=True)
class Load:
    """`async with Load(port, host="shop.example") as load: ...; assert not load.failures`.

    `warm`: requests to wait for at the start. `fresh`: a new connection per request (to see each handshake).
    `pause` keeps two cores from being all client.
    """

    port: int
    host: str
    path: str = "/"
    address: str = "127.0.0.1"
    connections: int = 4
    pause: float = 0.001
    fresh: bool = False
    tls: ssl.SSLContext | None = None
    expect: Callable[[Reply], str | None] = ok
    done: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    serials: Counter[int] = field(default_factory=Counter)
    latest_serial: int = 0
    opened: int = 0
    warm: int = 50
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.connections)]
        if self.warm:
            await self.more(self.warm)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.finish()
        await asyncio.gather(*self._tasks)

    def finish(self) -> None:
        """No new requests; those under way are still waited for when the block ends."""
        self._stopping = True

    async def more(self, requests: int) -> None:
        """Returns when that many further requests have been answered or have failed."""
        goal = self.done + requests
        await net.until(f"{requests} more requests", lambda: self.done >= goal, limit=60)

    async def seen(self, pod: str) -> None:
        """Returns when `pod` answers a request sent from now on."""
        before = self.pods[pod]
        await net.until(
            f"an answer from {pod}; got {dict(self.pods)}, {dict(self.failures)}",
            lambda: self.pods[pod] > before,
        )

    async def only(self, *pods: str, run: int = 60) -> None:
        """Returns when `run` requests in a row were answered by `pods` alone."""

        async def quiet() -> bool:
            before = {pod: count for pod, count in self.pods.items() if pod not in pods}
            await self.more(run)
            return before == {pod: count for pod, count in self.pods.items() if pod not in pods}

        await net.until(f"only {pods} answering; got {dict(self.pods)}, {dict(self.failures)}", quiet)

    async def _client(self) -> None:
        request = f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\n\r\n".encode()
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        serial = 0
        while not self._stopping:
            reason: str | None = "no answer"
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection(
                        self.address, self.port, ssl=self.tls, server_hostname=self.host if self.tls else None
                    )
                    serial = _serial(writer)
                    self.opened += 1
                writer.write(request)
                reply = await asyncio.wait_for(read_reply(reader), 15)
                reply.serial = serial
                reason = self.expect(reply)
                self.pods[reply.pod] += 1
                self.serials[serial] += 1
                self.latest_serial = serial
                if self.fresh or reply.headers.get("connection") == "close":
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as failure:
                reason = f"{type(failure).__name__}: {failure}"
                if writer is not None:
                    writer.close()
                writer = None
            self.done += 1
            if reason is not None:
                self.failures[reason] += 1
            await asyncio.sleep(self.pause)
        if writer is not None:
            writer.close()


def _serial(writer: asyncio.StreamWriter) -> int:
    """The serial number of the certificate that the server showed."""
    secure = writer.get_extra_info("ssl_object")
    if secure is None:
        return 0
    certificate = secure.getpeercert()
    return int(certificate["serialNumber"], 16) if certificate else 0
