"""Spans of decisions, for requests that Envoy traces: OTLP over gRPC, in batches.

Envoy hands a trace on to the service by `traceparent` (W3C Trace Context); a call without one, or with one
that is not sampled, costs a look. Spans that nobody takes are dropped, and counted: no decision waits for a
collector. Made by `server`, fed by `service`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

import grpc
import grpc.aio

from dragoman.proto.opentelemetry.proto.collector.trace import v1 as collector
from dragoman.proto.opentelemetry.proto.common import v1 as common
from dragoman.proto.opentelemetry.proto.trace import v1 as trace

log: Final = logging.getLogger(__name__)

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
NAME: Final = "dragoman-ratelimit"

MOST: Final = 2048
"""Spans that wait to be sent."""
_BATCH: Final = 512
_PAUSE: Final = 1.0
_PATIENCE: Final = 5.0
_PARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1
_NOBODY: Final = ("0" * 32, "0" * 16)


class Parent(NamedTuple):
    """Whose child a span is; hexadecimal."""

    trace: str
    span: str


class _Span(NamedTuple):
    parent: Parent
    begun: int
    ended: int
    domain: str
    denied: bool
    limits: tuple[str, ...]


def parent(metadata: Iterable[tuple[str, str]]) -> Parent | None:
    """The caller's span, if it is sampled."""
    for name, value in metadata:
        if name == "traceparent":
            found = _PARENT.fullmatch(value)
            if found is None or value.startswith("ff") or {found[1], found[2]} & set(_NOBODY):
                return None
            return Parent(found[1], found[2]) if int(found[3], 16) & _SAMPLED else None
    return None


class Tracer:
    """`start` in a running event loop. `sent`, `dropped`: spans."""

    def __init__(self, address: str) -> None:
        self.sent = self.dropped = 0
        self._address = address
        self._spans: list[_Span] = []
        self._work: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        self._work = asyncio.create_task(self._run(), name="traces")

    async def stop(self) -> None:
        """What is there is sent, if somebody takes it."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    def decided(self, of: Parent, seconds: float, domain: str, denied: bool, limits: tuple[str, ...]) -> None:
        """A decision was made, in so many seconds until now."""
        if len(self._spans) >= MOST:
            self.dropped += 1
            return
        now = time.time_ns()
        self._spans.append(_Span(of, now - int(seconds * 1e9), now, domain, denied, limits))

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            export = channel.unary_unary(METHOD)
            try:
                while True:
                    await asyncio.sleep(_PAUSE)
                    while self._spans:
                        await self._send(export)
            except asyncio.CancelledError:
                await self._send(export)
                raise

    async def _send(self, export: grpc.aio.UnaryUnaryMultiCallable) -> None:
        batch, self._spans = self._spans[:_BATCH], self._spans[_BATCH:]
        if not batch:
            return
        try:
            await export(_request(batch), timeout=_PATIENCE)
        except grpc.aio.AioRpcError as failure:
            self.dropped += len(batch)
            if not self._failing:
                log.warning("no traces are taken at %s: %s", self._address, failure.code().name)
            self._failing = True
            return
        self.sent += len(batch)
        if self._failing:
            log.info("traces are taken again at %s", self._address)
        self._failing = False


def _request(spans: Iterable[_Span]) -> bytes:
    message = collector.ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.append(_text("service.name", NAME))
    target = resource.scope_spans.add()
    target.scope.name = NAME
    for span in spans:
        made = target.spans.add(
            trace_id=bytes.fromhex(span.parent.trace),
            parent_span_id=bytes.fromhex(span.parent.span),
            span_id=os.urandom(8),
            name="ShouldRateLimit",
            kind=trace.Span.SPAN_KIND_SERVER,
            start_time_unix_nano=span.begun,
            end_time_unix_nano=span.ended,
        )
        made.attributes.append(_text("ratelimit.domain", span.domain))
        made.attributes.append(_text("ratelimit.outcome", "over_limit" if span.denied else "ok"))
        for name in span.limits:
            made.attributes.append(_text("ratelimit.limit", name))
    return message.SerializeToString()


def _text(key: str, value: str) -> common.KeyValue:
    made = common.KeyValue(key=key)
    made.value.string_value = value
    return made
