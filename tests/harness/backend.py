"""Echo backends on asyncio: HTTP/1.1 with keep-alive, TLS and WebSocket; and HTTP/2 without TLS.

`Backend` is one listening socket of one pod. It counts open connections and requests in flight, so that a
test can tell when Envoy has let go of it (`idle`), and it never closes a connection on its own before `stop`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Callable
from typing import Any, Literal, Self

import h2.config
import h2.connection
import h2.events

from tests.harness.echo import Answer, Echo, Request, Tls

_REASONS = {
    200: "OK",
    204: "No Content",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _note_name(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    """Keeps the name that the client asks for: `ssl` tells it at this moment only."""
    connection.asked_for = name or ""  # type: ignore[attr-defined]


def _tls(transport: asyncio.Transport) -> Tls | None:
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    peer = connection.getpeercert(binary_form=True)
    return Tls(
        connection.version() or "",
        getattr(connection, "asked_for", ""),
        ssl.DER_cert_to_PEM_cert(peer) if peer else "",
    )


class Backend:
    """`async with Backend(Echo(Identity("v1"))) as backend: backend.port`."""

    def __init__(
        self,
        echo: Echo,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        protocol: Literal["http/1.1", "h2c"] = "http/1.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.echo = echo
        self.address = address
        self.port = port
        self.connections: set[_Http1 | _Http2] = set()
        self.in_flight = 0
        self.served = 0
        self._make = _Http1 if protocol == "http/1.1" else _Http2
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def name(self) -> str:
        return self.echo.identity.pod

    @property
    def idle(self) -> bool:
        """No connection open: nobody is using this backend any more."""
        return not self.connections

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            note: Any = _note_name  # `ssl` says something else of its type from one run of mypy to the next
            self._tls.sni_callback = note
        self._server = await loop.create_server(
            lambda: self._make(self), self.address, self.port, ssl=self._tls, reuse_address=True, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the socket and every connection at once; a request in flight is lost."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Connection(asyncio.Protocol):
    """What both protocols share: the transport, and being counted."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._timers: set[asyncio.TimerHandle] = set()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._backend.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.connections.discard(self)
        for timer in self._timers:
            timer.cancel()
        self._backend.in_flight -= len(self._timers)
        self._timers.clear()

    def abort(self) -> None:
        self.transport.abort()

    def later(self, delay: float, send: Callable[..., None], *arguments: object) -> None:
        """Calls `send` after `delay` seconds, unless the connection goes away first."""
        self._backend.in_flight += 1

        def fire() -> None:
            self._timers.discard(handle)
            self._backend.in_flight -= 1
            self._backend.served += 1
            send(*arguments)

        handle = asyncio.get_running_loop().call_later(delay, fire)
        self._timers.add(handle)


class _Http1(_Connection):
    """HTTP/1.1, requests one after the other on a connection (Envoy does not pipeline)."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._buffer = b""
        self._websocket = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if self._websocket:
                if not self._frame():
                    return
                continue
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = tuple((n, v.strip()) for n, _, v in (line.partition(":") for line in head[1:]))
            lowered = {name.lower(): value for name, value in headers}
            after = self._body_end(end + 4, lowered)
            if after is None:
                return
            self._buffer = self._buffer[after:]
            method, target, proto = head[0].split(" ", 2)
            request = Request(method, target, lowered.get("host", ""), proto, headers, _tls(self.transport))
            self._handle(request, lowered)

    def _body_end(self, start: int, headers: dict[str, str]) -> int | None:
        """Where the body ends in the buffer; None until it is all there."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            end = self._buffer.find(b"0\r\n\r\n", start)
            return None if end < 0 else end + 5
        end = start + int(headers.get("content-length", 0))
        return end if len(self._buffer) >= end else None

    def _handle(self, request: Request, headers: dict[str, str]) -> None:
        if headers.get("upgrade", "").lower() == "websocket":
            self._upgrade(headers)
            return
        answer = self._backend.echo.answer(request)
        if answer.delay:
            self.later(answer.delay, self._send, answer, request.method)
        else:
            self._backend.served += 1
            self._send(answer, request.method)

    def _send(self, answer: Answer, method: str) -> None:
        if answer.reset:
            self.transport.abort()
            return
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status != 204:
            lines.append(f"content-length: {len(answer.body)}")
        body = b"" if method == "HEAD" or answer.status == 204 else answer.body
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def _upgrade(self, headers: dict[str, str]) -> None:
        key = headers.get("sec-websocket-key", "")
        accept = base64.b64encode(
            hashlib.sha1((key + _WEBSOCKET).encode(), usedforsecurity=False).digest()
        ).decode()
        self._websocket = True
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            + f"sec-websocket-accept: {accept}\r\nx-pod: {self._backend.name}\r\n\r\n".encode()
        )

    def _frame(self) -> bool:
        """Echoes one short frame (unmasked, as servers send); False until one is complete."""
        data = self._buffer
        if len(data) < 2:
            return False
        length = data[1] & 0x7F
        masked = data[1] & 0x80
        start = 6 if masked else 2
        if length > 125 or len(data) < start + length:
            if length > 125:
                self.transport.abort()
            return False
        payload = (
            bytes(b ^ data[2 + i % 4] for i, b in enumerate(data[start : start + length]))
            if masked
            else data[start : start + length]
        )
        self._buffer = data[start + length :]
        if data[0] & 0x0F == 8:
            self.transport.close()
            return False
        self.transport.write(bytes([data[0], length]) + payload)
        return True


class _Http2(_Connection):
    """HTTP/2 with prior knowledge, requests answered as they end."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self._requests: dict[int, list[tuple[str, str]]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._requests[event.stream_id] = [(str(n), str(v)) for n, v in event.headers]
            elif isinstance(event, h2.events.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self._requests.pop(event.stream_id, None)
            if isinstance(event, h2.events.StreamEnded):
                self._handle(event.stream_id, self._requests.pop(event.stream_id))
        self._flush()

    def _handle(self, stream: int, headers: list[tuple[str, str]]) -> None:
        pseudo = {name: value for name, value in headers if name.startswith(":")}
        plain = tuple((name, value) for name, value in headers if not name.startswith(":"))
        request = Request(pseudo[":method"], pseudo[":path"], pseudo.get(":authority", ""), "HTTP/2.0", plain)
        answer = self._backend.echo.answer(request)
        if answer.delay:
            self.later(answer.delay, self._send, stream, answer)
        else:
            self._backend.served += 1
            self._send(stream, answer)

    def _send(self, stream: int, answer: Answer) -> None:
        if answer.reset:
            self._h2.reset_stream(stream, 2)
        else:
            headers = [
                (":status", str(answer.status)),
                *answer.headers,
                ("content-length", str(len(answer.body))),
            ]
            self._h2.send_headers(stream, headers)
            self._h2.send_data(stream, answer.body, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.transport.write(data)
