"""The asyncio shell of the thin transport, seen by raw sockets: what the gRPC client never does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.ratelimit.transport import base, http2
from dragoman.ratelimit.transport.http2 import frames
from tests.harness import net
from tests.harness.certs import Authority
from tests.unit.ratelimit.transport.peer import headers, message, open_stream, parse
from tests.unit.ratelimit.transport.serving import ECHO, Service

START = frames.PREFACE + frames.settings({}) + frames.SETTINGS_ACK


def call(stream: int, data: bytes = b"hello", *more: tuple[str, str], path: str = ECHO) -> bytes:
    return open_stream(stream, headers(*more, path=path)) + frames.frame(0, 1, stream, message(data))


class Socket:
    """A client that reads what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def frame(self) -> Any:
        head = await asyncio.wait_for(self.reader.readexactly(9), 10)
        (found,) = parse(
            head + await asyncio.wait_for(self.reader.readexactly(int.from_bytes(head[:3], "big")), 10)
        )
        return found

    async def until(self, kind: str, **fields: int) -> Any:
        """The next frame like this."""
        while True:
            found = await self.frame()
            if type(found).__name__ == f"{kind}Frame" and all(
                getattr(found, k) == v for k, v in fields.items()
            ):
                return found

    async def end(self) -> None:
        """Until the server closes."""
        with contextlib.suppress(ConnectionResetError):
            while await asyncio.wait_for(self.reader.read(1 << 16), 10):
                pass


@contextlib.asynccontextmanager
async def connected(service: Service, **settings: Any) -> AsyncIterator[tuple[Socket, http2.Server]]:
    server = http2.Server(base.Settings(**settings), service.handlers)
    port = await server.start()
    socket = Socket(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield socket, server
    finally:
        socket.writer.close()
        await server.stop(0.1)


def shell(server: http2.Server) -> Any:
    (only,) = server.connections
    return only


def record(server: http2.Server) -> list[bytes]:
    """What is written from now on, write by write."""
    transport = shell(server)._transport
    writes: list[bytes] = []

    class Recording:
        def write(self, data: bytes) -> None:
            writes.append(data)
            transport.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

    shell(server)._transport = Recording()
    return writes


async def test_one_read_is_answered_with_one_write() -> None:
    async with connected(Service()) as (socket, server):
        socket.send(START)
        await socket.until("Settings", flags=set())  # type: ignore[arg-type]
        writes = record(server)
        socket.send(*(call(2 * n + 1) for n in range(50)))
        await socket.until("Headers", stream_id=99)
        await socket.until("Headers", stream_id=99)
        assert len(writes) == 1


async def test_answers_of_one_turn_of_the_loop_go_out_in_one_write() -> None:
    service = Service()
    async with connected(service) as (socket, server):
        socket.send(START, *(call(2 * n + 1, path="/test.Echo/Later") for n in range(50)))
        await net.until("arrived", lambda: len(service.calls) == 50)
        await asyncio.sleep(0.05)
        writes = record(server)
        for late in service.calls:
            late.finish(b"done")
        assert writes == []
        await socket.until("Headers", stream_id=99)
        assert len(writes) == 1


async def test_a_peer_that_does_not_read_is_not_read_from() -> None:
    async with connected(Service(), max_concurrent_streams=1 << 20) as (socket, server):
        wide = frames.settings({frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW})
        socket.send(START, wide, frames.window_update(0, 1 << 30))
        socket.reader._limit = 1  # type: ignore[attr-defined]  # StreamReader stops reading at twice this
        calls = 3000  # 50 KB each way
        data = b"".join(call(2 * n + 1, b"x" * 16_000) for n in range(calls))
        socket.send(data)
        await net.until("not read from", lambda: not shell(server)._transport.is_reading())
        assert server.totals().answered < calls
        assert shell(server)._transport.get_write_buffer_size() < 10 << 20
        socket.reader._limit = 1 << 20  # type: ignore[attr-defined]
        for _ in range(2):
            await socket.until("Headers", stream_id=2 * calls - 1)
        assert server.totals().answered == calls


@pytest.mark.parametrize("start", [b"", b"PRI * HTTP", frames.PREFACE])
async def test_who_says_nothing_is_shown_the_door(start: bytes) -> None:
    async with connected(Service(), handshake_timeout=0.1) as (socket, server):
        socket.send(start)
        await socket.end()
        assert not server.connections


async def test_http_1_is_answered_with_goaway() -> None:
    async with connected(Service()) as (socket, server):
        socket.send(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await socket.until("GoAway")).error_code == frames.ErrorCode.PROTOCOL_ERROR
        await socket.end()
        assert server.totals().faults == 1


async def test_stop_sends_two_goaways_and_takes_calls_between_them() -> None:
    service = Service()
    async with connected(service) as (socket, server):
        socket.send(START, call(1, path="/test.Echo/Later"))
        await net.until("arrived", lambda: service.calls)
        stopping = asyncio.create_task(server.stop(10))
        assert (await socket.until("GoAway")).last_stream_id == frames.LARGEST_STREAM
        ping = await socket.until("Ping")
        socket.send(call(3))
        await socket.until("Data", stream_id=3)
        socket.send(frames.ping(ping.opaque_data, ack=True))
        assert (await socket.until("GoAway")).last_stream_id == 3
        socket.send(call(5))
        service.calls[0].finish(b"done")
        await socket.until("Data", stream_id=1)
        await socket.end()
        await stopping
        assert [c.peer.address for c in service.seen] == [
            service.calls[0].peer.address
        ]  # 5 was not looked at


async def test_a_peer_that_acknowledges_nothing_gets_the_second_goaway_all_the_same() -> None:
    async with connected(Service()) as (socket, server):
        socket.send(START, call(1))
        await socket.until("Data", stream_id=1)
        await asyncio.wait_for(server.stop(100), 20)
        found = [(await socket.until("GoAway")).last_stream_id for _ in range(2)]
        assert found == [frames.LARGEST_STREAM, 1]


async def test_stop_does_not_wait_for_ever() -> None:
    service = Service()
    async with connected(service) as (socket, server):
        socket.send(START, call(1, path="/test.Echo/Later"))
        await net.until("arrived", lambda: service.calls)
        await server.stop(0.2)
        await socket.end()
        assert service.cancelled == [0]


async def test_a_connection_past_its_grace_is_closed() -> None:
    service = Service()
    async with connected(service, max_connection_age=0.1, age_grace=0.1) as (socket, _):
        socket.send(START, call(1, path="/test.Echo/Later"))
        await socket.until("GoAway")
        await socket.end()
        assert service.cancelled == [0]


async def test_a_request_taken_back_in_the_same_read_is_not_served() -> None:
    service = Service()
    async with connected(service) as (socket, server):
        socket.send(START, call(1) + frames.rst_stream(1, frames.ErrorCode.CANCEL) + call(3))
        await socket.until("Data", stream_id=3)
        assert len(service.seen) == 1
        assert server.totals().cancelled == 1


async def test_deadlines_of_many_calls_share_a_timer() -> None:
    service = Service()
    async with connected(service) as (socket, server):
        timeouts = ("10S", "300m", "100m", "20S", "200m")
        calls = [
            call(2 * n + 1, b"", ("grpc-timeout", t), path="/test.Echo/Later") for n, t in enumerate(timeouts)
        ]
        socket.send(START, *calls)
        ended = [(await socket.until("Headers")).stream_id for _ in range(3)]
        assert ended == [5, 9, 3]
        assert sorted(service.cancelled) == [1, 2, 4]
        assert shell(server)._alarm is not None


async def test_a_handler_whose_on_cancel_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    async with connected(service) as (socket, _):
        socket.send(START, call(1, path="/test.Echo/Later"))
        await net.until("arrived", lambda: service.calls)
        service.calls[0].on_cancel = lambda: 1 // 0  # type: ignore[assignment, return-value]
        socket.send(frames.rst_stream(1, frames.ErrorCode.CANCEL), call(3))
        await socket.until("Data", stream_id=3)
        assert "a handler failed" in caplog.text
        assert "ZeroDivisionError" in caplog.text


async def test_what_handlers_raise_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(Service()) as (socket, server):
        socket.send(START, *(call(2 * n + 1, b"payload", path="/test.Echo/Fail") for n in range(100)))
        await socket.until("Headers", stream_id=199)
        assert caplog.text.count("a handler failed") == 1
        assert "ValueError" in caplog.text
        assert "payload" not in caplog.text
        server._quiet = 0.0
        socket.send(call(201, path="/test.Echo/FailSoon"))
        await socket.until("Headers", stream_id=201)
        assert "99 more since the last time" in caplog.text


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_tls_without_h2_is_no_connection(tmp_path: Path, protocols: list[str]) -> None:
    authority = Authority()
    pair = authority.issue("localhost")
    (tmp_path / "crt").write_text(pair.certificate)
    (tmp_path / "key").write_text(pair.key)
    tls = base.Tls(tmp_path / "crt", tmp_path / "key")
    server = http2.Server(base.Settings(tls=tls, handshake_timeout=60), Service().handlers)
    port = await server.start()
    context = authority.client_context()
    if protocols:
        context.set_alpn_protocols(protocols)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    writer.write(START)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await server.stop(0.1)


async def test_a_handshake_that_goes_nowhere_is_given_up(tmp_path: Path) -> None:
    pair = Authority().issue("localhost")
    (tmp_path / "crt").write_text(pair.certificate)
    (tmp_path / "key").write_text(pair.key)
    tls = base.Tls(tmp_path / "crt", tmp_path / "key")
    server = http2.Server(base.Settings(tls=tls, handshake_timeout=0.1), Service().handlers)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await server.stop(0.1)
