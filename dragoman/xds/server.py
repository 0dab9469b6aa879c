"""The gRPC shell around the sessions: grpc.aio, generic handlers, raw bytes.

Per stream one task reads requests into the session and one writes the responses it has; a changed view wakes
the writers. Nothing is queued, so a slow reader costs nothing but its own stream (rules 81, 82). The runtime
starts and stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from dragoman import certificates, config
from dragoman.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SCOPE, SECRET, SHORT
from dragoman.xds import auth, csds, groups, wire
from dragoman.xds.lazy import Lazy
from dragoman.xds.ledger import Ledger, Stream
from dragoman.xds.session import ProtocolError, Session
from dragoman.xds.snapshot import Without
from dragoman.xds.throttle import Place, Throttle
from dragoman.xds.types import Node, Peer, Provider, ResourceView, Transitions
from dragoman.xds.whole import Whole, knows_chains
from dragoman.xds.wire import Encoder, Form

log: Final = logging.getLogger(__name__)

Context = Any  # grpc.aio.ServicerContext: grpcio has no types
Handler = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A discovery service: `Stream<noun>` and `Delta<noun>`. `only` None: aggregated."""

    name: str
    noun: str
    only: str | None


SERVICES: Final = (
    Service("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", None),
    Service("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", LISTENER),
    Service("envoy.service.route.v3.RouteDiscoveryService", "Routes", ROUTE),
    Service("envoy.service.route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", SCOPE),
    Service("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", CLUSTER),
    Service("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", ENDPOINT),
    Service("envoy.service.secret.v3.SecretDiscoveryService", "Secrets", SECRET),
    Service("envoy.service.extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", EXTENSION),
)


@dataclass(frozen=True, slots=True)
class _End:
    """How a stream ends, if not with OK: a gRPC status code's name."""

    code: str
    message: str


_UNPREPARED: Final = _End("UNAVAILABLE", "the first configuration is not built yet")
_FAULT: Final = _End("INTERNAL", "internal error")
_SHUTDOWN: Final = _End("UNAVAILABLE", "the control plane is shutting down")


@dataclass(frozen=True, slots=True)
class _Caller:
    """One that may have a stream. `request`: its first, without the node."""

    node: Node
    peer: Peer
    admission: groups.Admission
    request: wire.Request


class Server:
    """The xDS server. One per process; `start` and `stop` once each. `handlers`: further services on its
    port, which end their streams by themselves. `lazy`: lazy clusters are sent to who asks for them."""

    def __init__(
        self,
        settings: config.Xds,
        provider: Provider,
        ledger: Ledger,
        handlers: Sequence[Any] = (),
        *,
        lazy: bool = False,
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._ledger = ledger
        self._encoder = Encoder()
        self._handlers = tuple(handlers)
        self._lazy = lazy
        self._server: Any = None
        self._streams: set[_Stream] = set()
        self._draining = False
        self.throttle: Final = Throttle(settings.throttle)

    async def start(self) -> int:
        """Listens; returns the port. Raises `OSError` if the address is taken, or a certificate cannot be
        used."""
        self._server = grpc.aio.server(options=_options(self._settings))
        for service in SERVICES:
            self._server.add_generic_rpc_handlers((self._methods(service),))
        self._server.add_generic_rpc_handlers(
            (csds.handler(self._ledger, self._settings.nodes), *self._handlers)
        )
        tls = self._settings.tls
        target = _target(self._settings.address, self._settings.port)
        try:
            if tls is None:
                port: int = self._server.add_insecure_port(target)
            else:
                port = self._server.add_secure_port(
                    target, certificates.Certificates(tls, "the xDS port").credentials()
                )
        except RuntimeError as failure:
            raise OSError(f"cannot listen on {target}: {failure}") from failure
        await self._server.start()
        log.info("serving xDS on %s", _target(self._settings.address, port))
        return port

    async def stop(self, drain: float | None = None) -> None:
        """Takes no more streams, ends those there are one by one within `drain` seconds (default: the
        settings'), and closes. Proxies keep what they have and reconnect elsewhere, not all at once."""
        if self._server is None:
            return
        self._draining = True
        window = self._settings.drain if drain is None else drain
        loop = asyncio.get_running_loop()
        self.throttle.turn_away()
        for stream in self._streams:
            loop.call_later(random.uniform(0, window), stream.end, _SHUTDOWN)
        await self._server.stop(window + 1.0)
        self._server = None

    def _methods(self, service: Service) -> Any:
        def method(form: Form) -> Any:
            async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
                await self._serve(form, service, requests, context)

            return grpc.stream_stream_rpc_method_handler(handle)

        methods = {f"Stream{service.noun}": method(Form.SOTW), f"Delta{service.noun}": method(Form.DELTA)}
        return grpc.method_handlers_generic_handler(service.name, methods)

    async def _serve(
        self, form: Form, service: Service, requests: AsyncIterator[bytes], context: Context
    ) -> None:
        """One stream, from its first request to its end."""
        try:
            found = await self._admit(form, requests, context)
            if isinstance(found, _Caller):
                end = await self._carry(found, form, service.only, requests, context)
            else:
                end = found
        except* Exception:
            # The supervisor of one stream: a fault ends this one, is logged in full, and tells the client
            # nothing.
            log.exception("a stream of %s failed", context.peer())
            end = _FAULT
        if end is not None:
            await context.abort(grpc.StatusCode[end.code], end.message)

    async def _admit(
        self, form: Form, requests: AsyncIterator[bytes], context: Context
    ) -> _Caller | _End | None:
        """Who it is that calls, by its first request."""
        if self._draining:
            return _SHUTDOWN
        first = await anext(requests, None)
        if first is None:
            return None
        try:
            request = wire.parse(form, first)
        except wire.DecodeError:
            return _End("INVALID_ARGUMENT", "not a discovery request")
        node, request.node = request.node, None
        if node is None or not node.id:
            return _End("INVALID_ARGUMENT", "missing node information: the first request must carry node.id")
        peer = auth.peer_of(context)
        admission = groups.resolve(self._settings.nodes, node, peer)
        if isinstance(admission, groups.Refusal):
            log.warning("DRG4102 %s at %s is turned away: %s", node.id, peer.address, admission.message)
            return _End(admission.code, admission.message)
        return _Caller(node, peer, admission, request)

    async def _carry(
        self,
        caller: _Caller,
        form: Form,
        only: str | None,
        requests: AsyncIterator[bytes],
        context: Context,
    ) -> _End | None:
        """The stream of one that may have it, when it is its turn."""
        # Who is turned away comes back after a pause that grows each time, and would be served later by that.
        if not await self.throttle.until(self._provider.ready):
            return _SHUTDOWN if self._draining else _UNPREPARED
        place = await self.throttle.enter()
        if place is None:
            return _End("RESOURCE_EXHAUSTED", "too many proxies come at once")
        with contextlib.ExitStack() as stack:
            stack.callback(place.leave)
            if self._draining:
                return _SHUTDOWN
            group = caller.admission.group
            view = self._provider.acquire(group)
            stack.callback(self._provider.release, group)
            kind = SHORT.get(only, only) if only else "ADS"
            entry = self._ledger.open(caller.node, caller.peer, group, form, kind)
            stack.callback(entry.close)
            may = caller.admission.secrets
            if form is Form.SOTW or only is not None or not may or not knows_chains(caller.node):
                view = Whole(view)
            if not may:
                view = Without(view)
            stream = _Stream(
                Lazy(view) if self._lazy and form is Form.DELTA and only is None else view,
                form,
                only,
                self._encoder,
                entry,
                self._settings.warming_timeout,
                place,
            )
            self._streams.add(stream)
            stack.callback(self._streams.discard, stream)
            return await stream.run(caller.request, requests, context)


class _Stream:
    """One admitted stream: a reader and a writer around a session."""

    __slots__ = ("_end", "_ended", "_entering", "_form", "_loop", "_place", "_session", "_view", "_wake")

    def __init__(
        self,
        view: ResourceView,
        form: Form,
        only: str | None,
        encoder: Encoder,
        entry: Stream,
        patience: float,
        place: Place,
    ) -> None:
        self._view = view
        self._place = place
        self._form = form
        self._loop = asyncio.get_running_loop()
        self._session = entry.session = Session(view, form, encoder, entry, only=only, patience=patience)
        self._wake = asyncio.Event()
        self._end: _End | None = None
        self._ended = False
        self._entering = True  # until it has its first configuration

    def end(self, how: _End | None) -> None:
        """Ends the stream as soon as the writer is not in the middle of a message."""
        if not self._ended:
            self._ended = True
            self._end = how
            self._wake.set()

    async def run(self, first: wire.Request, requests: AsyncIterator[bytes], context: Context) -> _End | None:
        leave = self._view.follow(self._changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(first, requests))
                await self._write(context)
                reader.cancel()
        finally:
            leave()
        return self._end

    def _changed(self, changes: Transitions) -> None:
        try:
            if self._session.change(changes, self._loop.time()):
                self._wake.set()
        except Exception:
            # As in `_serve`: a fault is this stream's, and not that of whoever changed the view.
            log.exception("a stream failed at a change")
            self.end(_FAULT)

    async def _read(self, first: wire.Request, requests: AsyncIterator[bytes]) -> None:
        """Never waits for the writer (rule 82)."""
        try:
            self._take(first)
            async for data in requests:
                self._take(wire.parse(self._form, data))
        except ProtocolError as failure:
            self.end(_End(failure.code, str(failure)))
        except wire.DecodeError:
            self.end(_End("INVALID_ARGUMENT", "not a discovery request"))
        else:
            self.end(None)  # the client has closed its half (rule 90)

    def _take(self, request: wire.Request) -> None:
        if isinstance(self._view, Lazy):
            self._view.note(request)
        if self._session.request(request, self._loop.time()) or self._entering:
            self._wake.set()

    async def _write(self, context: Context) -> None:
        while not self._ended:
            response = self._session.next_response(self._loop.time())
            if response is not None:
                await context.write(response.data)
                continue
            if self._entering and self._session.settled:
                self._entering = False
                self._place.leave()
            # Nothing ran since: what happens from here on sets the event.
            self._wake.clear()
            if self._session.deadline is None:
                await self._wake.wait()
            else:
                timer = self._loop.call_at(self._session.deadline, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()


def _target(address: str, port: int) -> str:
    if address.startswith("unix:"):
        return address
    try:
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]:{port}"
    except ValueError:
        pass  # a host name
    return f"{address}:{port}"


def _options(settings: config.Xds) -> list[tuple[str, int]]:
    """gRPC's channel arguments. Ages are spread by gRPC itself, by a tenth up and down."""

    def ms(seconds: float) -> int:
        return int(seconds * 1000)

    options: Mapping[str, int] = {
        # Two servers on one port would each get some of the proxies.
        "grpc.so_reuseport": 0,
        "grpc.max_concurrent_streams": 1 << 20,
        "grpc.max_receive_message_length": settings.max_message,
        "grpc.max_send_message_length": -1,
        "grpc.keepalive_time_ms": ms(settings.keepalive_time),
        "grpc.keepalive_timeout_ms": ms(settings.keepalive_timeout),
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.http2.min_ping_interval_without_data_ms": 5000,
        "grpc.http2.max_ping_strikes": 0,
    }
    if settings.max_connection_age > 0:
        options = {
            **options,
            "grpc.max_connection_age_ms": ms(settings.max_connection_age),
            "grpc.max_connection_age_grace_ms": ms(settings.max_connection_age_grace),
        }
    return list(options.items())
