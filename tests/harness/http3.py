"""An HTTP/3 client on aioquic: one request on a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent

Answer = tuple[int, dict[str, str], bytes]


class _Client(QuicConnectionProtocol):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._http = H3Connection(self._quic)
        self._headers: dict[str, str] = {}
        self._body = b""
        self._done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated) and not self._done.done():
            self._done.set_exception(ConnectionError(event.reason_phrase))
        for one in self._http.handle_event(event):
            if isinstance(one, HeadersReceived):
                self._headers.update({name.decode(): value.decode() for name, value in one.headers})
            elif isinstance(one, DataReceived):
                self._body += one.data
            if isinstance(one, HeadersReceived | DataReceived) and one.stream_ended and not self._done.done():
                self._done.set_result((int(self._headers[":status"]), self._headers, self._body))

    async def get(self, host: str, path: str) -> Answer:
        stream = self._quic.get_next_available_stream_id()
        head = ((":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path))
        encoded = [(name.encode(), value.encode()) for name, value in head]
        self._http.send_headers(stream, encoded, end_stream=True)
        self.transmit()
        return await self._done


async def get(port: int, host: str, path: str = "/", *, limit: float = 10) -> Answer:
    """Status, headers, body. The server's certificate is not checked. Raises ConnectionError where nobody
    speaks HTTP/3."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        server_name=host,
        verify_mode=ssl.CERT_NONE,
        idle_timeout=limit,
    )
    try:
        async with (
            asyncio.timeout(limit),
            connect("127.0.0.1", port, configuration=configuration, create_protocol=_Client) as client,
        ):
            assert isinstance(client, _Client)
            return await client.get(host, path)
    except TimeoutError as late:
        raise ConnectionError("nobody answers") from late
