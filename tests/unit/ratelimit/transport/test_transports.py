"""Both transports seen by the gRPC client: the same handlers, the same answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from dragoman.ratelimit.transport import base
from tests.harness import net
from tests.harness.certs import Authority, Pair
from tests.unit.ratelimit.transport.serving import ECHO, KINDS, Kind, Service, channel, make, method, served

both = pytest.mark.parametrize("kind", KINDS)
StatusCode = grpc.StatusCode


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


@both
async def test_calls_of_every_kind(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    async with served(kind, Service()) as target, channel(target) as opened:
        assert await method(opened)(b"hello") == b"hello"
        assert await method(opened)(b"") == b""
        assert await method(opened, "/test.Echo/Soon")(b"hello") == b"hello"
        refused = await failure(method(opened, "/test.Echo/Refuse")(b"x"))
        assert refused == (StatusCode.INVALID_ARGUMENT, "größer als 100 %")
        code, _ = await failure(method(opened, "/test.Echo/Nothing")(b"x"))
        assert code is StatusCode.UNIMPLEMENTED
        with caplog.at_level(logging.CRITICAL):
            for path in ("/test.Echo/Fail", "/test.Echo/FailSoon"):
                assert await failure(method(opened, path)(b"x")) == (StatusCode.INTERNAL, "internal error")


@both
async def test_many_calls_at_once_over_several_connections(kind: Kind) -> None:
    calls = 300
    async with served(kind, Service()) as target, contextlib.AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        opened = [await stack.enter_async_context(channel(target, options=options)) for _ in range(4)]
        messages = [f"{n}".encode() * (n % 50) for n in range(calls)]
        answers = await asyncio.gather(
            *(method(opened[n % 4])(data, timeout=30) for n, data in enumerate(messages))
        )
        assert answers == messages


@both
async def test_large_messages_up_to_the_limit(kind: Kind) -> None:
    async with served(kind, Service(), max_message=300_000) as target, channel(target) as opened:
        for size in (16_379, 16_380, 65_535, 300_000):
            data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            assert await method(opened)(data) == data
        answers = await asyncio.gather(*(method(opened)(bytes([n]) * 200_000) for n in range(20)))
        assert answers == [bytes([n]) * 200_000 for n in range(20)]
        code, _ = await failure(method(opened)(b"x" * 300_001))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert await method(opened)(b"still there") == b"still there"


@both
async def test_headers_up_to_the_limit(kind: Kind) -> None:
    service = Service()
    async with served(kind, service, max_header_list=4096) as target, channel(target) as opened:
        await method(opened)(b"", metadata=[("x-tenant", "gold"), ("x-long", "v" * 2000)])
        assert ("x-tenant", "gold") in service.seen[0].metadata
        code, _ = await failure(method(opened)(b"", metadata=[("x-long", "v" * 8000)]))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert await method(opened)(b"still there") == b"still there"


@both
async def test_the_handler_knows_peer_and_deadline(kind: Kind) -> None:
    service = Service()
    async with served(kind, service) as target, channel(target) as opened:
        await method(opened)(b"")
        now = asyncio.get_running_loop().time()
        await method(opened)(b"", timeout=60)
    first, second = service.seen
    assert first.deadline is None
    assert second.deadline is not None
    assert now < second.deadline <= now + 61
    assert first.peer.address.startswith("127.0.0.1:")
    assert first.peer.names == ()


@both
async def test_late_answers_in_any_order(kind: Kind) -> None:
    service = Service()
    async with served(kind, service) as target, channel(target) as opened:
        calls = [method(opened, "/test.Echo/Later")(b"x") for _ in range(20)]
        await net.until("all arrived", lambda: len(service.calls) == 20)
        for number, call in reversed(list(enumerate(service.calls))):
            call.finish(b"late %d" % number if number % 2 else base.Status(base.Code.UNAVAILABLE, "no"))
            call.finish(b"twice")
        for number, answer in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
            if isinstance(answer, grpc.aio.AioRpcError):
                assert answer.code() is StatusCode.UNAVAILABLE
            else:
                assert answer.startswith(b"late "), number
        assert service.cancelled == []


@both
async def test_a_passed_deadline_ends_the_call_on_both_sides(kind: Kind) -> None:
    service = Service()
    async with served(kind, service) as target, channel(target) as opened:
        slow = method(opened, "/test.Echo/Later")
        patient = slow(b"x", timeout=60)
        code, _ = await failure(slow(b"x", timeout=0.1))
        assert code is StatusCode.DEADLINE_EXCEEDED
        await net.until("cancelled", lambda: service.cancelled)
        ended = service.cancelled[0]
        assert service.calls[ended].cancelled
        service.calls[ended].finish(b"too late")
        service.calls[1 - ended].finish(b"in time")
        assert await patient == b"in time"


@both
async def test_a_cancelled_call_reaches_the_handler(kind: Kind) -> None:
    service = Service()
    async with served(kind, service) as target, channel(target) as opened:
        call, other = (method(opened, "/test.Echo/Later")(b"x") for _ in range(2))
        await net.until("arrived", lambda: len(service.calls) == 2)
        call.cancel()
        await net.until("cancelled", lambda: service.cancelled)
        for late in service.calls:
            late.finish(b"done")
        assert await other == b"done"
        assert len(service.cancelled) == 1


@both
async def test_a_lost_connection_cancels_its_calls(kind: Kind) -> None:
    service = Service()
    async with served(kind, service) as target:
        async with channel(target) as opened:
            call = method(opened, "/test.Echo/Later")(b"x")
            await net.until("arrived", lambda: service.calls)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await call
        await net.until("cancelled", lambda: service.cancelled)


@both
async def test_unix_sockets(kind: Kind, tmp_path: Path) -> None:
    service = Service()
    address = f"unix:{tmp_path}/rls.sock"
    async with served(kind, service, address=address) as target, channel(target) as opened:
        assert await method(opened)(b"hello") == b"hello"
    assert service.seen[0].peer.address == "unix:"
    assert not (tmp_path / "rls.sock").exists()


@both
async def test_a_stopping_server_finishes_what_it_has(kind: Kind) -> None:
    service = Service()
    server = make(kind, service)
    target = f"127.0.0.1:{await server.start()}"
    async with channel(target) as opened:
        call = method(opened, "/test.Echo/Later")(b"x")
        await net.until("arrived", lambda: service.calls)
        stopping = asyncio.create_task(server.stop(20))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        service.calls[0].finish(b"done")
        assert await call == b"done"
        await stopping


@both
async def test_connections_of_age_are_renewed_without_a_failed_call(kind: Kind) -> None:
    service = Service()
    async with served(kind, service, max_connection_age=0.3) as target, channel(target) as opened:
        end = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < end:
            assert await method(opened)(b"hello") == b"hello"
            await asyncio.sleep(0.005)
    assert len({call.peer.address for call in service.seen}) >= 3


@both
async def test_an_address_in_use_is_an_os_error(kind: Kind) -> None:
    async with served("thin", Service()) as target:
        with pytest.raises(OSError):
            await make(kind, Service(), port=int(target.rpartition(":")[2])).start()


# Transport security.

AUTHORITY, STRANGERS = Authority("rls"), Authority("strangers")


def write(folder: Path, pair: Pair, authority: Authority | None = None) -> base.Tls:
    """The files, each replaced in one go."""
    texts = {"tls.crt": pair.certificate, "tls.key": pair.key}
    if authority is not None:
        texts["ca.crt"] = authority.pem
    for name, text in texts.items():
        (folder / f"{name}.new").write_text(text)
        (folder / f"{name}.new").rename(folder / name)
    return base.Tls(folder / "tls.crt", folder / "tls.key", folder / "ca.crt" if authority else None)


def credentials(authority: Authority, pair: Pair | None = None) -> grpc.ChannelCredentials:
    key, chain = (pair.key.encode(), pair.certificate.encode()) if pair else (None, None)
    return grpc.ssl_channel_credentials(authority.pem.encode(), key, chain)


async def asked(target: str, allowed: grpc.ChannelCredentials) -> bytes | grpc.StatusCode:
    """The answer over a connection of its own, or how the call failed."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(target, allowed, options=options) as opened:
        try:
            return await method(opened)(b"hello", timeout=20)  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError as error:
            return error.code()  # type: ignore[no-any-return]


async def becomes(expected: bytes | grpc.StatusCode, target: str, allowed: grpc.ChannelCredentials) -> None:
    """The thin transport looks at its files once a second, gRPC at each handshake."""

    async def so() -> bool:
        return await asked(target, allowed) == expected

    await net.until(f"{expected!r}", so)


@both
async def test_tls_and_its_certificate_is_replaced(kind: Kind, tmp_path: Path) -> None:
    first = AUTHORITY.issue("127.0.0.1", "localhost")
    async with served(kind, Service(), tls=write(tmp_path, first)) as target:
        # By name and by address: with and without a server name in the handshake.
        named = target.replace("127.0.0.1", "localhost")
        assert await asked(target, credentials(AUTHORITY)) == b"hello"
        assert await asked(named, credentials(AUTHORITY)) == b"hello"
        assert await asked(target, credentials(STRANGERS)) is StatusCode.UNAVAILABLE
        write(tmp_path, STRANGERS.issue("127.0.0.1", "localhost"))
        await becomes(b"hello", target, credentials(STRANGERS))
        assert await asked(named, credentials(STRANGERS)) == b"hello"
        assert await asked(target, credentials(AUTHORITY)) is StatusCode.UNAVAILABLE


@both
async def test_a_broken_new_certificate_changes_nothing(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = AUTHORITY.issue("127.0.0.1")
    async with served(kind, Service(), tls=write(tmp_path, first)) as target:
        (tmp_path / "tls.crt").write_text(AUTHORITY.issue("127.0.0.1").certificate)
        assert await asked(target, credentials(AUTHORITY)) == b"hello"
        await net.until("said", lambda: "DRG4103" in caplog.text)
        assert await asked(target, credentials(AUTHORITY)) == b"hello"


@both
async def test_clients_must_show_a_certificate_of_the_authority(kind: Kind, tmp_path: Path) -> None:
    service = Service()
    tls = write(tmp_path, AUTHORITY.issue("127.0.0.1"), AUTHORITY)
    async with served(kind, service, tls=tls) as target:
        client = AUTHORITY.issue("envoy.example", "10.0.0.1")
        assert await asked(target, credentials(AUTHORITY, client)) == b"hello"
        assert set(service.seen[0].peer.names) == {"envoy.example", "10.0.0.1"}
        stranger = STRANGERS.issue("envoy.example")
        assert await asked(target, credentials(AUTHORITY, stranger)) is StatusCode.UNAVAILABLE
        assert await asked(target, credentials(AUTHORITY)) is StatusCode.UNAVAILABLE
        # The authority is read again too: the old one is no longer good.
        write(tmp_path, AUTHORITY.issue("127.0.0.1"), STRANGERS)
        await becomes(b"hello", target, credentials(AUTHORITY, stranger))
        assert await asked(target, credentials(AUTHORITY, client)) is StatusCode.UNAVAILABLE


@both
async def test_a_missing_certificate_is_an_os_error(kind: Kind, tmp_path: Path) -> None:
    tls = base.Tls(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(OSError):
        await make(kind, Service(), tls=tls).start()


async def test_the_fallback_carries_streams() -> None:
    from collections.abc import AsyncGenerator, AsyncIterator

    from dragoman.ratelimit.transport import grpc_aio

    async def count(requests: AsyncIterator[bytes], peer: base.Peer) -> AsyncGenerator[bytes, None]:
        async for request in requests:
            if request == b"stop":
                raise base.StatusError(base.Status(base.Code.FAILED_PRECONDITION, "stopped"))
            yield request * 2

    server = grpc_aio.Server(base.Settings(), {ECHO: Service().echo}, {"/test.Echo/Stream": count})
    async with channel(f"127.0.0.1:{await server.start()}") as opened:
        stream = opened.stream_stream("/test.Echo/Stream")(iter([b"a", b"b", b"stop", b"c"]))
        assert [await stream.read(), await stream.read()] == [b"aa", b"bb"]
        assert await failure(stream.read()) == (StatusCode.FAILED_PRECONDITION, "stopped")
        assert await method(opened)(b"unary too") == b"unary too"
    await server.stop(0.1)
