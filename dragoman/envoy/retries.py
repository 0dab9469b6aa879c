"""An IR retry as Envoy's retry policy. Called by `forwarding.py`.

Three things that Envoy has no word for are said by other means:

- *Methods.* What certainly did not reach the backend may be sent again whatever the method; anything else
  only for some. Envoy's guard (`retriable_request_headers`) knows all or nothing, so the conditions that need
  one are given as a request header, `x-envoy-retry-on`, which the route adds for those methods and the
  router takes away again. Clients cannot send it (`use_remote_address`).
- *Retry-After beyond the limit.* Envoy then ignores the header and retries at once. A filter within each try
  (`filters/tries.py`) marks such responses as not to be retried.
- *The reserve.* Where a route falls back to another cluster, one try more is made, and that one goes to
  the next priority, which is the other cluster (`pairs.py`).
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman import proto
from dragoman.envoy import durations
from dragoman.envoy.filters import tries
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
from dragoman.proto.envoy.extensions.retry.priority.previous_priorities import v3 as previous_priorities

UNSENT: Final = ("connect-failure", "refused-stream", "reset-before-request")
"""Conditions under which the backend has certainly not seen the request."""

GRPC: Final = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")

_DEFAULT: Final = ("connect-failure", "refused-stream", "reset")
_BACKOFF_CEILING: Final = 10  # times the base interval, Envoy's own ratio
_HOST_ATTEMPTS: Final = 10  # draws until a new endpoint comes up; with 3, three tries often met two
_RETRY_ON: Final = "x-envoy-retry-on"
_NEVER: Final = ir.Retry(0, conditions=())


def write(message: route_proto.Route, forward: ir.Forward, *, grpc: bool) -> None:
    """Writes the retries of `forward`, and those that its fallback needs; `grpc`: its requests are calls."""
    retry = forward.retry if forward.retry is not None and forward.retry.tries else _NEVER
    reserve = forward.fallback is not None and bool(forward.pairs())
    if not retry.tries and not reserve:
        return
    target = message.route.retry_policy
    always, guarded = _conditions(forward, retry, grpc=grpc, reserve=reserve)
    if guarded and retry.methods:
        _guard(message, guarded, retry.methods)
    else:
        always += guarded
    target.retry_on = ",".join(always)
    target.retriable_status_codes.extend(_codes(forward, retry, reserve=reserve))
    target.num_retries.value = retry.tries + reserve
    for name, value in retry.headers:
        matcher = target.retriable_headers.add()
        matcher.name = name
        if value:
            matcher.string_match.exact = value
        else:
            matcher.present_match = True
    if retry.backoff or retry.backoff_max:
        base = retry.backoff or min(0.025, retry.backoff_max or 0.025)
        durations.assign(target.retry_back_off.base_interval, base)
        ceiling = retry.backoff_max or base * _BACKOFF_CEILING
        durations.assign(target.retry_back_off.max_interval, max(base, ceiling))
    if retry.wait:
        _wait(target.rate_limited_retry_back_off, retry.wait)
        message.response_headers_to_remove.extend((tries.MARK, tries.RESET))
    if retry.tell_client:
        option = message.response_headers_to_add.add()
        option.header.key, option.header.value = tries.COUNT, tries.NUMBER
        option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if retry.avoid_hosts:
        predicate = target.retry_host_predicate.add()
        predicate.name = "envoy.retry_host_predicates.previous_hosts"
        predicate.typed_config.type_url = _previous_hosts()
        target.host_selection_retry_max_attempts = _HOST_ATTEMPTS
    if reserve:
        _to_reserve(target.retry_priority, retry.tries + 1)
    if retry.hedge and forward.try_timeout:
        message.route.hedge_policy.hedge_on_per_try_timeout = True


def _conditions(
    forward: ir.Forward, retry: ir.Retry, *, grpc: bool, reserve: bool
) -> tuple[list[str], list[str]]:
    """Those that hold for all requests, and those that hold for some methods only."""
    wanted = list(_DEFAULT if retry.conditions is None else retry.conditions)
    if _codes(forward, retry, reserve=reserve):
        wanted.append("retriable-status-codes")
    if retry.headers:
        wanted.append("retriable-headers")
    if reserve:
        wanted = list(dict.fromkeys((*UNSENT, *wanted)))
    if grpc or not retry.methods:
        return wanted, []
    free = {*UNSENT, *GRPC}
    return [one for one in wanted if one in free], [one for one in wanted if one not in free]


def _codes(forward: ir.Forward, retry: ir.Retry, *, reserve: bool) -> tuple[int, ...]:
    """The statuses that are tried again: those that fall back to the reserve are."""
    more = forward.fallback.codes if reserve and forward.fallback is not None else ()
    return tuple(sorted({*retry.codes, *more}))


def _guard(message: route_proto.Route, conditions: list[str], methods: tuple[str, ...]) -> None:
    option = message.request_headers_to_add.add()
    option.header.key = _RETRY_ON
    listed = ", ".join(f'"{method}"' for method in methods)
    option.header.value = f'%CEL(request.method in [{listed}] ? "{",".join(conditions)}" : "")%'
    option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def _wait(target: route_proto.RetryPolicy.RateLimitedRetryBackOff, limit: float) -> None:
    for name in ("retry-after", tries.RESET):
        target.reset_headers.add(name=name, format=route_proto.RetryPolicy.SECONDS)
    durations.assign(target.max_interval, limit)


def _to_reserve(target: route_proto.RetryPolicy.RetryPriority, after: int) -> None:
    """After so many tries at the first priority, the next."""
    target.name = "envoy.retry_priorities.previous_priorities"
    target.typed_config.CopyFrom(
        proto.pack_any(previous_priorities.PreviousPrioritiesConfig(update_frequency=after))
    )


@functools.cache
def _previous_hosts() -> str:
    """The type of the predicate that sends a retry to another endpoint; it has no settings."""
    return proto.type_url(previous_hosts.PreviousHostsPredicate)
