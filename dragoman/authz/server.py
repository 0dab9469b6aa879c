"""The companion with everything around it: gRPC, Redis, metrics and health.

`bind` takes the port at once, without waiting, so that Envoys can be told of it before it serves; what comes
in until `start` has run waits in the kernel. Everything listens on loopback unless told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from dragoman import certificates, pages
from dragoman.authz import client as clients, keys, metrics, service
from dragoman.redis import client as redis, url

log: Final = logging.getLogger(__name__)

_DRAIN: Final = 5.0
"""Seconds that calls under way may take at the end."""

Context = Any  # grpc.aio.ServicerContext: grpcio has no types


@dataclass(frozen=True, slots=True)
class Settings:
    """`store`: where the API keys are (`redis.url`), "" for nowhere; `patience`: seconds that Redis may take.
    `most`: tokens that are remembered for each policy. `certificates` None: no TLS. `admin_port` None: no
    metrics and health by HTTP.
    """

    address: str = "127.0.0.1"
    port: int = 0
    certificates: certificates.Certificates | None = None
    admin_address: str = "127.0.0.1"
    admin_port: int | None = None
    store: str = ""
    patience: float = 0.1
    most: int = 20_000


class Server:
    """`bind` (OSError where it cannot), `start`, `stop`. Raises ValueError or OSError for a store that is
    none. `admin_port` is there after `start`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = metrics.Metrics()
        self.port = 0
        self.admin_port = 0
        self._client = clients.Client()
        self._store = (
            redis.Client(url.parse(settings.store), settings.patience, [keys.SCRIPT])
            if settings.store
            else None
        )
        self.service = service.Service(self._client, self._store, self.metrics, most=settings.most)
        self._server: Any = None
        self._admin: pages.Server | None = None

    def bind(self) -> int:
        """The port. To be called within a running event loop."""
        settings = self.settings
        self._server = grpc.aio.server(handlers=(_Handlers(self.service),), options=_OPTIONS)
        unix = settings.address.startswith("unix:")
        host = f"[{settings.address}]" if ":" in settings.address else settings.address
        target = settings.address if unix else f"{host}:{settings.port}"
        try:
            if settings.certificates is None:
                self.port = self._server.add_insecure_port(target)
            else:
                self.port = self._server.add_secure_port(target, settings.certificates.credentials())
        except RuntimeError as failure:
            raise OSError(f"cannot listen on {target}: {failure}") from failure
        return self.port

    async def start(self) -> None:
        """Serves. Raises OSError where metrics cannot."""
        if self._server is None:
            self.bind()
        await self._server.start()
        if self._store is not None:
            await self._store.start()
            if not self._store.up:
                log.warning("Redis does not answer", extra={"fields": {"why": self._store.trouble}})
        if self.settings.admin_port is not None:
            await self._start_admin(self.settings.admin_port)
        log.info("credentials are looked up on %s port %d", self.settings.address, self.port)

    async def stop(self, grace: float = 0.0) -> None:
        """Fails health checks, goes on for `grace` seconds until Envoys have noticed, lets calls under way
        end, and closes."""
        self.service.drain()
        await asyncio.sleep(grace)
        if self._server is not None:
            await self._server.stop(_DRAIN if grace else 0.0)
        await self.service.stop()
        await self._client.stop()
        if self._admin is not None:
            await self._admin.stop()
        if self._store is not None:
            await self._store.stop()

    async def _start_admin(self, port: int) -> None:
        app = pages.application(self._health, self.metrics.text)
        self._admin = pages.Server(app, self.settings.admin_address, port)
        self.admin_port = await self._admin.start()

    def _health(self) -> tuple[bool, dict[str, object]]:
        """A Redis that is away is told, and no reason to go."""
        said: dict[str, object] = {"ready": self.service.ready}
        if self._store is not None:
            said["redis"] = self._store.up
        return self.service.ready, said


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods, by full path."""

    def __init__(self, target: service.Service) -> None:
        self._service = target
        self._methods = {
            service.CHECK: grpc.unary_unary_rpc_method_handler(self._check),
            service.HEALTH_CHECK: grpc.unary_unary_rpc_method_handler(self._health),
            service.HEALTH_WATCH: grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def service(self, details: Any) -> Any:
        return self._methods.get(details.method)

    async def _check(self, message: bytes, context: Context) -> bytes:
        try:
            return await self._service.check(message)
        except service.BadRequest as failure:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(failure))
            raise AssertionError("abort raises") from None

    async def _health(self, message: bytes, context: Context) -> bytes:
        try:
            found = self._service.health(message)
        except service.BadRequest as failure:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(failure))
            raise AssertionError("abort raises") from None
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            raise AssertionError("abort raises")
        return found

    async def _watch(self, message: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async for state in self._service.watch(message):
                yield state
        except service.BadRequest as failure:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(failure))


_OPTIONS: Final = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
]
