"""Failures on purpose: delays and errors for a share of a route's requests."""

from __future__ import annotations

import functools

from dragoman.envoy import durations, fractions
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.fault import v3 as fault


class Faults:
    """`envoy.filters.http.fault`."""

    name = "envoy.filters.http.fault"
    disabled = True

    def config(self) -> base.Config:
        return base.config(fault.HTTPFault())

    def per_route(self, route: ir.Route) -> base.Config | None:
        if isinstance(route.action, ir.Forward) and route.action.faults is not None:
            return _per_route(route.action.faults)
        return None


FILTER = Faults()


@functools.lru_cache(maxsize=1024)
def _per_route(spec: ir.Faults) -> base.Config:
    message = fault.HTTPFault()
    if spec.delay is not None:
        if spec.delay.seconds is None:
            message.delay.header_delay.SetInParent()
        else:
            durations.assign(message.delay.fixed_delay, spec.delay.seconds)
        fractions.assign(message.delay.percentage, spec.delay.share, ir.SHARES)
    if spec.abort is not None:
        if spec.abort.http is not None:
            message.abort.http_status = spec.abort.http
        elif spec.abort.grpc is not None:
            message.abort.grpc_status = spec.abort.grpc
        else:
            message.abort.header_abort.SetInParent()
        fractions.assign(message.abort.percentage, spec.abort.share, ir.SHARES)
    for name, value in spec.headers:
        matcher = message.headers.add(name=name)
        if value:
            matcher.string_match.exact = value
        else:
            matcher.present_match = True
    return base.config(message)
