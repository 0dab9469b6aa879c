"""Both transports for the tests that ask them the same: started on a free port, with handlers that echo."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc.aio

from dragoman.ratelimit.transport import base, grpc_aio, http2

Kind = Literal["thin", "aio"]
ECHO = "/test.Echo/Say"
KINDS: tuple[Kind, ...] = ("thin", "aio")


@dataclass(slots=True)
class Service:
    """What the handlers saw. `calls` are those that were answered LATER, in order of arrival."""

    calls: list[base.Call] = field(default_factory=list)
    seen: list[base.Call] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)

    def echo(self, message: bytes, call: base.Call) -> base.Answer:
        self.seen.append(call)
        return message

    def later(self, message: bytes, call: base.Call) -> base.Answer:
        """Answered by the test."""
        number = len(self.calls)
        self.calls.append(call)
        call.on_cancel = lambda: self.cancelled.append(number)
        return base.LATER

    async def soon(self, message: bytes, call: base.Call) -> base.Outcome:
        await asyncio.sleep(0)
        return message

    def refuse(self, message: bytes, call: base.Call) -> base.Answer:
        return base.Status(base.Code.INVALID_ARGUMENT, "größer als 100 %")

    def fail(self, message: bytes, call: base.Call) -> base.Answer:
        raise ValueError("a secret")

    async def fail_soon(self, message: bytes, call: base.Call) -> base.Outcome:
        raise ValueError("a secret")

    @property
    def handlers(self) -> base.Handlers:
        return {
            ECHO: self.echo,
            "/test.Echo/Later": self.later,
            "/test.Echo/Soon": self.soon,
            "/test.Echo/Refuse": self.refuse,
            "/test.Echo/Fail": self.fail,
            "/test.Echo/FailSoon": self.fail_soon,
        }


def make(kind: Kind, service: Service, **settings: Any) -> http2.Server | grpc_aio.Server:
    made = {"thin": http2.Server, "aio": grpc_aio.Server}[kind]
    return made(base.Settings(**settings), service.handlers)


@contextlib.asynccontextmanager
async def served(kind: Kind, service: Service, **settings: Any) -> AsyncIterator[str]:
    """The target (`127.0.0.1:4711`) of a running server."""
    server = make(kind, service, **settings)
    port = await server.start()
    try:
        yield settings.get("address") if port == 0 else f"127.0.0.1:{port}"  # type: ignore[misc]
    finally:
        await server.stop(0.1)


@contextlib.asynccontextmanager
async def channel(target: str, **more: Any) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(target, **more) as opened:
        yield opened


def method(opened: Any, path: str = ECHO) -> Any:
    """A unary call of bytes."""
    return opened.unary_unary(path)
