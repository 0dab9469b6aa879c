"""`ShouldRateLimit` and health, over bytes: what a transport calls, whichever it is.

A request is looked up by its bytes (`plans`), its asks go to the store, and the decisions become the response
(`answers`). With a store that answers at once, so does the call. A leaky bucket's delay is a late response;
it never waits beyond the caller's deadline, since an answer that nobody hears would let the request pass.
`load` takes another table; counts stay.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dragoman import proto
from dragoman.proto.grpc.health import v1 as health
from dragoman.ratelimit import answers, metrics, plans, rules, tracing
from dragoman.ratelimit.algorithms import Decision, base as algorithms
from dragoman.ratelimit.stores import base as stores
from dragoman.ratelimit.transport import base as transport

log = logging.getLogger(__name__)

SHOULD_RATE_LIMIT: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
HEALTH_WATCH: Final = "/grpc.health.v1.Health/Watch"

_SERVICES: Final = ("", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService")
"""What may be asked for its health: the server, the Go service's name for itself, and the gRPC service."""

_UNKNOWN: Final = b"\x08\x03"
"""HealthCheckResponse with SERVICE_UNKNOWN."""

_MARGIN: Final = 0.005
"""Seconds before its deadline at which a delayed answer is sent at the latest."""


class State(enum.Enum):
    """`STARTING`: no configuration yet."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Options:
    """`detailed_metadata`: see `answers`. `shadow`: nothing is denied, whatever the limits say."""

    detailed_metadata: bool = False
    shadow: bool = False


class Service:
    """`handlers` for a transport; `load` a table before anything is decided."""

    def __init__(
        self, store: stores.Store, measures: metrics.Metrics, options: Options | None = None
    ) -> None:
        self.state = State.STARTING
        self.followers: list[Callable[[rules.Table], None]] = []
        """Who is told of every table that is loaded."""
        self._watchers: set[asyncio.Event] = set()
        self._store = store
        self._metrics = measures
        self._options = Options() if options is None else options
        self._quick = not self._options.detailed_metadata
        self._table = rules.Table()
        self._plans = plans.Plans()
        self.tracer: tracing.Tracer | None = None

    def load(self, table: rules.Table) -> None:
        """Decides by this table from now on."""
        self._table = table
        self._plans.clear()
        self._metrics.loads["taken"] += 1
        for follower in self.followers:
            follower(table)
        if self.state is State.STARTING:
            self._enter(State.SERVING)

    def drain(self) -> None:
        """Health checks fail from now on; calls are still answered."""
        self._enter(State.DRAINING)

    def _enter(self, state: State) -> None:
        self.state = state
        for watcher in self._watchers:
            watcher.set()

    @property
    def ready(self) -> bool:
        return self.state is State.SERVING

    def handlers(self) -> transport.Handlers:
        return {SHOULD_RATE_LIMIT: self.should_rate_limit, HEALTH_CHECK: self.check}

    def streams(self) -> transport.StreamHandlers:
        """For a transport that can stream."""
        return {HEALTH_WATCH: self.watch}

    def should_rate_limit(self, request: bytes, call: transport.Call) -> transport.Answer:
        begin = time.perf_counter()
        plan = self._plans.get(request)
        if plan is None:
            made = self._plan(request)
            if isinstance(made, transport.Status):
                self._metrics.decisions[metrics.OTHER, "error"] += 1
                return made
            plan = made
        outcome: transport.Outcome | None = None
        late = False
        traced = tracing.parent(call.metadata) if self.tracer is not None else None

        def decided(decisions: Sequence[Decision | None]) -> None:
            nonlocal outcome
            self._metrics.took(time.perf_counter() - begin)
            answer = self._answer(plan, decisions)
            if traced is not None and self.tracer is not None:
                seconds = time.perf_counter() - begin
                self.tracer.decided(traced, seconds, plan.domain, answer.denied, _names(plan))
            if answer.delay and not call.cancelled:
                self._finish_later(call, answer)
            elif late:
                call.finish(answer.response)
            else:
                outcome = answer.response

        if plan.asks:
            self._store.take(plan.asks, decided)
        else:
            decided(())
        late = True
        return outcome

    def check(self, request: bytes, call: transport.Call) -> transport.Answer:
        """grpc.health.v1.Health/Check."""
        try:
            asked = health.HealthCheckRequest.FromString(request).service
        except proto.DecodeError:
            return transport.Status(transport.Code.INVALID_ARGUMENT, "the request is no HealthCheckRequest")
        if asked not in _SERVICES:
            return transport.Status(transport.Code.NOT_FOUND, "unknown service")
        return self._health()

    async def watch(
        self, requests: AsyncIterator[bytes], peer: transport.Peer
    ) -> AsyncGenerator[bytes, None]:
        """grpc.health.v1.Health/Watch: the state, and again when it changes."""
        async for request in requests:
            try:
                asked = health.HealthCheckRequest.FromString(request).service
            except proto.DecodeError:
                status = transport.Status(transport.Code.INVALID_ARGUMENT, "no HealthCheckRequest")
                raise transport.StatusError(status) from None
            while True:
                changed = asyncio.Event()
                self._watchers.add(changed)
                try:
                    yield self._health() if asked in _SERVICES else _UNKNOWN
                    await changed.wait()
                finally:
                    self._watchers.discard(changed)

    def _health(self) -> bytes:
        status = health.HealthCheckResponse.SERVING if self.ready else health.HealthCheckResponse.NOT_SERVING
        return health.HealthCheckResponse(status=status).SerializeToString()

    def _plan(self, request: bytes) -> plans.Plan | transport.Status:
        if self.state is State.STARTING:
            return transport.Status(transport.Code.UNAVAILABLE, "no rate limit configuration loaded")
        plan = plans.make(request, self._table, self._metrics)
        if isinstance(plan, plans.Plan):
            self._plans.put(request, plan)
        return plan

    def _answer(self, plan: plans.Plan, decisions: Sequence[Decision | None]) -> answers.Answer:
        options = self._options
        answer = answers.plain(plan, decisions) if plan.plain and self._quick else None
        if answer is None:
            answer = answers.make(plan, decisions, detailed=options.detailed_metadata, shadow=options.shadow)
        outcome = "over_limit" if answer.denied else "ok"
        if isinstance(answer.response, transport.Status):
            outcome = "error"
        self._metrics.decisions[plan.domain, outcome] += 1
        return answer

    def _finish_later(self, call: transport.Call, answer: answers.Answer) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + answer.delay / algorithms.SECOND
        if call.deadline is not None:
            at = min(at, call.deadline - _MARGIN)
        call.on_cancel = loop.call_at(at, call.finish, answer.response).cancel


def _names(plan: plans.Plan) -> tuple[str, ...]:
    """The limits that a request hits."""
    return tuple(dict.fromkeys(part.limit.name for parts in plan.descriptors if parts for part in parts))
