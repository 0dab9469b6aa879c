"""A TrafficPolicy's `outlierDetection` -> which endpoints of a cluster get nothing for a while.

As a breaker: every endpoint may be left alone, always for the same time, and then there is nobody left to ask
(Envoy's panic, off by default here, would ask those that are left alone).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir, upstream
from dragoman.translators.gateway.models import policy, traffic_backends as model
from dragoman.translators.gateway.policies import losses

_ERRORS: Final = 5
_NOTHING: Final = upstream.Outliers()


def apply(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with its detectors."""
    given = policy.on(merged.spec.outlier_detection)
    if given is None:
        return cluster, ()
    if cluster.key.transport == ir.Transport.DATAGRAMS.value:
        return cluster, tuple(losses.of(cluster, merged, ("outlierDetection",)))
    made = _detectors(given)
    base = _or(given.base_ejection_time, _NOTHING.base)
    longest = _or(given.max_ejection_time, max(_NOTHING.longest, base))
    findings: tuple[Diagnostic, ...] = ()
    if longest < base and not given.breaker:
        findings = _short(merged, base)
        longest = base
    made = replace(
        made,
        interval=_or(given.interval, _NOTHING.interval),
        base=base,
        longest=longest,
        jitter=_or(given.jitter, _NOTHING.jitter),
        percent=_NOTHING.percent if given.max_ejection_percent is None else given.max_ejection_percent,
    )
    if given.breaker:
        made = replace(made, longest=base, percent=100, jitter=0.0)
    return replace(cluster, outliers=made), findings


def _detectors(given: model.OutlierDetection) -> upstream.Outliers:
    rate, failures = policy.on(given.success_rate), policy.on(given.failure_percentage)
    made = upstream.Outliers(
        given.consecutive5xx or 0,
        given.consecutive_gateway_errors or 0,
        given.consecutive_local_errors or 0,
        split=given.consecutive_local_errors is not None,
        success_rate=_rate(rate) if rate is not None else None,
        failures=_failures(failures) if failures is not None else None,
    )
    return replace(made, errors=_ERRORS) if made == _NOTHING else made


def _rate(given: model.SuccessRate) -> upstream.SuccessRate:
    default = upstream.SuccessRate()
    return upstream.SuccessRate(
        _or(given.deviations, default.deviations),
        given.minimum_endpoints or default.endpoints,
        given.minimum_requests or default.requests,
    )


def _failures(given: model.FailurePercentage) -> upstream.FailureShare:
    default = upstream.FailureShare()
    return upstream.FailureShare(
        given.threshold or default.percent,
        given.minimum_endpoints or default.endpoints,
        given.minimum_requests or default.requests,
    )


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _short(merged: losses.Merged, base: float) -> tuple[Diagnostic, ...]:
    origin = merged.origin("outlierDetection", "maxEjectionTime")
    if origin is None:
        return ()
    message = f"`maxEjectionTime` is shorter than `baseEjectionTime`: {base:g}s counts for both"
    return (warning("DRG3002", message, origin),)
