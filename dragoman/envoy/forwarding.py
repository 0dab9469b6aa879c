"""Timeouts, retries and mirrors of a forwarding route. Called by `routes.py`.

Envoy gives every route 15 s for its whole response unless told otherwise, which cuts off downloads and
event streams; here a route without a timeout has none, and only a stream on which nothing moves ends
(`listeners.STREAM_IDLE`).
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy import durations, fractions, naming, retries
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

STREAM_IDLE: Final = 300.0
"""Seconds without a byte in either direction after which a stream ends, where a route says nothing else."""

RETRY_BODY: Final = 1024 * 1024
"""Bytes of a request's body that are kept for further tries; larger ones are sent once. Envoy's own limit is
the connection's buffer (32 KiB): no upload would be retried."""


def write(message: route_proto.Route, forward: ir.Forward) -> None:
    """Writes timeouts, retries and mirrors of `forward` into its action; the match is written already."""
    target = message.route
    retries.write(message, forward, grpc=message.match.HasField("grpc"))
    again = target.HasField("retry_policy")
    if again:
        message.request_body_buffer_limit.value = RETRY_BODY
    _timeouts(target, forward, again=again)
    for mirror in forward.mirrors:
        _mirror(target, mirror)


def _timeouts(target: route_proto.RouteAction, forward: ir.Forward, *, again: bool) -> None:
    """`again`: there may be several tries."""
    timeout = forward.timeout
    total = timeout or 0.0
    if forward.try_timeout and again:
        durations.assign(target.retry_policy.per_try_timeout, forward.try_timeout)
    elif forward.try_timeout:
        # One try: its limit is a limit of the whole.
        total = min(total or forward.try_timeout, forward.try_timeout)
    durations.assign(target.timeout, total)
    if forward.try_idle:
        durations.assign(target.retry_policy.per_try_idle_timeout, forward.try_idle)
    if forward.stream_idle is not None:
        durations.assign(target.idle_timeout, forward.stream_idle)
    elif total > STREAM_IDLE or _unlimited(target, forward):
        # Asked to wait longer than idle streams may: the idle limit must not answer first.
        durations.assign(target.idle_timeout, total)
    if forward.duration:
        durations.assign(target.max_stream_duration.max_stream_duration, forward.duration)


def _unlimited(target: route_proto.RouteAction, forward: ir.Forward) -> bool:
    """Whether no limit is asked for, or tries of which each may take long come one after the other."""
    if forward.timeout is not None:
        return forward.timeout == 0
    if not forward.try_timeout:
        return forward.try_timeout == 0
    again = target.retry_policy.num_retries.value
    return again > 0 and (1 + again) * forward.try_timeout > STREAM_IDLE


def _mirror(target: route_proto.RouteAction, mirror: ir.Mirror) -> None:
    if mirror.numerator <= 0:
        return
    policy = target.request_mirror_policies.add()
    policy.cluster = naming.cluster(mirror.cluster)
    policy.disable_shadow_host_suffix_append = True  # the mirror sees the same Host as the backend
    if mirror.numerator < mirror.denominator:
        share = policy.runtime_fraction.default_value
        fractions.assign(share, mirror.numerator, mirror.denominator)
