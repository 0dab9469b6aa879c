"""Backends that speak no HTTP: echo over TCP and UDP, a name server with one answer, and gRPC echo.

They answer as the conformance suite's images do. Each is an asynchronous context manager on one address and
port, as `backend.Backend` is.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import grpc
import grpc.aio

from tests.harness.echo import Identity

GRPC_SERVICE = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho"


def _card(identity: Identity) -> bytes:
    """Who answers, as the suite's TCP and UDP echo say it."""
    fields = {"pod": identity.pod, "namespace": identity.namespace, "service": identity.service}
    return json.dumps(fields, separators=(",", ":")).encode()


@asynccontextmanager
async def tcp(
    identity: Identity, address: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Greets; answers a line `TEST` with who it is, any other with itself."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(f"Welcome to the TCP echo of {identity.pod}\n".encode())
            while line := await reader.readline():
                writer.write(_card(identity) + b"\n" if line.strip() == b"TEST" else line)
                await writer.drain()
        except OSError:
            pass  # the peer went away; there is nobody to tell
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, port, ssl=tls, reuse_address=True)
    try:
        yield
    finally:
        server.close()


class _Udp(asyncio.DatagramProtocol):
    """Answers each datagram by itself."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # which it does not own up to in 3.11

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(data), addr)

    def _answer(self, data: bytes) -> bytes:
        return _card(self._identity)


class _Names(_Udp):
    """A name server that knows 192.0.2.53 for every name, enough to see that a question got through."""

    def _answer(self, data: bytes) -> bytes:
        question = data[12 : data.index(b"\0", 12) + 5]
        head = data[:2] + bytes.fromhex("8580 0001 0001 0000 0000")
        return head + question + bytes.fromhex("c00c 0001 0001 0000003c 0004") + bytes((192, 0, 2, 53))


@asynccontextmanager
async def udp(identity: Identity, address: str, port: int, *, names: bool = False) -> AsyncIterator[None]:
    """Answers every datagram with who it is; with `names`, every DNS question with one address."""
    make = _Names if names else _Udp
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: make(identity), local_addr=(address, port)
    )
    try:
        yield
    finally:
        transport.close()


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, out = len(value), bytearray([number << 3 | 2])
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + value


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that holds length-delimited ones alone, each with a number below 16."""
    at = 0
    while at < len(message):
        number, at = message[at] >> 3, at + 1
        size = shift = 0
        while True:
            byte, at = message[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield number, message[at : at + size]
        at += size


class _GrpcEcho(grpc.GenericRpcHandler):
    """`Echo` and `EchoTwo` answer; `EchoThree` is declared and not implemented, so it is not here."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = details.method
        if method not in (f"/{GRPC_SERVICE}/Echo", f"/{GRPC_SERVICE}/EchoTwo"):
            return None
        who = self._identity
        context = _field(1, who.namespace.encode()) + _field(3, who.service.encode())
        said = _field(1, method.encode()) + _field(4, context + _field(4, who.pod.encode()))

        async def answer(_request: bytes, _context: object) -> bytes:
            return _field(1, said)

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def grpc_echo(identity: Identity, address: str, port: int) -> AsyncIterator[None]:
    """The suite's gRPC echo, without TLS."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([_GrpcEcho(identity)])
    server.add_insecure_port(f"{address}:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)
