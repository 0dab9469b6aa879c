"""The fallback transport on grpc.aio: the same handlers, some twenty times the cost per call.

It is also the one that can stream: quota assignments, health watches and reflection are `StreamHandlers`
here. Payloads stay bytes; gRPC itself looks after windows, floods, ages and deadlines. The service starts and
stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from dragoman import certificates
from dragoman.ratelimit.transport import base

log: Final = logging.getLogger(__name__)

Context = Any  # grpc.aio.ServicerContext: grpcio has no types

_SAN: Final = "x509_subject_alternative_name"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_FAILED: Final = base.Status(base.Code.INTERNAL, "internal error")


class Server:
    """The transport on grpc.aio (`base.Server`)."""

    def __init__(
        self, settings: base.Settings, handlers: base.Handlers, streams: base.StreamHandlers | None = None
    ) -> None:
        self._settings = settings
        self._methods: dict[str, Any] = {
            path: grpc.unary_unary_rpc_method_handler(_unary(handler)) for path, handler in handlers.items()
        }
        for path, handler in (streams or {}).items():
            self._methods[path] = grpc.stream_stream_rpc_method_handler(_stream(handler))
        self._server: Any = None

    async def start(self) -> int:
        settings = self._settings
        self._server = grpc.aio.server(handlers=(_Generic(self._methods),), options=_options(settings))
        unix = settings.address.startswith("unix:")
        host = f"[{settings.address}]" if ":" in settings.address else settings.address
        target = settings.address if unix else f"{host}:{settings.port}"
        try:
            if settings.tls is None:
                port: int = self._server.add_insecure_port(target)
            else:
                credentials = certificates.Certificates(settings.tls, "the rate-limit service").credentials()
                port = self._server.add_secure_port(target, credentials)
        except RuntimeError as failure:
            raise OSError(f"cannot listen on {target}: {failure}") from failure
        await self._server.start()
        log.info("rate limits (grpc.aio) on %s port %d", settings.address, port)
        return 0 if unix else port

    async def stop(self, drain: float | None = None) -> None:
        if self._server is not None:
            await self._server.stop(self._settings.drain if drain is None else drain)
            self._server = None


class _Generic(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Methods by full path."""

    def __init__(self, methods: dict[str, Any]) -> None:
        self._methods = methods

    def service(self, details: Any) -> Any:
        return self._methods.get(details.method)


class _Call(base.Call):
    """A call whose `finish` wakes the coroutine that gRPC runs for it."""

    __slots__ = ("outcome",)

    def __init__(self, context: Context) -> None:
        left = context.time_remaining()
        loop = asyncio.get_running_loop()
        super().__init__(_peer(context), None if left is None else loop.time() + left, _metadata(context))
        self.outcome: asyncio.Future[base.Outcome] = loop.create_future()

    def finish(self, outcome: base.Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def _unary(handler: base.Handler) -> Any:
    async def serve(message: bytes, context: Context) -> bytes:
        call = _Call(context)
        try:
            answer = handler(message, call)
            if answer is base.LATER:
                answer = call.outcome
            outcome = await answer if isinstance(answer, Awaitable) else answer
        except asyncio.CancelledError:
            call.cancelled = True
            call.outcome.cancel()
            if call.on_cancel is not None:
                call.on_cancel()
            raise
        except Exception:
            # The supervisor of one call: a fault is logged and ends this one.
            log.exception("a handler failed")
            outcome = _FAILED
        if isinstance(outcome, base.Status):
            await context.abort(_CODES[outcome.code], outcome.message)
            raise AssertionError("abort raises")
        return outcome

    return serve


def _stream(handler: base.StreamHandler) -> Any:
    async def serve(requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            async with contextlib.aclosing(handler(requests, _peer(context))) as responses:
                async for response in responses:
                    await context.write(response)
        except base.StatusError as failure:
            end = failure.status
        except Exception:
            log.exception("a stream handler failed")
            end = _FAILED
        else:
            return
        await context.abort(_CODES[end.code], end.message)

    return serve


def _peer(context: Context) -> base.Peer:
    kind, _, address = context.peer().partition(":")
    names = tuple(name.decode(errors="replace") for name in context.auth_context().get(_SAN, ()))
    return base.Peer("unix:" if kind == "unix" else unquote(address), names)


def _metadata(context: Context) -> base.Metadata:
    return tuple(
        (name, value if isinstance(value, str) else value.decode("latin-1"))
        for name, value in context.invocation_metadata()
        if name != "user-agent"
    )


def _options(settings: base.Settings) -> list[tuple[str, int]]:
    """gRPC's channel arguments."""
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_receive_message_length", settings.max_message),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_list),
        ("grpc.absolute_max_metadata_size", settings.max_header_list),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ]
    if settings.max_connection_age > 0:
        options += [
            ("grpc.max_connection_age_ms", int(settings.max_connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", int(settings.age_grace * 1000)),
        ]
    return options
