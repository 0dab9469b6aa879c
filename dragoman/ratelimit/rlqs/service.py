"""`StreamRateLimitQuotas` over bytes: streams on one side, `books` on the other, and a timer between.

What a stream has not been sent yet is kept by bucket, the newest action only: an Envoy that does not read
costs no more than the buckets that it has. The server gives `streams` to a transport that can stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Final

from dragoman import proto
from dragoman.proto.envoy.service.rate_limit_quota import v3 as rlqs
from dragoman.proto.envoy.type import v3 as types
from dragoman.ratelimit import metrics, rules
from dragoman.ratelimit.rlqs import books, shares
from dragoman.ratelimit.transport import base as transport

METHOD: Final = "/envoy.service.rate_limit_quota.v3.RateLimitQuotaService/StreamRateLimitQuotas"

LARGEST: Final = 4 << 20
"""Bytes of a report that a transport has to take: one message has all buckets of an Envoy."""

_TICK: Final = 1.0
_BATCH: Final = 1000
"""Actions in a message."""

_BLANKET: Final = {
    books.Rule.ALLOW: types.RateLimitStrategy.BlanketRule.ALLOW_ALL,
    books.Rule.DENY: types.RateLimitStrategy.BlanketRule.DENY_ALL,
}


class Quotas:
    """`load` a table, then serve `streams`. `instances`: how many services share the limits; `ttl`:
    whole seconds after which an Envoy that hears nothing is on its own."""

    def __init__(self, measures: metrics.Metrics, instances: int = 1, ttl: int = books.TTL) -> None:
        self._ttl = ttl
        self._books = books.Books(measures, instances, ttl=ttl)
        self._boxes: dict[int, _Box] = {}
        self._loaded = False
        self._timer: asyncio.TimerHandle | None = None

    def load(self, table: rules.Table) -> None:
        """Assigns by this table from now on; who has something else is told."""
        self._loaded = True
        self._deliver(self._books.load(table, time.monotonic()))

    @property
    def streaming(self) -> int:
        """Streams that are open."""
        return self._books.streams

    @property
    def refused(self) -> int:
        """Buckets that got no assignment."""
        return self._books.refused

    def streams(self) -> transport.StreamHandlers:
        return {METHOD: self.stream}

    async def stream(
        self, requests: AsyncIterator[bytes], peer: transport.Peer
    ) -> AsyncGenerator[bytes, None]:
        """One Envoy's reports in, its assignments out."""
        if not self._loaded:
            status = transport.Status(transport.Code.UNAVAILABLE, "no rate limit configuration loaded")
            raise transport.StatusError(status)
        number = self._books.open(peer.address.rpartition(":")[0])
        box = self._boxes[number] = _Box()
        reader = asyncio.create_task(self._read(number, requests))
        reader.add_done_callback(lambda _: box.news.set())
        self._wind()
        try:
            while not reader.done():
                await box.news.wait()
                pushes = box.take()
                for first in range(0, len(pushes), _BATCH):
                    yield response(pushes[first : first + _BATCH], self._ttl)
            reader.result()
        finally:
            del self._boxes[number]
            self._books.close(number)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, number: int, requests: AsyncIterator[bytes]) -> None:
        domain = ""
        async for message in requests:
            try:
                reports = rlqs.RateLimitQuotaUsageReports.FromString(message)
            except proto.DecodeError:
                raise _invalid("the request is no RateLimitQuotaUsageReports") from None
            # Envoy says it every time, the protocol wants it in the first message only.
            domain = domain or reports.domain
            if not domain:
                raise _invalid("the first message of a stream must name the domain")
            usages = [
                books.Usage(
                    tuple(sorted(each.bucket_id.bucket.items())),
                    each.num_requests_allowed,
                    each.num_requests_denied,
                )
                for each in reports.bucket_quota_usages
            ]
            self._deliver(self._books.report(number, domain, usages, time.monotonic()))

    def _deliver(self, pushes: Iterable[books.Push]) -> None:
        for push in pushes:
            if (box := self._boxes.get(push.stream)) is not None:
                box.put(push)

    def _wind(self) -> None:
        """The timer runs as long as there is somebody who holds something."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._deliver(self._books.tick(time.monotonic()))
        if self._boxes or len(self._books):
            self._wind()


class _Box:
    """What a stream is still to be told."""

    __slots__ = ("_pushes", "news")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._pushes: dict[books.Bucket, books.Push] = {}

    def put(self, push: books.Push) -> None:
        self._pushes[push.bucket] = push
        self.news.set()

    def take(self) -> list[books.Push]:
        self.news.clear()
        pushes, self._pushes = list(self._pushes.values()), {}
        return pushes


def response(pushes: Iterable[books.Push], ttl: int) -> bytes:
    """A RateLimitQuotaResponse."""
    message = rlqs.RateLimitQuotaResponse()
    for push in pushes:
        action = message.bucket_action.add()
        action.bucket_id.bucket.update(push.bucket)
        if push.action is books.Rule.ABANDON:
            action.abandon_action.SetInParent()
            continue
        assignment = action.quota_assignment_action
        assignment.assignment_time_to_live.seconds = ttl
        if isinstance(push.action, shares.Grant):
            bucket = assignment.rate_limit_strategy.token_bucket
            bucket.max_tokens = push.action.burst
            bucket.tokens_per_fill.value = push.action.units
            bucket.fill_interval.seconds = push.action.seconds
            bucket.fill_interval.nanos = push.action.mark
        else:
            assignment.rate_limit_strategy.blanket_rule = _BLANKET[push.action]
    return message.SerializeToString()


def _invalid(message: str) -> transport.StatusError:
    return transport.StatusError(transport.Status(transport.Code.INVALID_ARGUMENT, message))
