"""Timeouts, retries and mirrors of a forwarding route. Called by `routes.py`.

Envoy gives every route 15 s for its whole response unless told otherwise, which cuts off downloads and
event streams; here a route without a timeout has none, and only a stream on which nothing moves ends
(`listeners.STREAM_IDLE`).
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman import proto
from dragoman.envoy import durations, naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
from dragoman.proto.envoy.type import v3 as type_proto

STREAM_IDLE: Final = 300.0
"""Seconds without a byte in either direction after which a stream ends, where a route says nothing else."""

RETRY_BODY: Final = 1024 * 1024
"""Bytes of a request's body that are kept for further tries; larger ones are sent once. Envoy's own limit is
the connection's buffer (32 KiB): no upload would be retried."""

_RETRY_ON: Final = "connect-failure,refused-stream,reset"
_BACKOFF_CEILING: Final = 10  # times the base interval, Envoy's own ratio
_HOST_ATTEMPTS: Final = 3


def write(message: route_proto.Route, forward: ir.Forward) -> None:
    """Writes timeouts, retries and mirrors of `forward` into the route's action."""
    target = message.route
    _timeouts(target, forward)
    if forward.retry is not None and forward.retry.attempts > 0:
        _retry(target.retry_policy, forward.retry, forward.try_timeout)
        message.request_body_buffer_limit.value = RETRY_BODY
    for mirror in forward.mirrors:
        _mirror(target, mirror)


def _timeouts(target: route_proto.RouteAction, forward: ir.Forward) -> None:
    timeout = forward.timeout
    total = timeout or 0.0
    if forward.try_timeout and (forward.retry is None or forward.retry.attempts <= 0):
        # One try: its limit is a limit of the whole.
        total = min(total or forward.try_timeout, forward.try_timeout)
    durations.assign(target.timeout, total)
    if timeout == 0 or total > STREAM_IDLE:
        # Asked to wait longer than idle streams may: the idle limit must not answer first.
        durations.assign(target.idle_timeout, total)


def _retry(target: route_proto.RetryPolicy, retry: ir.Retry, try_timeout: float | None) -> None:
    target.retry_on = f"{_RETRY_ON},retriable-status-codes" if retry.codes else _RETRY_ON
    target.retriable_status_codes.extend(retry.codes)
    target.num_retries.value = retry.attempts
    if try_timeout:
        durations.assign(target.per_try_timeout, try_timeout)
    if retry.backoff:
        durations.assign(target.retry_back_off.base_interval, retry.backoff)
        durations.assign(target.retry_back_off.max_interval, retry.backoff * _BACKOFF_CEILING)
    predicate = target.retry_host_predicate.add()
    predicate.name = "envoy.retry_host_predicates.previous_hosts"
    predicate.typed_config.type_url = _previous_hosts()
    target.host_selection_retry_max_attempts = _HOST_ATTEMPTS


@functools.cache
def _previous_hosts() -> str:
    """The type of the predicate that sends a retry to another endpoint; it has no settings."""
    return proto.type_url(previous_hosts.PreviousHostsPredicate)


def _mirror(target: route_proto.RouteAction, mirror: ir.Mirror) -> None:
    if mirror.numerator <= 0:
        return
    policy = target.request_mirror_policies.add()
    policy.cluster = naming.cluster(mirror.cluster)
    policy.disable_shadow_host_suffix_append = True  # the mirror sees the same Host as the backend
    if mirror.numerator < mirror.denominator:
        share = policy.runtime_fraction.default_value
        share.numerator, share.denominator = _fraction(mirror.numerator, mirror.denominator)


def _fraction(numerator: int, denominator: int) -> tuple[int, type_proto.FractionalPercent.DenominatorType]:
    """The nearest fraction with one of Envoy's three denominators, and never 0."""
    kinds = type_proto.FractionalPercent
    for size, kind in ((100, kinds.HUNDRED), (10_000, kinds.TEN_THOUSAND), (1_000_000, kinds.MILLION)):
        if numerator * size % denominator == 0:
            return numerator * size // denominator, kind
    return max(1, round(numerator * 1_000_000 / denominator)), kinds.MILLION
