"""Every rule of one TrafficPolicy by itself: its targets, and the sections. Called by `decode`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.refs import Ref
from dragoman.translators.gateway import rules_policies, rules_traffic_backends, rules_traffic_requests
from dragoman.translators.gateway.models import trafficpolicy as model

_CHECKS: Final = (rules_policies.check, rules_traffic_requests.check, rules_traffic_backends.check)


def check(ref: Ref, spec: model.TrafficPolicy) -> Iterator[Diagnostic]:
    """What is wrong with it."""
    for each in _CHECKS:
        yield from each(ref, spec)
