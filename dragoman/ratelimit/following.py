"""Limits from a control plane: a client of its ADS, for services that run apart from it.

Delta ADS, one type (`resource.LIMITS`). What cannot be read is refused (a NACK that says why) and what was
there before stays; a control plane that is gone is looked for again, and meanwhile limits stay as they are.
`dragoman ratelimit --xds` runs it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from dragoman import proto, resource
from dragoman.ir import model as ir
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.ratelimit import policies, published, rules
from dragoman.telemetry import logs

log: Final = logging.getLogger(__name__)

_METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_PAUSE: Final = 0.25
_LONGEST: Final = 5.0
"""Seconds between two attempts, at first and at most."""
_TIDY: Final = 15.0
_INVALID_ARGUMENT: Final = 3
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """`address`: HOST:PORT of the control plane's xDS. `ca`: TLS, with the authority of its certificate,
    which has the name `name` ("": the host's); `certificate` and `key` are shown to it. `gateways`: whose
    limits, as in a bootstrap."""

    address: str
    gateways: tuple[str, ...] = ("*",)
    node: str = "ratelimit"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str = ""


class Plane:
    """`run` follows until it is cancelled; `load` gets every new table."""

    def __init__(self, settings: Settings, load: Callable[[rules.Table], None]) -> None:
        self._settings = settings
        self._load = load
        self._limits = policies.Limits()
        self._gateways: dict[str, frozenset[ir.RateLimit]] = {}
        self.connected = False

    async def run(self) -> None:
        tidying = asyncio.create_task(self._tidy())
        pause = _PAUSE
        try:
            while True:
                self._fresh = True
                try:
                    async with self._channel() as channel:
                        await self._follow(channel)
                    why = "it ended the stream"
                except (grpc.aio.AioRpcError, OSError) as failure:
                    why = _words(failure)
                if self.connected:
                    pause = _PAUSE
                    log.warning("the control plane is gone (%s); limits stay as they are", why)
                elif pause == _PAUSE:
                    log.warning("no control plane at %s: %s", self._settings.address, why)
                self.connected = False
                await asyncio.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(pause * 2, _LONGEST)
        finally:
            tidying.cancel()

    def _channel(self) -> Any:
        own = self._settings
        if own.ca is None:
            return grpc.aio.insecure_channel(own.address, options=_OPTIONS)
        shown = [path.read_bytes() if path is not None else None for path in (own.key, own.certificate)]
        credentials = grpc.ssl_channel_credentials(own.ca.read_bytes(), *shown)
        named = (("grpc.ssl_target_name_override", own.name),) if own.name else ()
        return grpc.aio.secure_channel(own.address, credentials, options=(*_OPTIONS, *named))

    async def _follow(self, channel: Any) -> None:
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        answers.put_nowait(self._first())

        async def requests() -> AsyncIterator[bytes]:
            while True:
                yield await answers.get()

        call = channel.stream_stream(_METHOD)(requests())
        async for message in call:
            answers.put_nowait(self._take(message))

    def _first(self) -> bytes:
        request = discovery.DeltaDiscoveryRequest(type_url=resource.LIMITS)
        request.node.id = self._settings.node
        request.node.metadata.fields["gateways"].list_value.extend(self._settings.gateways)
        return request.SerializeToString()

    def _take(self, message: bytes) -> bytes:
        """Takes a response, whole or not at all; the answer to it."""
        response = discovery.DeltaDiscoveryResponse.FromString(message)
        answer = discovery.DeltaDiscoveryRequest(type_url=resource.LIMITS, response_nonce=response.nonce)
        try:
            new = {each.name: published.decode(each.resource.value) for each in response.resources}
            # The first response of a stream is all there is: what went meanwhile is not in it.
            kept = {} if self._fresh else self._gateways
            there = {**kept, **new}
            for name in response.removed_resources:
                there.pop(name, None)
            self._gateways = there
            self._fresh = False
            self._reload()
        except (ValueError, proto.DecodeError) as failure:
            # The next one holds what has changed since, and no more.
            self._fresh = False
            log.error("limits of the control plane are refused, those before stay: %s", failure)
            answer.error_detail.code = _INVALID_ARGUMENT
            answer.error_detail.message = str(failure)
            return answer.SerializeToString()
        if not self.connected:
            self.connected = True
            log.info("limits come from %s", self._settings.address)
        return answer.SerializeToString()

    def _reload(self) -> None:
        limits = [limit for those in self._gateways.values() for limit in those]
        table = self._limits.table(limits, time.monotonic())
        self._load(table)
        log.info("rate limits loaded", extra=logs.fields(limits=len(limits)))

    async def _tidy(self) -> None:
        """Lets go limits that are gone, for which somebody might still have asked."""
        while True:
            await asyncio.sleep(_TIDY)
            if self._limits.lingering:
                self._reload()


def _words(failure: Exception) -> str:
    if isinstance(failure, grpc.aio.AioRpcError):
        return f"{failure.code().name}: {failure.details()}"
    return str(failure)
