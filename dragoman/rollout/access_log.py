"""Envoy's reports of requests under a rollout (envoy.service.accesslog.v3): a stream of access log entries.

The connection manager's log (`envoy/reports.py`) sends those of routes that carry a Rollout's name, and no
others. What is kept of an entry is the Rollout, the backend, whether it went well and how long it took;
paths, addresses and headers are dropped here. It is served on the xDS port, to nodes that xDS would serve.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from dragoman import config, proto
from dragoman.envoy import naming, reports
from dragoman.proto import texts
from dragoman.proto.envoy.data.accesslog import v3 as data
from dragoman.proto.envoy.service.accesslog import v3 as als
from dragoman.refs import Ref
from dragoman.xds import auth, groups, wire

log: Final = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.accesslog.v3.AccessLogService"
_SERVERS_FAULT: Final = frozenset({"2", "4", "12", "13", "14", "15"})
"""gRPC statuses: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS."""


@dataclass(frozen=True, slots=True)
class Request:
    """A finished request. `rollout` is namespace/name, `backend` object and port (0: none), `seconds` until
    the backend's last byte."""

    rollout: str
    backend: tuple[Ref, int]
    good: bool
    seconds: float


class Service:
    """`handler` goes to the gRPC server; `heard` gets what each message says."""

    def __init__(self, settings: config.Xds, heard: Callable[[list[Request]], None]) -> None:
        self._settings = settings
        self._heard = heard
        self._streams: set[asyncio.Task[Any]] = set()

    def handler(self) -> Any:
        """The generic handler of the service."""
        method = grpc.stream_unary_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {"StreamAccessLogs": method})

    def close(self) -> None:
        """Ends every stream; Envoy opens another one elsewhere, or when we are back."""
        for stream in self._streams:
            stream.cancel()

    async def _serve(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            return await self._listen(messages, context)
        finally:
            self._streams.discard(task)

    async def _listen(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        known = False
        async for raw in messages:
            try:
                message = texts.parse(als.StreamAccessLogsMessage, raw)
            except proto.DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an access log message")
                raise
            if not known:
                refusal = self._refusal(message, context)
                if refusal is not None:
                    who = context.peer()
                    log.warning("DRG4102 access logs of %s are turned away: %s", who, refusal.message)
                    await context.abort(grpc.StatusCode[refusal.code], refusal.message)
                known = True
            found = list(requests(message))
            if found:
                self._heard(found)
        return als.StreamAccessLogsResponse().SerializeToString()

    def _refusal(self, message: Any, context: Any) -> groups.Refusal | None:
        """Whoever may not have configuration has nothing to say about it either."""
        node = wire.node_of(message.identifier.node)
        if not node.id:
            return groups.Refusal("INVALID_ARGUMENT", "missing node information")
        admission = groups.resolve(self._settings.nodes, node, auth.peer_of(context))
        return admission if isinstance(admission, groups.Refusal) else None


def requests(message: Any) -> Iterator[Request]:
    """What a message says of finished requests that a backend had, or should have had."""
    for entry in message.http_logs.log_entry:
        common = entry.common_properties
        rollout = common.custom_tags.get(reports.TAG, "")
        backend = naming.backend_of(common.upstream_cluster)
        code = entry.response.response_code.value
        if not rollout or backend is None or not code:
            continue  # without a code the client went away before there was an answer
        yield Request(rollout, backend, _good(entry.response, code), _seconds(common))


def _good(response: Any, code: int) -> bool:
    if code >= 500:
        return False
    status = response.response_trailers.get("grpc-status") or response.response_headers.get("grpc-status")
    return status not in _SERVERS_FAULT


def _seconds(common: data.AccessLogCommon) -> float:
    took = common.duration
    if common.HasField("time_to_last_upstream_rx_byte"):
        took = common.time_to_last_upstream_rx_byte
    return float(took.seconds) + took.nanos / 1e9
