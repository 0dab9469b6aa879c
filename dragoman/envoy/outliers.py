"""Outlier detection: endpoints that get nothing for a while. Called by `clusters.py`.

Envoy has detectors on that nobody asked for (five errors in a row, success rate) and others that only count
(gateway errors, failure percentage). Here a detector does what it says, and none that is not asked for.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy import durations
from dragoman.ir import upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto

_OFF: Final = 0
_ON: Final = 100


def write(target: cluster_proto.OutlierDetection, given: upstream.Outliers) -> None:
    """All of it."""
    durations.assign(target.interval, given.interval)
    durations.assign(target.base_ejection_time, given.base)
    durations.assign(target.max_ejection_time, given.longest)
    durations.assign(target.max_ejection_time_jitter, given.jitter)
    target.max_ejection_percent.value = given.percent
    _counts(target, given)
    _rates(target, given)


def _counts(target: cluster_proto.OutlierDetection, given: upstream.Outliers) -> None:
    target.enforcing_consecutive_5xx.value = _switch(given.errors)
    if given.errors:
        target.consecutive_5xx.value = given.errors
    if given.gateway_errors:
        target.consecutive_gateway_failure.value = given.gateway_errors
        target.enforcing_consecutive_gateway_failure.value = _ON
    target.split_external_local_origin_errors = given.split
    if given.split:
        target.enforcing_consecutive_local_origin_failure.value = _switch(given.local_errors)
        if given.local_errors:
            target.consecutive_local_origin_failure.value = given.local_errors


def _rates(target: cluster_proto.OutlierDetection, given: upstream.Outliers) -> None:
    """Where failures are counted apart, rates are of the endpoints' own answers."""
    rate = given.success_rate
    target.enforcing_success_rate.value = _OFF if rate is None else _ON
    if given.split:
        target.enforcing_local_origin_success_rate.value = _OFF
    if rate is not None:
        target.success_rate_stdev_factor.value = round(rate.deviations * 1000)
        target.success_rate_minimum_hosts.value = rate.endpoints
        target.success_rate_request_volume.value = rate.requests
    if given.failures is not None:
        target.enforcing_failure_percentage.value = _ON
        target.failure_percentage_threshold.value = given.failures.percent
        target.failure_percentage_minimum_hosts.value = given.failures.endpoints
        target.failure_percentage_request_volume.value = given.failures.requests


def _switch(count: int) -> int:
    return _ON if count else _OFF
