"""A TrafficPolicy's `retries` -> routes.

HTTPRoute's own `retry` wins field by field: `attempts`, `codes` and `backoff` are taken from it where it says
them, the rest is the policy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import traffic_requests, trafficpolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[trafficpolicy.TrafficPolicy]

SAFE: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE")
"""Methods of requests that may be sent twice without asking (RFC 9110, 9.2.2)."""

_WAIT: Final = 10.0
_BASE: Final = 0.025
_ON: Final = ("connect-failure", "refused-stream", "reset-before-request", "reset")
_ON_GRPC: Final = ("connect-failure", "refused-stream", "reset-before-request", "unavailable")


def inline(retry: ir.Retry) -> Iterator[FieldPath]:
    """The fields that the route says itself."""
    if retry.attempts is not None:
        yield ("retries", "attempts")
    if retry.codes:
        yield ("retries", "statusCodes")
    if retry.backoff is not None:
        yield ("retries", "backOff", "base")


def retry(
    own: ir.Retry | None, merged: Merged, timeout: float | None, *, grpc: bool
) -> tuple[ir.Retry | None, list[Diagnostic]]:
    """The retries of a route that says `own` itself; `timeout`: its request's, no wait may be longer."""
    said = merged.spec.retries
    if said is None or said.disabled:
        return own, []
    own = own or ir.Retry()
    findings: list[Diagnostic] = []
    pauses = said.back_off or traffic_requests.BackOff()
    base = own.backoff if own.backoff is not None else pauses.base
    ceiling = pauses.max
    if ceiling is not None and ceiling < (base or _BASE):
        origin = merged.origin("retries", "backOff", "max")
        base_said = base is not None
        if origin is not None and base_said:
            message = f"`max` is less than the {base:g}s that `base` is said to be elsewhere"
            findings.append(warning("DRG1611", message, origin, label="every pause is up to `base` long"))
        if base_said:
            ceiling = base
    methods = said.methods or SAFE
    on = said.conditions if said.conditions is not None else (_ON_GRPC if grpc else _ON)
    made = ir.Retry(
        own.attempts if own.attempts is not None else said.attempts,
        own.codes or tuple(sorted(set(said.status_codes or ()))),
        base,
        tuple(dict.fromkeys(on)),
        ceiling,
        tuple((one.name.lower(), one.value or "") for one in said.response_headers or ()),
        () if grpc or "*" in methods else tuple(sorted(set(methods))),
        _wait(said.retry_after, timeout),
        said.avoid_previous_hosts is not False,
        bool(said.hedge),
        bool(said.attempt_count and said.attempt_count.to_backend),
        bool(said.attempt_count and said.attempt_count.to_client),
    )
    return made, findings


def _wait(given: traffic_requests.RetryAfter | None, timeout: float | None) -> float | None:
    """How long the backend may ask for: never beyond the end of the request, which would make a 504 of it."""
    if given is not None and given.disabled:
        return None
    most = given.max if given is not None and given.max is not None else _WAIT
    return max(min(most, timeout), 1.0) if timeout else most
