"""Calls of the service without a transport: requests built in a line, answers decoded."""

from __future__ import annotations

import textwrap
import time
from typing import Any

from dragoman.proto.envoy.extensions.common.ratelimit import v3 as common
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit import goconfig, metrics, rules, service
from dragoman.ratelimit.stores import base, memory
from dragoman.ratelimit.transport import base as transport
from tests.unit.ratelimit import strategies

OK = rls.RateLimitResponse.OK
OVER = rls.RateLimitResponse.OVER_LIMIT

ALL = rules.Presentation(x_ratelimit=True, draft=True, retry_after=True, body=True)
"""Clients are told everything."""

LIMITS = """
    domain: shop
    descriptors:
    - key: minute
      rate_limit: {unit: minute, requests_per_unit: 20}
    - key: hour
      rate_limit: {unit: hour, requests_per_unit: 10}
    - key: bucket
      rate_limit: {unit: minute, requests_per_unit: 100, algorithm: token_bucket}
    - key: free
      rate_limit: {unlimited: true}
    - key: ban
      rate_limit: {unit: day}
"""


class Call(transport.Call):
    """Keeps what it is finished with, and when."""

    def __init__(self, deadline: float | None = None) -> None:
        super().__init__(transport.Peer("127.0.0.1:1"), deadline, ())
        self.outcome: transport.Outcome | None = None
        self.at = 0.0

    def finish(self, outcome: transport.Outcome) -> None:
        if self.outcome is None:
            self.outcome, self.at = outcome, time.monotonic()


def descriptor(
    *entries: str, hits: int | None = None, refund: bool = False, limit: tuple[int, int, int] | None = None
) -> common.RateLimitDescriptor:
    """`descriptor("user=bob", "path=/a")`. `limit`: requests, unit, multiplier (0: none)."""
    message = common.RateLimitDescriptor(is_negative_hits=refund)
    for entry in entries:
        key, _, value = entry.partition("=")
        message.entries.add(key=key, value=value)
    if hits is not None:
        message.hits_addend.value = hits
        message.hits_addend.SetInParent()
    if limit is not None:
        message.limit.requests_per_unit = limit[0]
        message.limit.unit = limit[1]  # type: ignore[assignment]
        if limit[2]:
            message.limit.unit_multiplier.value = limit[2]
    return message


def request(*descriptors: common.RateLimitDescriptor, domain: str = "shop", hits: int = 0) -> bytes:
    return rls.RateLimitRequest(domain=domain, descriptors=descriptors, hits_addend=hits).SerializeToString()


class Desk:
    """A service on memory with a clock that stands still until it is set."""

    def __init__(
        self,
        text: str,
        *,
        presentation: rules.Presentation = rules.SILENT,
        options: service.Options | None = None,
        store: base.Store | None = None,
    ) -> None:
        self.now = strategies.START - strategies.START % (86_400 * 1_000_000)
        self.metrics = metrics.Metrics()
        self.presentation = presentation
        store = memory.Memory(clock=lambda: self.now) if store is None else store
        self.service = service.Service(store, self.metrics, options)
        self.load(text)

    def load(self, text: str) -> None:
        read = goconfig.read("limits.yaml", textwrap.dedent(text), self.presentation)
        assert read.good, read.diagnostics
        self.service.load(rules.Table(read.rules))

    def ask(self, *descriptors: common.RateLimitDescriptor, **more: Any) -> rls.RateLimitResponse:
        """The answer, decoded; it must be what protobuf would have written."""
        answer = self.service.should_rate_limit(request(*descriptors, **more), Call())
        assert isinstance(answer, bytes), answer
        decoded = rls.RateLimitResponse.FromString(answer)
        assert decoded.SerializeToString(deterministic=True) == answer
        return decoded


def codes(answer: rls.RateLimitResponse) -> list[int]:
    return [each.code for each in answer.statuses]


def headers(answer: rls.RateLimitResponse) -> dict[str, str]:
    found = {each.key: each.value for each in answer.response_headers_to_add}
    assert len(found) == len(answer.response_headers_to_add)
    return found
